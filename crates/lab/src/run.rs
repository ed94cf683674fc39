//! Runs external commands, and waits for levels.
//!
//! A command that fails is reported with its whole argv and what it wrote to standard error; nothing here retries.

use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs a command to its end; any exit status but 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let output = run_unchecked(command)?;
    if output.status.success() {
        return Ok(output);
    }
    bail!("{}", describe_failure(command, &output))
}

/// Runs a command and returns what it printed, without the last newline.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = run(command)?;
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Runs a command to its end and leaves the judgement of its exit status to the caller.
pub(crate) fn run_unchecked(command: &mut Command) -> Result<Output> {
    command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not run {}: is scripts/setup done?", argv(command)))
}

/// Runs a command with `input` on its standard input.
pub(crate) fn feed(command: &mut Command, input: &str) -> Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("could not run {}: is scripts/setup done?", argv(command)))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that ends without reading says why in its exit status.
        drop(stdin.write_all(input.as_bytes()));
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok(output);
    }
    bail!("{}", describe_failure(command, &output))
}

/// Starts a command line: `cmd(["ip", "link"])`.
pub(crate) fn cmd<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut words = words.into_iter();
    let mut command = match words.next() {
        Some(program) => Command::new(program),
        None => Command::new("false"),
    };
    command.args(words);
    command
}

/// Looks every 20 ms until `look` gives a value; after `limit` the last reason becomes the error.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = now();
    loop {
        let outcome = look();
        if let Ok(Some(value)) = outcome {
            return Ok(value);
        }
        if started.elapsed() > limit {
            let seconds = limit.as_secs();
            return match outcome {
                Err(error) => Err(error.context(format!("{what}: not within {seconds} s"))),
                Ok(_) => bail!("{what}: not within {seconds} s"),
            };
        }
        pause(Duration::from_millis(20));
    }
}

/// Returns the monotonic clock's time.
#[expect(clippy::disallowed_methods, reason = "the lab works on the real world, at the edge")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Lets time pass between two looks at a level; never instead of one.
#[expect(clippy::disallowed_methods, reason = "the lab works on the real world, at the edge")]
pub(crate) fn pause(length: Duration) {
    std::thread::sleep(length);
}

/// Prints a line; a closed pipe on the other side is not worth an error.
pub(crate) fn say(text: impl std::fmt::Display) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Prints a line for whoever reads errors.
pub(crate) fn complain(text: impl std::fmt::Display) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Runs `work` on every item, at most `width` at once, and returns the first failure.
pub(crate) fn in_parallel<T: Sync>(
    items: &[T],
    width: usize,
    work: impl Fn(&T) -> Result<()> + Sync,
) -> Result<()> {
    let queue = std::sync::Mutex::new(items.iter());
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..width.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let Some(item) = queue.lock().ok().and_then(|mut queue| queue.next()) else {
                        return;
                    };
                    if let Err(error) = work(item)
                        && let Ok(mut failures) = failures.lock()
                    {
                        failures.push(error);
                    }
                }
            });
        }
    });
    match failures.into_inner().ok().and_then(|failures| failures.into_iter().next()) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn argv(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    words.join(" ")
}

fn describe_failure(command: &Command, output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let said = if stderr.trim().is_empty() { stdout } else { stderr };
    format!("{} ended with {}: {}", argv(command), output.status, said.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_command_is_reported_with_its_argv_and_stderr() {
        let error = run(&mut cmd(["sh", "-c", "echo no such thing >&2; exit 3"])).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("sh -c echo no such thing"), "{text}");
        assert!(text.contains("exit status: 3: no such thing"), "{text}");
    }

    #[test]
    fn every_item_is_worked_on_although_one_fails() {
        let seen = std::sync::Mutex::new(Vec::new());
        let outcome = in_parallel(&[1, 2, 3, 4], 2, |item| {
            seen.lock().unwrap().push(*item);
            anyhow::ensure!(*item != 2, "two");
            Ok(())
        });
        assert_eq!(outcome.unwrap_err().to_string(), "two");
        let mut seen = seen.into_inner().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, [1, 2, 3, 4]);
    }
}
