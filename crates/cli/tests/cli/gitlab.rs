//! `serin gitlab pipeline`, against a server that answers as GitLab's documentation says.

use rustix::process::{Pid, Signal, kill_process};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

/// A GitLab that has some pipelines' states to tell, one after the other; the last is told for ever.
struct GitLab {
    api: String,
    asked: Arc<Mutex<Vec<String>>>,
    /// Told when a pipeline was looked at.
    looks: mpsc::Receiver<()>,
}

impl GitLab {
    fn start(states: &[(u16, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let api = format!("http://{}/api/v4", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut states: VecDeque<(u16, String)> =
            states.iter().map(|(status, state)| (*status, (*state).to_owned())).collect();
        let (look, looks) = mpsc::channel();
        let log = Arc::clone(&asked);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let (line, body) = request(&mut BufReader::new(&stream));
                log.lock().unwrap().push(format!("{line} {body}").trim().to_owned());
                let (status, reply) = if line.contains("test_report") {
                    (200, REPORT.to_owned())
                } else if line.contains("/jobs") {
                    (200, r#"[{"name":"deploy","stage":"s","status":"failed"}]"#.to_owned())
                } else if line.starts_with("POST") {
                    (201, pipeline("created"))
                } else {
                    let told = states.front().cloned().unwrap();
                    if states.len() > 1 {
                        states.pop_front();
                    }
                    (told.0, pipeline(&told.1))
                };
                write!(
                    stream,
                    "HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{reply}",
                    reply.len()
                )
                .unwrap();
                if line.starts_with("GET") {
                    look.send(()).unwrap_or_default();
                }
            }
        });
        Self { api, asked, looks }
    }

    fn command(&self, folder: &std::path::Path, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
        command
            .args(["gitlab", "pipeline", "quality/staging", "--poll", "10ms"])
            .args(words)
            .env("SERIN_GITLAB_API", &self.api)
            .env("SERIN_GITLAB_TRIGGER_TOKEN", "tr1gger")
            .env("SERIN_GITLAB_TOKEN", "hunter2")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

const REPORT: &str = r#"{"test_suites":[{"name":"smoke","test_cases":[
    {"status":"success","name":"logs in"},{"status":"skipped","name":"pages"}]}]}"#;

fn pipeline(state: &str) -> String {
    format!(r#"{{"id":7,"status":"{state}","web_url":"https://gitlab.example.com/7"}}"#)
}

fn request(reader: &mut impl BufRead) -> (String, String) {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    let length = lines.iter().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    (lines[0].trim_end_matches(" HTTP/1.1").to_owned(), String::from_utf8(body).unwrap())
}

#[track_caller]
fn is(output: &Output, code: i32, words: &[&str]) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in: {text}");
    }
    assert!(!text.contains("hunter2") && !text.contains("tr1gger"), "{text}");
}

#[test]
fn a_pipeline_that_passes_is_a_report_that_a_qa_suite_reads() {
    let gitlab = GitLab::start(&[(200, "running"), (502, ""), (200, "success")]);
    let folder = tempfile::tempdir().unwrap();
    let words = ["--ref", "master", "--variable", "SUITE=smoke & more"];
    let output = gitlab.command(folder.path(), &words).output().unwrap();
    is(
        &output,
        0,
        &["pipeline 7 of quality/staging was started", "502", "1 test(s) passed, 0 failed"],
    );
    let report = std::fs::read_to_string(folder.path().join("pipeline.xml")).unwrap();
    assert!(report.contains(r#"name="logs in""#) && report.contains("<skipped/>"), "{report}");
    let asked = gitlab.asked();
    assert_eq!(
        asked[0],
        "POST /api/v4/projects/quality%2Fstaging/trigger/pipeline \
         token=tr1gger&ref=master&variables%5BSUITE%5D=smoke+%26+more"
    );
    assert_eq!(asked[1], "GET /api/v4/projects/quality%2Fstaging/pipelines/7");
}

#[test]
fn a_pipeline_that_fails_waits_or_cannot_be_seen_is_no_pass() {
    let folder = tempfile::tempdir().unwrap();
    let told = |states: &[(u16, &str)], words: &[&str]| {
        GitLab::start(states).command(folder.path(), words).output().unwrap()
    };
    is(&told(&[(200, "failed")], &[]), 1, &["it failed"]);
    is(&told(&[(200, "canceled")], &[]), 1, &["it was canceled"]);
    is(&told(&[(200, "manual")], &[]), 1, &["waits for a job that is started by hand"]);
    is(&told(&[(404, "x")], &[]), 1, &["cannot show a pipeline", "404"]);
    is(&told(&[(200, "failed")], &["--tests", "jobs"]), 1, &["0 test(s) passed, 1 failed"]);
    let report = std::fs::read_to_string(folder.path().join("pipeline.xml")).unwrap();
    assert!(report.contains(r#"name="deploy""#), "{report}");
}

#[test]
fn nothing_is_started_without_tokens_or_with_variables_that_are_none() {
    let gitlab = GitLab::start(&[(200, "success")]);
    let folder = tempfile::tempdir().unwrap();
    for name in ["SERIN_GITLAB_TRIGGER_TOKEN", "SERIN_GITLAB_TOKEN"] {
        let output = gitlab.command(folder.path(), &[]).env_remove(name).output().unwrap();
        is(&output, 4, &[name, "is not set"]);
    }
    for variable in ["SUITE", "A B=1", "[x]=1", "=1", "1A=x"] {
        let output = gitlab.command(folder.path(), &["--variable", variable]).output().unwrap();
        is(&output, 2, &["NAME=VALUE"]);
    }
    assert_eq!(gitlab.asked(), Vec::<String>::new());
}

#[test]
fn a_suite_that_is_ended_stops_its_pipeline() {
    let gitlab = GitLab::start(&[(200, "running")]);
    let folder = tempfile::tempdir().unwrap();
    let child = gitlab.command(folder.path(), &[]).spawn().unwrap();
    gitlab.looks.recv().unwrap();
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    is(&child.wait_with_output().unwrap(), 1, &["pipeline 7 was stopped"]);
    let last = gitlab.asked().pop().unwrap();
    assert_eq!(last, "POST /api/v4/projects/quality%2Fstaging/pipelines/7/cancel");
}
