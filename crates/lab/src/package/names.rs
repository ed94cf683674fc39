//! What a build calls itself in its many places, all derived from the package version.
//!
//! Derived, not random: the same version has the same commit, migrations and files wherever it is built.

use anyhow::{Context as _, ensure};

/// The names of one build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The package version.
    pub version: String,
    /// What Rails calls itself. Like the real one it is not unique: a nightly is called after the next release.
    pub rails_version: String,
    /// The commit of gitlab-rails; unique to the version.
    pub revision: String,
    /// The commit of gitaly; the same in all patch releases of a `MAJOR.MINOR`, so that not every build changes gitaly.
    pub gitaly_revision: String,
    /// The first ten digits of the ids of the version's own migrations.
    pub migration_prefix: String,
    /// The oldest `MAJOR.MINOR` that may be upgraded to this version.
    pub minimum: (u32, u32),
}

impl Names {
    /// Derives the names, or says why `version` cannot be one.
    pub(super) fn of(version: &str) -> anyhow::Result<Self> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b".+~:-".contains(&byte);
        ensure!(version.bytes().all(known), "`{version}` is no Debian version");
        let upstream = version.split_once(':').map_or(version, |(_, rest)| rest);
        let mut numbers = upstream.splitn(3, '.');
        let mut number = |name: &str| -> anyhow::Result<u32> {
            let text = numbers.next().unwrap_or_default();
            text.parse().with_context(|| format!("`{version}` does not start with a {name} number"))
        };
        let (major, minor) = (number("MAJOR")?, number("MINOR")?);
        ensure!(major > 0, "`{version}` has no version before it");
        let patch: String = numbers
            .next()
            .with_context(|| format!("`{version}` is not MAJOR.MINOR.PATCH…"))?
            .chars()
            .take_while(char::is_ascii_digit)
            .collect();
        let hash = hash(version);
        Ok(Self {
            version: version.to_owned(),
            rails_version: rails_version(upstream, &format!("{major}.{minor}.{patch}")),
            revision: commit(version),
            gitaly_revision: commit(&format!("gitaly {major}.{minor}")),
            // Above the base migrations (2023…), in the order of MAJOR.MINOR.
            migration_prefix: format!("30{:02}{:02}{:04}", major % 100, minor % 100, hash % 10_000),
            minimum: (major - 1, 11),
        })
    }
}

fn rails_version(upstream: &str, release: &str) -> String {
    if upstream.contains('+') {
        return format!("{release}-pre");
    }
    match upstream.split_once('-') {
        Some((_, edition)) if edition.starts_with("ee") => format!("{release}-ee"),
        Some((_, candidate)) => {
            let candidate = candidate.split('.').next().unwrap_or_default();
            format!("{release}-{candidate}-ee")
        }
        None => release.to_owned(),
    }
}

/// Forty hexadecimal digits that look like a commit.
fn commit(text: &str) -> String {
    let (one, two, three) =
        (hash(text), hash(&format!("{text} 2")), hash(&format!("{text} 3")) >> 32);
    format!("{one:016x}{two:016x}{three:08x}")
}

/// FNV-1a: small, and the same in every build of this program.
fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rails_calls_itself_by_the_kind_of_build() {
        for (version, rails) in [
            ("16.0.0-ee.0", "16.0.0-ee"),
            ("16.1.0-rc42.ee.0", "16.1.0-rc42-ee"),
            ("16.1.1+rnightly.159756.b2b5f05e-0", "16.1.1-pre"),
        ] {
            assert_eq!(Names::of(version).unwrap().rails_version, rails);
        }
    }

    #[test]
    fn a_patch_release_changes_rails_and_not_gitaly() {
        let (one, two) = (Names::of("16.0.0-ee.0").unwrap(), Names::of("16.0.1-ee.0").unwrap());
        assert_ne!(one.revision, two.revision);
        assert_eq!(one.gitaly_revision, two.gitaly_revision);
        assert_ne!(one.migration_prefix, two.migration_prefix);
        assert_eq!(one.revision.len(), 40);
    }

    #[test]
    fn versions_that_no_package_can_have_are_refused() {
        for version in ["", "16", "16.0", "x.1.0", "16.0.0 ee", "16.0.*", "0.1.0"] {
            assert!(Names::of(version).is_err(), "{version}");
        }
    }
}
