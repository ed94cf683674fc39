//! Whatever becomes of a suite, nothing that it started is left, and nothing that it prints fills the memory.

use super::tests::{run, shell, suite};
use super::*;
use std::fs;
use std::time::Duration;

/// Waits until a file is there and whole, and returns the process numbers in it.
async fn pids_in(file: &Path) -> Vec<u32> {
    loop {
        let text = fs::read_to_string(file).unwrap_or_default();
        if text.ends_with("end\n") {
            return text.lines().filter_map(|line| line.parse().ok()).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A process that is dead but that nobody has asked about yet is gone as well.
fn is_gone(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap_or("").trim_start().starts_with('Z') || stat.is_empty()
}

async fn all_gone(pids: &[u32]) {
    assert!(pids.len() >= 2, "{pids:?}");
    let gone = async {
        while !pids.iter().all(|pid| is_gone(*pid)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("everything is gone");
}

/// A script that starts a child which ignores being asked to end, notes both, and stays.
fn stubborn(file: &Path) -> String {
    let file = file.display();
    format!(
        "sh -c 'trap : TERM; while :; do sleep 0.1; done' & echo $! >> {file}; echo $$ >> {file}; echo end >> {file}; wait"
    )
}

/// The working folders of suites of a name that are there now.
fn folders(name: &str) -> usize {
    let prefix = format!("serin-qa-{name}-");
    let entries = fs::read_dir(std::env::temp_dir()).unwrap();
    entries
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(&prefix))
        .count()
}

#[tokio::test]
async fn a_suite_that_is_dropped_takes_everything_with_it() {
    let notes = tempfile::tempdir().unwrap();
    let file = notes.path().join("pids");
    let mut suite = suite(&stubborn(&file), QaReport::Rspec);
    let name = format!("dropped-{}", std::process::id());
    suite.name = name.parse().unwrap();
    let pids = tokio::select! {
        result = run(&suite) => panic!("ended by itself: {result:?}"),
        pids = async { (pids_in(&file).await, assert_eq!(folders(&name), 1)).0 } => pids,
    };
    all_gone(&pids).await;
    assert_eq!(folders(&name), 0);
}

#[tokio::test]
async fn a_suite_that_hangs_is_stopped_with_all_it_started() {
    let notes = tempfile::tempdir().unwrap();
    let file = notes.path().join("pids");
    let mut suite =
        suite(&format!("echo '9 examples, 0 failures'; {}", stubborn(&file)), QaReport::Rspec);
    suite.timeout = Duration::from_secs(1);
    let result = run(&suite).await;
    let QaResult::Broken { why } = &result else { panic!("{result:?}") };
    assert!(why.contains("did not end within 1 s"), "{why}");
    all_gone(&pids_in(&file).await).await;
}

#[tokio::test]
async fn a_suite_that_hangs_is_asked_first_and_may_clean_up() {
    let notes = tempfile::tempdir().unwrap();
    let file = notes.path().join("cleaned");
    let script = format!(
        "trap 'sleep 0.2; touch {}; exit 0' TERM; while :; do sleep 0.1; done",
        file.display()
    );
    let mut suite = suite(&script, QaReport::Rspec);
    suite.timeout = Duration::from_secs(1);
    let result = run(&suite).await;
    assert!(
        matches!(result, QaResult::Broken { .. }),
        "ending well after the deadline is late: {result:?}"
    );
    assert!(file.exists());
}

#[tokio::test]
async fn what_a_suite_leaves_running_is_killed_when_it_ends() {
    let notes = tempfile::tempdir().unwrap();
    let file = notes.path().join("pids");
    let script = format!(
        "sleep 1000 & echo $! > {0}; sleep 1001 & echo $! >> {0}; echo end >> {0}; echo '2 examples, 0 failures'",
        file.display()
    );
    let result = run(&suite(&script, QaReport::Rspec)).await;
    assert_eq!(result, QaResult::Passed { executed: 2, flaky: vec![] });
    all_gone(&pids_in(&file).await).await;
}

#[tokio::test]
async fn a_process_that_left_the_group_holds_nobody_up() {
    let notes = tempfile::tempdir().unwrap();
    let file = notes.path().join("pid");
    let script =
        format!("setsid sleep 1000 & echo $! > {}; echo '2 examples, 0 failures'", file.display());
    let result = run(&suite(&script, QaReport::Rspec)).await;
    assert_eq!(result, QaResult::Passed { executed: 2, flaky: vec![] });
    let pid = fs::read_to_string(&file).unwrap();
    let killed = std::process::Command::new("kill").args(["-9", pid.trim()]).status().unwrap();
    assert!(killed.success(), "it lived on, as documented");
}

#[tokio::test]
async fn endless_output_is_bounded_and_the_summary_is_still_found() {
    let script = "echo '4 examples, 1 failure'; echo 'rspec ./a:1 # a'; head -c 30000000 /dev/zero | tr '\\0' 'x'; echo; yes filler | head -n 300000; echo the end >&2";
    let result = run(&suite(script, QaReport::Rspec)).await;
    assert_eq!(result, QaResult::Failed { tests: vec!["./a:1 # a".to_owned()] });
    let result = run(&suite("yes '1 example, 0 failures' | head -n 30000", QaReport::Rspec)).await;
    assert!(
        matches!(&result, QaResult::Broken { why } if why.contains("lines of summary")),
        "{result:?}"
    );
}

#[tokio::test]
async fn one_long_line_does_not_show_half_a_secret() {
    let mut suite = suite("x", QaReport::Rspec);
    suite.command = shell("printf '%9000s' x; echo $GITLAB_QA_ACCESS_TOKEN; exit 1");
    suite.secrets = vec!["GITLAB_QA_ACCESS_TOKEN".to_owned()];
    for padding in 8180..8195 {
        suite.command = shell(&format!(
            "printf '%{padding}s' x | tr ' ' x; echo $GITLAB_QA_ACCESS_TOKEN; exit 1"
        ));
        let result = format!("{:?}", run(&suite).await);
        assert!(!result.contains("glpat-"), "{padding}: {}", result.len());
    }
}
