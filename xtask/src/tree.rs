//! The repository's own files, read once. What was built, hidden folders and the lab are not part of it.
//!
//! It does not ask git: a checkout that belongs to another user, or a tarball, must be checked as well.

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

/// The hidden folders that are the project's own.
const HIDDEN: &[&str] = &[".cargo", ".ci", ".config", ".github"];

/// A file of the repository.
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) bytes: u64,
    /// Empty when it is not text.
    pub(crate) text: String,
}

/// All files of the repository.
pub(crate) struct Tree {
    pub(crate) root: PathBuf,
    /// In the order of their paths.
    pub(crate) files: Vec<File>,
}

/// Returns the checkout that this program was built in.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

impl Tree {
    /// Reads everything under `root`.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder);
            for entry in entries.with_context(|| folder.display().to_string())? {
                let entry = entry?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let path = entry.path();
                if entry.file_type()?.is_dir() {
                    let hidden = name.starts_with('.') && !HIDDEN.contains(&name.as_str());
                    let is_built = path.join("CACHEDIR.TAG").exists();
                    if !hidden && !is_built && name != "target" {
                        folders.push(path);
                    }
                } else if entry.file_type()?.is_file() && name != ".git" {
                    files.push(file(root, &path)?);
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { root: root.to_owned(), files })
    }

    /// Returns the files whose path ends like this.
    pub(crate) fn ending<'a>(&'a self, end: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| file.path.ends_with(end))
    }

    /// Returns the text of a file; empty when there is none.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.files.iter().find(|file| file.path == path).map_or("", |file| &file.text)
    }
}

impl File {
    /// Tells whether the file is a test, and nothing but a test.
    pub(crate) fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        self.path.contains("/tests/") || name == "tests.rs" || name.starts_with("tests_")
    }
}

fn file(root: &Path, path: &Path) -> Result<File> {
    let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    Ok(File {
        path: path.strip_prefix(root)?.to_string_lossy().replace('\\', "/"),
        bytes: u64::try_from(bytes.len())?,
        text: String::from_utf8(bytes).unwrap_or_default(),
    })
}
