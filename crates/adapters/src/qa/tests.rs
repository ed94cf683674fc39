//! Real shell scripts as suites: what they exit with, print and write, and what that is taken for.

use super::*;
use std::time::Duration;

/// Runs a script as a suite that writes JUnit.
async fn junit(script: &str) -> QaResult {
    run(&suite(script, QaReport::Junit(vec!["**/*.xml".to_owned()]))).await
}

/// Runs a script as a suite that prints RSpec's summary.
async fn rspec(script: &str) -> QaResult {
    run(&suite(script, QaReport::Rspec)).await
}

pub(super) async fn run(suite: &QaSuite) -> QaResult {
    let environment = [
        ("PATH", "/usr/bin:/bin"),
        ("GITLAB_QA_ACCESS_TOKEN", "glpat-hunter2"),
        ("UNRELATED", "must not be passed on"),
    ];
    Qa::new(environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into()).run(suite).await
}

pub(super) fn suite(script: &str, report: QaReport) -> QaSuite {
    QaSuite {
        name: "smoke".parse().unwrap(),
        command: shell(script),
        report,
        minimum_tests: 2,
        timeout: Duration::from_secs(20),
        retry_failed: None,
        environment: BTreeMap::new(),
        secrets: Vec::new(),
    }
}

/// A command that runs a script; arguments have no line ends.
pub(super) fn shell(script: &str) -> Argv {
    Argv::new(["sh", "-c", &script.replace('\n', "; ")]).unwrap()
}

#[tokio::test]
async fn reports_are_kept_without_secrets_where_serin_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let kept = folder.path().join("qa");
    let environment = [
        ("PATH", "/usr/bin:/bin"),
        ("TOKEN", "hunter2-and-more"),
        (REPORTS, kept.to_str().unwrap()),
    ];
    let qa = Qa::new(environment.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    let script = "mkdir out; echo \"<testsuite><testcase name='a'/><testcase name='b'><failure>$TOKEN</failure>\
                  </testcase></testsuite>\" > out/r.xml";
    let mut junit = suite(script, QaReport::Junit(vec!["**/*.xml".to_owned()]));
    junit.secrets = vec!["TOKEN".to_owned()];
    assert_eq!(qa.run(&junit).await, failed(&["b"]));
    let rspec = suite("echo 3 examples, 0 failures", QaReport::Rspec);
    assert_eq!(qa.run(&rspec).await, passed(3));
    let text = |name: &str| std::fs::read_to_string(kept.join("smoke").join(name)).unwrap();
    let first = text("001-out-r.xml");
    assert!(first.contains("name='b'") && first.contains("[secret]"), "{first}");
    assert!(!first.contains("hunter2"), "{first}");
    assert_eq!(text("002-summary.xml").matches("<testcase").count(), 3);
}

fn passed(executed: u32) -> QaResult {
    QaResult::Passed { executed, flaky: vec![] }
}

fn failed(tests: &[&str]) -> QaResult {
    QaResult::Failed { tests: tests.iter().map(|name| (*name).to_owned()).collect() }
}

/// Checks that a result is broken, for a reason in these words.
fn broken(result: &QaResult, words: &str) {
    let QaResult::Broken { why } = result else { panic!("expected broken, got {result:?}") };
    assert!(why.contains(words), "expected {words:?} in {why:?}");
}

const TWO: &str =
    "echo \"<testsuite><testcase name='a'/><testcase name='b'/></testsuite>\" > r.xml";
const ONE_OF_TWO: &str = "echo \"<testsuite><testcase name='a'/><testcase name='b'><failure/></testcase></testsuite>\" > r.xml";

#[tokio::test]
async fn a_suite_passes_only_if_everything_agrees() {
    assert_eq!(junit(TWO).await, passed(2));
    assert_eq!(rspec("echo '3 examples, 0 failures, 1 pending'").await, passed(2));
    assert_eq!(junit(&format!("{TWO}\nmkdir -p deep/er\ncp r.xml deep/er/s.xml")).await, passed(4));
    assert_eq!(junit(&format!("{ONE_OF_TWO}\nexit 1")).await, failed(&["b"]));
    // A command that hides its failures behind a status of 0.
    assert_eq!(junit(ONE_OF_TWO).await, failed(&["b"]));
    assert_eq!(
        rspec("echo '3 examples, 1 failure'\necho 'rspec ./a_spec.rb:1 # it works'\nexit 1").await,
        failed(&["./a_spec.rb:1 # it works"])
    );
}

#[tokio::test]
async fn too_few_tests_are_no_pass() {
    assert_eq!(rspec("echo '0 examples, 0 failures'").await, QaResult::TooFew { executed: 0 });
    assert_eq!(
        junit("echo \"<testsuite tests='9'><testcase name='a'/><testcase name='b'><skipped/></testcase></testsuite>\" > r.xml").await,
        QaResult::TooFew { executed: 1 }
    );
    let mut suite = suite("echo '0 examples, 0 failures'", QaReport::Rspec);
    suite.minimum_tests = 0;
    suite.timeout = Duration::MAX;
    assert_eq!(run(&suite).await, QaResult::TooFew { executed: 0 });
}

