//! Every target holds its corpus, and some thousand mutations of it that are the same each time.
//!
//! What does not hold is left in a file, with the command that tries it again.

#[cfg(test)]
mod corpora {
    use serin_fuzz::{Broken, Random, TARGETS, Target, check, mutated, target};
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, PoisonError};

    /// Memory is counted for the whole process: with `cargo test`, all tests are threads of one.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// Every file in the corpus is small, so that whoever finds one can read it.
    const MOST_BYTES: usize = 64 << 10;

    fn folder(target: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
    }

    fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
        let entries =
            fs::read_dir(folder(target)).unwrap_or_else(|_| panic!("no corpus: {target}"));
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let name = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().to_owned();
        files.iter().map(|file| (name(file), fs::read(file).unwrap())).collect()
    }

    fn holds(name: &str) {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let target = target(name).unwrap();
        let corpus = corpus(name);
        assert!(corpus.len() >= 3, "{name} has next to no corpus");
        for (file, input) in &corpus {
            assert!(input.len() <= MOST_BYTES, "{file} is too large to be read by anybody");
            check(target, input).unwrap_or_else(|broken| told(target, input, file, &broken));
        }
        let inputs: Vec<Vec<u8>> = corpus.into_iter().map(|(_, input)| input).collect();
        let mut random = Random::new(1);
        for number in 0..target.mutations {
            let from = random.one_of(&inputs).unwrap();
            let input = mutated(&mut random, from, &inputs, target.words);
            let which = format!("mutation {number}");
            check(target, &input).unwrap_or_else(|broken| told(target, &input, &which, &broken));
        }
    }

    fn told(target: &Target, input: &[u8], which: &str, broken: &Broken) -> ! {
        let name = target.name;
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
        fs::write(&kept, input).unwrap();
        panic!(
            "{name} does not hold ({which}): {broken}\n\
             again: cargo run -p serin-fuzz -- try {name} {}\n\
             when it is mended, keep the file: crates/fuzz/corpus/{name}/WHAT-IT-IS",
            kept.display()
        );
    }

    macro_rules! targets {
        ($($test:ident = $name:literal,)*) => {
            $(
                #[test]
                fn $test() {
                    holds($name);
                }
            )*

            #[test]
            fn every_target_and_every_corpus_has_its_test() {
                let tested = [$($name),*];
                let mut targets: Vec<_> = TARGETS.iter().map(|target| target.name).collect();
                assert_eq!(targets, tested);
                targets.sort_unstable();
                let mut corpora: Vec<String> = fs::read_dir(folder("")).unwrap()
                    .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                    .collect();
                corpora.sort();
                assert_eq!(corpora, targets);
            }
        };
    }

    targets! {
        a_configuration_is_taken_whole_or_refused_with_its_place = "config",
        what_haproxy_answers_is_read_or_refused = "haproxy",
        an_index_of_packages_is_read_or_refused = "package-index",
        a_release_file_is_read_or_refused = "release-file",
        a_package_is_read_or_refused = "package",
        a_list_of_components_is_read_or_refused = "manifest",
        a_junit_report_is_counted_or_refused = "junit",
        what_rspec_prints_is_counted_or_refused = "rspec",
        what_alertmanager_answers_is_shown_or_doubted = "alertmanager",
        what_prometheus_answers_is_shown_or_doubted = "prometheus",
        a_matcher_means_what_is_shown = "matcher",
        a_patch_is_what_was_written_and_is_found_where_it_was_put = "patch",
        records_of_runs_are_read_as_they_were_written = "run-records",
        records_of_environments_are_read_as_they_were_written = "environment-records",
        what_a_host_sends_is_a_reply_or_none = "host-reply",
        what_a_host_says_of_itself_is_read_or_refused = "host-observation",
        hostile_texts_reach_programs_unchanged_and_run_nothing = "commands",
    }

    /// What only a login shell reads: it is fixed, and one word for the shell that is started by it.
    #[test]
    fn what_a_login_shell_reads_starts_one_program_with_one_script() {
        use serin_adapters::ssh::{SshConfig, fuzzing};
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let env = folder.path().join("env");
        fs::write(&env, "#!/bin/sh\nprintf '%s\\0' \"$@\"\n").unwrap();
        fs::set_permissions(&env, fs::Permissions::from_mode(0o755)).unwrap();
        for sudo in [true, false] {
            let time = std::time::Duration::from_secs(1);
            let config = SshConfig { config: None, max_connecting: 1, connect_timeout: time, sudo };
            let command = fuzzing::remote_command(&config);
            let script = command.split_once('\'').unwrap().1.trim_end_matches('\'');
            let before = ["LC_ALL=C", "sudo", "-n", "sh", "-c", script];
            let mut expected = before.to_vec();
            if !sudo {
                drop(expected.drain(1..3));
            }
            for shell in ["sh", "bash"] {
                let path = format!("{}:/usr/bin:/bin", folder.path().display());
                let mut shell = std::process::Command::new(shell);
                let output = shell.arg("-c").arg(&command).env("PATH", path).output().unwrap();
                let words = String::from_utf8(output.stdout).unwrap();
                let words: Vec<&str> = words.trim_end_matches('\0').split('\0').collect();
                assert_eq!(words, expected);
            }
        }
    }
}
