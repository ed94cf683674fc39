//! The pipeline that `serin ci gitlab` writes, run for real: each job a shell, each stage a process of its own.
//!
//! gitlab-ci-local stands for GitLab and its runners: it reads the same files, checks them against GitLab's schema, and
//! runs jobs by name. One job is killed in the middle, as by a runner that dies, and tried again; then the whole pipeline
//! is asked for once more, and somebody starts the promotion by hand.

use crate::lab::{Lab, PATIENCE};
use crate::monitor::Monitor;
use crate::oracle;
use crate::process::{Ended, Running};
use crate::scenarios::{MAX_OUT, Scenario, scenario};
use crate::traffic::Traffic;
use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal};
use std::cell::RefCell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// The job that is killed, and what it says when it is in the middle: a host of it is out of service.
const KILLED: (&str, u32, [&str; 2]) = ("3 staging fleet", 3, ["drain", "no session on"]);

/// The jobs after it, up to the canary.
const REST: [&str; 7] = [
    "3 bake",
    "4 staging post-deployment migrations",
    "4 bake",
    "5 production migrations",
    "5 bake",
    "6 production canary",
    "6 bake",
];

/// `program`: gitlab-ci-local.
pub(crate) fn by_jobs(program: PathBuf, transcript: Option<PathBuf>) -> Scenario {
    let name = "ci_jobs_take_a_build_to_main_and_one_that_is_killed_costs_one_more_try";
    scenario(name, move |lab| {
        let version = lab.publish(None)?;
        let pipeline = Pipeline::new(lab, &program, transcript.as_deref(), &version)?;
        let traffic = Traffic::start(lab)?;
        let monitor = Monitor::start(lab)?;
        let to_canary = to_canary(&pipeline, &version);
        let seen = monitor.stop(MAX_OUT);
        to_canary.and_then(|()| promoted(lab, &pipeline, &version))?;
        let (seen, sent) = (seen?, traffic.stop()?);
        oracle::migrations_ran_once(lab)?;
        oracle::nothing_left_out(lab)?;
        oracle::records_hold(lab)?;
        pipeline.say(&format!("\n{sent}; {seen}"))?;
        Ok(format!("{sent}; {seen}"))
    })
}

/// The pipeline begins, one job of it is killed and tried again, and the rest follows.
fn to_canary(pipeline: &Pipeline<'_>, version: &str) -> Result<()> {
    let lab = pipeline.lab;
    let before = oracle::versions(lab)?;
    let (job, stage, words) = KILLED;
    let build = format!("SERIN_BUILD={version}");
    let mut running = pipeline.start(&["--variable", &build])?;
    let words: Vec<&str> = [job].into_iter().chain(words).collect();
    if !running.until(&words, PATIENCE)? {
        let ended = running.end(PATIENCE)?;
        bail!("{job} was not seen at work; it printed\n{}", ended.log.join("\n"));
    }
    let killed = pipeline.kill(stage)?;
    let ended = running.end(PATIENCE)?;
    pipeline.keep(&ended)?;
    pipeline.say(&format!("\n(kill -9: {killed} process of the job {job:?})"))?;
    if ended.code == Some(0) {
        bail!("a pipeline whose job was killed has passed");
    }
    // Its runner is gone. Whoever looks is told what to do.
    let status = lab.serin(&["status"])?;
    status.expect(0)?.says(&["is dead: try its CI job again"])?;
    let again = pipeline.run(&[job])?;
    again.expect(0)?.says(&["takes the run over"])?;
    again.says(&["waits for its next CI job: staging fleet"])?;
    pipeline.run(&REST)?.expect(0)?.says(&["is finished"])?;
    oracle::delivered(lab, version)?;
    oracle::main_untouched(&before, lab)
}

/// The whole pipeline once more, to which nothing is left but what a person starts: its promotion.
fn promoted(lab: &Lab, pipeline: &Pipeline<'_>, version: &str) -> Result<()> {
    let build = format!("SERIN_BUILD={version}");
    let ended = pipeline.run(&["--variable", &build, "--manual", "promote"])?;
    ended.expect(0)?.says(&["production", "is finished"])?;
    ended.says(&["expose", "requests reached canary"])?;
    for kind in ["begin to-main", "traffic: [1/2]", "7 production gitaly", "8 bake"] {
        ended.says(&["PASS", kind])?;
    }
    // Only fleets of production were left; staging has it since its own stages.
    oracle::everywhere(lab, version)
}

/// A checkout with the files in it.
struct Pipeline<'a> {
    lab: &'a Lab,
    program: &'a Path,
    checkout: TempDir,
    config: PathBuf,
    transcript: Option<RefCell<std::fs::File>>,
}

