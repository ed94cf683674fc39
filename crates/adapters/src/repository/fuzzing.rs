//! For the fuzz target of the package index: its text, compressed or not, and that of the Release file.

use super::release::Release;
use super::{Pattern, RepositoryConfig, index};
use serin_model::{Build, BuildKind, PackageName};

/// Reads an index of packages, and returns the builds of one package.
pub fn index(name: &str, bytes: &[u8], package: PackageName) -> Result<Vec<Build>, String> {
    let config = RepositoryConfig {
        package,
        url: "file:///".to_owned(),
        suite: "lab".to_owned(),
        component: "main".to_owned(),
        architecture: "amd64".to_owned(),
        keyring: "none".into(),
        credentials: None,
        kinds: vec![(BuildKind::Nightly, Pattern::new("*+nightly*"))],
    };
    let listed = index::parse(name, bytes, &config)?;
    Ok(listed.into_iter().map(|listed| listed.build).collect())
}

/// Reads a Release file, and returns the names of its indexes.
pub fn release(text: &str) -> Result<Vec<String>, String> {
    let indexes = Release::parse(text)?.indexes("main/binary-amd64");
    Ok(indexes.into_iter().map(|entry| entry.name).collect())
}