#[tokio::test]
async fn a_broken_infrastructure_is_neither_failed_nor_passed() {
    broken(&junit("true").await, "it wrote no report that fits **/*.xml; it printed nothing");
    broken(&junit("echo no token >&2\nexit 3").await, "(exit status 3); its last lines: no token");
    broken(&junit(": > r.xml").await, "the report r.xml is empty");
    broken(&junit("echo '<testsuite><testcase/>' > r.xml").await, "breaks off before its end");
    broken(&junit(&format!("{TWO}\necho '<testsuite>' > s.xml")).await, "the report s.xml");
    broken(&junit(&format!("{TWO}\nexit 1")).await, "no test failed among 2, but the command did");
    broken(&rspec("echo all is well").await, "no summary");
    broken(&rspec("echo '5 examples, 0 failures' >&2").await, "no summary");
    broken(
        &rspec("echo '0 examples, 0 failures, 2 errors occurred outside of examples'\nexit 1")
            .await,
        "2 errors",
    );
    broken(&rspec("echo '9 examples, 0 failures'\nkill -9 $$").await, "signal 9");
    let mut missing = suite("true", QaReport::Rspec);
    missing.command = Argv::new(["gitlab-qa-that-is-not-there"]).unwrap();
    broken(&run(&missing).await, "cannot be started");
    missing.command = Argv::new(["bin/qa"]).unwrap();
    broken(&run(&missing).await, "write its whole path");
}

#[tokio::test]
async fn a_suite_sees_a_new_folder_and_only_the_environment_that_is_its_own() {
    let script = "test -z \"$(ls -A)\" || exit 1\ntest -z \"$UNRELATED$CARGO_PKG_NAME\" || exit 2\ntest \"$COOKIES\" = a=b || exit 3\ntest \"$GITLAB_QA_ACCESS_TOKEN\" = glpat-hunter2 || exit 4\ntest -z \"$(cat)\" || exit 5\necho '2 examples, 0 failures'";
    // Cargo sets it for the process of the tests, so it would be inherited.
    assert!(std::env::vars().any(|(name, _)| name == "CARGO_PKG_NAME"));
    let mut suite = suite(script, QaReport::Rspec);
    suite.environment.insert("COOKIES".to_owned(), "a=b".to_owned());
    suite.secrets = vec!["GITLAB_QA_ACCESS_TOKEN".to_owned()];
    assert_eq!(run(&suite).await, passed(2));
    assert_eq!(run(&suite).await, passed(2), "a second run sees nothing of the first");
}

#[tokio::test]
async fn secrets_never_come_back() {
    let mut suite = suite(
        "echo token=$GITLAB_QA_ACCESS_TOKEN\necho $GITLAB_QA_ACCESS_TOKEN >&2\nexit 1",
        QaReport::Rspec,
    );
    suite.secrets = vec!["GITLAB_QA_ACCESS_TOKEN".to_owned()];
    let result = run(&suite).await;
    broken(&result, "[secret]");
    assert!(!format!("{result:?}").contains("hunter2"), "{result:?}");
    suite.command =
        shell("echo '2 examples, 1 failure'\necho rspec ./a:1 \\# $GITLAB_QA_ACCESS_TOKEN");
    assert_eq!(run(&suite).await, failed(&["./a:1 # [secret]"]));
    suite.secrets.push("NOT_SET".to_owned());
    broken(&run(&suite).await, "the secret NOT_SET is not set");
}

#[tokio::test]
async fn tests_that_pass_when_tried_again_are_flaky() {
    let retried = async |retry: &str| {
        let mut suite =
            suite(&format!("{ONE_OF_TWO}\nexit 1"), QaReport::Junit(vec!["*.xml".to_owned()]));
        suite.retry_failed = Some(shell(retry));
        run(&suite).await
    };
    let only_failed = "test \"$(cat $SERIN_QA_FAILED)\" = b || exit 9\ntest ! -e r.xml || exit 8\necho \"<testsuite><testcase name='b'/></testsuite>\" > s.xml";
    assert_eq!(
        retried(only_failed).await,
        QaResult::Passed { executed: 2, flaky: vec!["b".to_owned()] }
    );
    assert_eq!(retried(&format!("{ONE_OF_TWO}\nexit 1")).await, failed(&["b"]));
    // Something else passed: what had failed is still not shown to work.
    assert_eq!(
        retried("echo \"<testsuite><testcase name='a'/></testsuite>\" > s.xml").await,
        failed(&["b"])
    );
    let worse = "echo \"<testsuite><testcase name='b'/><testcase name='c'><error/></testcase></testsuite>\" > s.xml\nexit 1";
    assert_eq!(retried(worse).await, failed(&["c"]));
    assert_eq!(retried("true").await, failed(&["b"]));
    assert_eq!(retried("exit 1").await, failed(&["b"]));
}

#[tokio::test]
async fn a_retry_without_names_must_run_as_many_tests_as_had_failed() {
    let retried = async |retry: &str| {
        let mut suite = suite("echo '5 examples, 2 failures'\nexit 1", QaReport::Rspec);
        suite.retry_failed = Some(shell(retry));
        run(&suite).await
    };
    let two = "2 that the output does not name";
    assert_eq!(
        retried("echo '1 example, 1 failure'\nexit 1").await,
        failed(&["1 that the output does not name", two])
    );
    assert_eq!(retried("echo '0 examples, 0 failures'").await, failed(&[two]));
    assert_eq!(
        retried("echo '2 examples, 0 failures'").await,
        QaResult::Passed { executed: 5, flaky: vec![two.to_owned()] }
    );
}
