//! Getting to a host, and what is said when that fails.

use crate::machine::{Machine, until_async, web};
use serin_model::{Argv, HostName};
use serin_runtime::ports::{Command, CommandEnd, HostPort, PortError};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

async fn read(hosts: &impl HostPort, argv: &[&str]) -> Result<CommandEnd, PortError> {
    let argv = Argv::new(argv.iter().copied()).unwrap();
    let command = Command { argv, environment: [].into(), timeout: Duration::from_secs(10) };
    hosts.read(&web(), &command).await
}

fn why(result: Result<CommandEnd, PortError>) -> String {
    match result {
        Err(PortError::Unreachable { host, why }) if host == web() => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_host_is_reached_as_root_and_by_sudo_and_no_other_way() {
    let machine = Machine::start();
    for user in ["root", "release"] {
        let end = read(&machine.hosts(user), &["id", "-u"]).await.unwrap();
        assert_eq!(end, CommandEnd { status: 0, output: "0\n".into() });
    }
    let installed = machine.ok("cd /usr/local/lib/serin && ls -l --time-style=+ * && sha256sum *");
    assert_eq!(installed.matches("wrapper-").count(), 2, "{installed}");
    assert!(installed.starts_with("-rwxr-xr-x 1 root root "), "{installed}");

    let said = why(read(&machine.hosts("guest"), &["id"]).await);
    assert!(said.starts_with("sudo wants a password: give the login user a NOPASSWD"), "{said}");
    machine.ok("rm /etc/sudoers.d/test");
    let said = why(read(&machine.hosts("guest"), &["id"]).await);
    assert!(said.starts_with("sudo wants a password"), "{said}");
    machine.ok("mv /usr/bin/sudo /usr/bin/odus");
    let said = why(read(&machine.hosts("release"), &["id"]).await);
    assert!(said.starts_with("sudo is missing: install it"), "{said}");
    let mut config = machine.ssh("guest");
    config.sudo = false;
    let said = why(read(&Machine::hosts_with(config), &["id"]).await);
    assert!(said.starts_with("the login user is not root: set `sudo = true`"), "{said}");
}

#[tokio::test]
async fn only_the_known_host_key_is_accepted() {
    let machine = Machine::start();
    machine.know(None);
    let said = why(read(&machine.hosts("root"), &["true"]).await);
    assert!(said.starts_with("its host key is not in known_hosts"), "{said}");
    machine.know(Some(&machine.path("other.pub")));
    let said = why(read(&machine.hosts("root"), &["true"]).await);
    assert!(said.starts_with("the host key is not the one in known_hosts"), "{said}");
    assert_eq!(fs::read_to_string(machine.path("known_hosts")).unwrap().lines().count(), 1);
    machine.know(Some(&machine.path("host.pub")));
    assert_eq!(read(&machine.hosts("root"), &["true"]).await.unwrap().status, 0);
}

#[tokio::test]
async fn many_hosts_at_once_all_get_through_one_sshd_that_drops_logins() {
    let machine = Machine::start();
    let mut config = machine.ssh("root");
    config.max_connecting = 16;
    let hosts = Arc::new(Machine::hosts_with(config));
    let mut all = JoinSet::new();
    for number in 1..=40 {
        let hosts = Arc::clone(&hosts);
        let host: HostName = format!("web-{number:02}").parse().unwrap();
        all.spawn(async move { hosts.hello(&host).await });
    }
    for result in all.join_all().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn the_operators_ssh_config_leads_through_a_jump_host() {
    let machine = Machine::start();
    let config = machine.ssh("root");
    let path = config.config.clone().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let jump = text.replace("Host web-*", "Host bastion").replace("User root", "User guest");
    fs::write(&path, format!("{text} ProxyJump bastion\n{jump} StrictHostKeyChecking yes\n"))
        .unwrap();
    assert_eq!(read(&Machine::hosts_with(config), &["id", "-u"]).await.unwrap().output, "0\n");
    assert!(machine.sshd_log().contains("for guest from 127.0.0.1"), "{}", machine.sshd_log());
}

#[tokio::test]
async fn a_host_that_is_off_or_unknown_or_refuses_the_key_is_said_to_be() {
    let mut machine = Machine::start();
    machine.ok("rm /root/.ssh/authorized_keys");
    let said = why(read(&machine.hosts("root"), &["true"]).await);
    assert!(said.starts_with("the login was refused: check user, key"), "{said}");
    let nowhere: HostName = "nowhere.invalid".parse().unwrap();
    let error = machine.hosts("root").hello(&nowhere).await.unwrap_err().to_string();
    assert!(
        error.starts_with("nowhere.invalid cannot be reached: the name is not known"),
        "{error}"
    );
    machine.power_off();
    let said = why(read(&machine.hosts("root"), &["true"]).await);
    assert!(said.starts_with("nothing listens there: is sshd running?"), "{said}");
}

#[tokio::test]
async fn noise_at_login_and_a_restarted_host_do_not_matter() {
    let mut machine = Machine::start();
    let noise = "printf 'welcome\\nSERIN data 5\\nend ok\\nno line end'; echo oops >&2\n";
    fs::write(machine.root("/root/.bashrc"), noise).unwrap();
    let hosts = machine.hosts("root");
    assert_eq!(
        read(&hosts, &["echo", "a  b", "$HOME", "c'd\"\\n"]).await.unwrap().output,
        "a  b $HOME c'd\"\\n\n"
    );
    machine.power_off();
    machine.boot();
    assert_eq!(read(&hosts, &["true"]).await.unwrap().status, 0, "the kept session is replaced");
}

#[tokio::test]
async fn whatever_a_command_prints_is_only_its_output() {
    let machine = Machine::start();
    let hosts = machine.hosts("root");
    let hostile = "data 3\nend ok\nend exited 0\n\0\u{1}SERIN-1 ready\nno line end";
    let end = read(
        &hosts,
        &["printf", "data 3\\nend ok\\nend exited 0\\n\\0\\001SERIN-1 ready\\nno line end"],
    );
    assert_eq!(end.await.unwrap(), CommandEnd { status: 0, output: hostile.into() });
    let end = read(&hosts, &["head", "-c", "1000000", "/dev/urandom"]).await.unwrap();
    assert!(end.status == 0 && end.output.chars().count() > 30_000);
    let end = read(&hosts, &["sh", "-c", "yes x | head -c 1000000; exit 7"]).await.unwrap();
    assert_eq!((end.status, end.output.len()), (7, 65536));
    let end = read(&hosts, &["sh", "-c", "cat; echo $PATH $HOME; echo err >&2; kill -9 $$"])
        .await
        .unwrap();
    assert_eq!(end.status, 137);
    assert!(end.output.ends_with(" /root\nerr\n"), "{}", end.output);
    assert_eq!(read(&hosts, &["nosuch"]).await.unwrap().status, 127);
    let argv = Argv::new(["sleep", "60"]).unwrap();
    let command = Command { argv, environment: [].into(), timeout: Duration::from_secs(1) };
    assert_eq!(hosts.read(&web(), &command).await.unwrap().status, 124);
}

#[tokio::test]
async fn a_login_that_sshd_drops_before_it_begins_is_tried_again() {
    let mut machine = Machine::start();
    machine.power_off();
    // Nobody may be logging in beside the one that is.
    machine.ok_off("sed -i 's/^MaxStartups.*/MaxStartups 1:100:1/' etc/ssh/sshd_config");
    machine.boot();
    let slot = machine.connection();
    let hosts = machine.hosts("root");
    let login = async { read(&hosts, &["true"]).await.unwrap().status };
    let free_slot = async {
        until_async("it is dropped", || machine.sshd_log().contains("drop connection")).await;
        drop(slot);
    };
    assert_eq!(tokio::join!(login, free_slot).0, 0);
}

#[tokio::test]
async fn hostile_texts_reach_programs_of_a_real_host_unchanged_and_run_nothing() {
    let machine = Machine::start();
    let hosts = machine.hosts("release");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/commands");
    let files = fs::read_dir(corpus).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let texts: Vec<String> = files.filter_map(|bytes| String::from_utf8(bytes).ok()).collect();
    let mut travelled = 0;
    for text in &texts {
        let Ok(argv) = Argv::new(["printf", "%s\\0", text, "end"]) else { continue };
        let environment = [("A".to_owned(), text.clone())].into();
        let command = Command { argv, environment, timeout: Duration::from_secs(10) };
        let end = hosts.read(&web(), &command).await.unwrap();
        assert_eq!((end.status, end.output), (0, format!("{text}\0end\0")), "{text:?}");
        travelled += 1;
    }
    assert!(travelled > 40, "the corpus has moved");
    assert_eq!(machine.ok("find / -xdev -name ran"), "", "something was run");
}

#[tokio::test]
async fn a_host_key_that_changes_in_the_middle_is_refused_at_the_next_login() {
    let mut machine = Machine::start();
    let hosts = machine.hosts("root");
    assert_eq!(read(&hosts, &["true"]).await.unwrap().status, 0);
    // Somebody else answers from now on, in the host's place; the session that was open is gone.
    machine.power_off();
    fs::copy(machine.path("other"), machine.root("/etc/ssh/serin_test_key")).unwrap();
    machine.boot();
    let said = why(read(&hosts, &["touch", "/root/reached"]).await);
    assert!(said.starts_with("the host key is not the one in known_hosts"), "{said}");
    assert!(!machine.root("/root/reached").exists(), "it was asked something all the same");
    let log = machine.sshd_log();
    assert!(!log.contains("Accepted"), "nobody logged in to it: {log}");
}