impl<'a> Pipeline<'a> {
    fn new(
        lab: &'a Lab,
        program: &'a Path,
        transcript: Option<&Path>,
        version: &str,
    ) -> Result<Self> {
        let checkout = tempfile::Builder::new().prefix("serin-ci-").tempdir()?;
        let config = lab.folder().join("serin.toml");
        let transcript = transcript.map(std::fs::File::create).transpose()?.map(RefCell::new);
        let pipeline = Self { lab, program, checkout, config, transcript };
        let bases: Vec<String> = lab
            .hosts("load-balancer")?
            .into_iter()
            .filter(|(name, _)| name.split_once('.').is_some_and(|(_, domain)| domain == "gprd"))
            .map(|(_, address)| format!("http://{address}"))
            .collect();
        let (out, config) = (pipeline.folder()?, pipeline.config.clone());
        let config = config.to_str().context("the lab's folder has a strange name")?;
        let mut words = vec!["ci", "gitlab", "--out", out, "--serin-toml", config];
        words.extend(bases.iter().flat_map(|base| ["--traffic", base.as_str()]));
        words.extend(["--traffic-for", "15s", "--traffic-endpoint", "GET /users/sign_in"]);
        lab.serin(&words)?.expect(0)?;
        lab.serin(&[words.as_slice(), &["--check"]].concat())?.expect(0)?;
        // Each checkout is another project: pipelines of two lab runs must not be taken for the same.
        let origin = format!("git@gitlab.example:serin/deliver-{}.git", version.replace('.', "-"));
        pipeline.git(&["init", "--quiet"])?;
        pipeline.git(&["remote", "add", "origin", &origin])?;
        pipeline.git(&["add", "--all"])?;
        let who = ["-c", "user.name=lab", "-c", "user.email=lab@serin.example"];
        pipeline.git(&[&who[..], &["commit", "--quiet", "--message", "the pipeline"]].concat())?;
        Ok(pipeline)
    }

    fn folder(&self) -> Result<&str> {
        self.checkout.path().to_str().context("the checkout has a strange name")
    }

    fn git(&self, words: &[&str]) -> Result<()> {
        let mut git = Command::new("git");
        git.current_dir(self.checkout.path()).args(words);
        Running::start(&mut git)?.end(PATIENCE)?.expect(0).map(drop)
    }

    /// Starts gitlab-ci-local: the whole pipeline, or the jobs that are named.
    fn start(&self, words: &[&str]) -> Result<Running> {
        self.say(&format!("\n$ gitlab-ci-local {}", shown(words)))?;
        let path = [self.lab.bin().to_owned()];
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(path.into_iter().chain(std::env::split_paths(&inherited)))?;
        let mut command = Command::new(self.program);
        command.current_dir(self.checkout.path()).env("PATH", path);
        command.args(["--variable", "CI_PIPELINE_SOURCE=web"]).args(words);
        Running::start(&mut command)
    }

    fn run(&self, words: &[&str]) -> Result<Ended> {
        let ended = self.start(words)?.end(PATIENCE)?;
        self.keep(&ended)?;
        Ok(ended)
    }

    /// Kills the process of a stage's job: its shell sees what a runner sees of one that ran out of memory.
    fn kill(&self, stage: u32) -> Result<usize> {
        let wanted = format!("serin\0ci\0stage\0{stage}\0");
        let mut killed = 0;
        for entry in std::fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if read(pid, "cmdline").starts_with(&wanted) && self.is_of_ours(pid) {
                let process = Pid::from_raw(pid).context("a process has no id")?;
                rustix::process::kill_process(process, Signal::KILL)?;
                killed += 1;
            }
        }
        if killed == 0 {
            bail!("no process acts for stage {stage}");
        }
        Ok(killed)
    }

    fn is_of_ours(&self, pid: i32) -> bool {
        let config = format!("SERIN_CONFIG={}", self.config.display());
        read(pid, "environ").split('\0').any(|variable| variable == config)
    }

    fn keep(&self, ended: &Ended) -> Result<()> {
        self.say(&ended.log.join("\n"))
    }

    fn say(&self, text: &str) -> Result<()> {
        if let Some(file) = &self.transcript {
            writeln!(file.borrow_mut(), "{text}")?;
        }
        Ok(())
    }
}

fn read(pid: i32, what: &str) -> String {
    // It may just have ended.
    let bytes = std::fs::read(format!("/proc/{pid}/{what}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn shown(words: &[&str]) -> String {
    let quoted = |word: &&str| {
        if word.contains(' ') { format!("{word:?}") } else { (*word).to_owned() }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
