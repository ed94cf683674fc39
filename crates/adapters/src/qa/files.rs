//! Finds and reads the report files of a suite, below its working folder and nowhere else.

use crate::repository::Pattern;
use std::fs;
use std::path::{Path, PathBuf};

/// The largest report; GitLab accepts the same.
const MAX_FILE: u64 = 30 << 20;

/// The most that all reports together may have.
const MAX_TOTAL: u64 = 100 << 20;

/// How many files and folders are looked at. A suite that leaves more behind has its reports in a folder of their own.
const MAX_ENTRIES: usize = 100_000;

/// The names and texts of report files.
pub(super) type Texts = Vec<(String, String)>;

/// Checks that patterns can only name files below the folder.
pub(super) fn check_patterns(patterns: &[String]) -> Result<(), String> {
    let bad = |pattern: &&String| pattern.split('/').any(|part| matches!(part, "" | "." | ".."));
    if patterns.is_empty() {
        return Err(
            "no report files are named: write for example report_files = [\"*.xml\"]".to_owned()
        );
    }
    match patterns.iter().find(bad) {
        Some(pattern) => Err(format!(
            "{pattern:?} is not a file below the working folder: write for example \"reports/*.xml\""
        )),
        None => Ok(()),
    }
}

/// Returns the files that fit any pattern, sorted. `*` stays within a name, `**` is any number of folders. Links are
/// not followed.
pub(super) fn find(root: &Path, patterns: &[String]) -> Result<Vec<PathBuf>, String> {
    check_patterns(patterns)?;
    let unreadable = |error: std::io::Error| format!("the working folder cannot be read: {error}");
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    let mut seen = 0_usize;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            seen += 1;
            if seen > MAX_ENTRIES {
                return Err(format!("it left more than {MAX_ENTRIES} files behind"));
            }
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() && patterns.iter().any(|p| fits(p, &entry.path(), root)) {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Reads files, each with its name for people. Bytes that are no UTF-8 are in somebody's failure message.
pub(super) fn read(root: &Path, files: &[PathBuf]) -> Result<Texts, String> {
    let mut total = 0_u64;
    let mut texts = Vec::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(file).display().to_string();
        let unreadable =
            |error: std::io::Error| format!("the report {name} cannot be read: {error}");
        let size = fs::metadata(file).map_err(unreadable)?.len();
        total = total.saturating_add(size);
        if size > MAX_FILE || total > MAX_TOTAL {
            return Err(format!("the report {name} is too large"));
        }
        let bytes = fs::read(file).map_err(unreadable)?;
        texts.push((name, String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok(texts)
}

fn fits(pattern: &str, path: &Path, root: &Path) -> bool {
    let Some(path) = path.strip_prefix(root).ok().and_then(Path::to_str) else { return false };
    let (pattern, path): (Vec<_>, Vec<_>) =
        (pattern.split('/').collect(), path.split('/').collect());
    fits_parts(&pattern, &path)
}

fn fits_parts(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), folder) => {
            fits_parts(rest, path) || folder.is_some_and(|(_, below)| fits_parts(pattern, below))
        }
        (Some((name, rest)), Some((part, below))) => {
            Pattern::new(*name).fits(part) && fits_parts(rest, below)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_below_the_folder_that_fit_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("run/deep")).unwrap();
        for file in ["b.xml", "a.xml", "a.txt", "run/c.xml", "run/deep/d.xml"] {
            fs::write(root.join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("/etc/passwd", root.join("link.xml")).unwrap();
        std::os::unix::fs::symlink("/", root.join("run/all")).unwrap();
        let cases: [(&[&str], &str); 6] = [
            (&["*.xml"], "a.xml b.xml"),
            (&["**/*.xml"], "a.xml b.xml run/c.xml run/deep/d.xml"),
            (&["run/**/*.xml"], "run/c.xml run/deep/d.xml"),
            (&["*/*.xml", "a.txt"], "a.txt run/c.xml"),
            (&["*.xml", "a.*", "a.xml"], "a.txt a.xml b.xml"),
            (&["*"], "a.txt a.xml b.xml"),
        ];
        for (patterns, expected) in cases {
            let patterns: Vec<_> = patterns.iter().map(|p| (*p).to_owned()).collect();
            let found: Vec<_> = find(root, &patterns)
                .unwrap()
                .iter()
                .map(|file| file.strip_prefix(root).unwrap().display().to_string())
                .collect();
            assert_eq!(found.join(" "), expected, "{patterns:?}");
        }
        for bad in ["/etc/*", "../*", "a/../b", "", "a//b", "./a"] {
            assert!(find(root, &[bad.to_owned()]).is_err(), "{bad}");
        }
        assert!(find(root, &[]).is_err());
    }

    #[test]
    fn a_report_that_is_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.xml");
        fs::File::create(&file).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(read(folder.path(), &[file]).unwrap_err().contains("a.xml is too large"));
    }
}
