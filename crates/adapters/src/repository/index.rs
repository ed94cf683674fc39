//! The index of packages: decompressed and read as a stream, one package's stanzas kept.
//!
//! Its bytes were proven before they come here. The limits guard against a publisher's mistake, not an attacker.

use super::RepositoryConfig;
use crate::compressed::{self, Capped};
use deb822_fast::Paragraph;
use serin_model::{Build, BuildKind};
use std::io::{BufRead, BufReader, Read};

/// The largest index that is downloaded. Debian's own, with 63,000 packages, has 9 MB.
pub(super) const MAX_COMPRESSED: u64 = 64 << 20;

/// The largest index after decompression: ten times Debian's own.
const MAX_PLAIN: u64 = 512 << 20;

/// The largest stanza. Debian's own largest has 60 KB.
const MAX_STANZA: u64 = 1 << 20;

/// A build, and where its package is.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    pub(super) build: Build,
    /// From the repository's root, as it is written; only whoever fetches it needs it.
    pub(super) path: Option<String>,
}

/// Parses an index, by the ending of its name.
pub(super) fn parse(
    name: &str,
    bytes: &[u8],
    config: &RepositoryConfig,
) -> Result<Vec<Listed>, String> {
    let plain = compressed::plain(name, bytes).map_err(|error| error.to_string())?;
    let mut reader = BufReader::new(Capped::new(plain, MAX_PLAIN));
    let mut builds = Vec::new();
    while let Some(text) = stanza(&mut reader)? {
        let paragraph: Paragraph = text.parse().map_err(|error| format!("{error}"))?;
        if let Some(build) = build(&paragraph, config)? {
            builds.push(build);
        }
    }
    Ok(builds)
}

/// Reads the lines up to the next empty one; `None` is the end of the index.
fn stanza(reader: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut text = Vec::new();
    loop {
        let begin = text.len();
        let room = (MAX_STANZA + 1).saturating_sub(u64::try_from(begin).unwrap_or(u64::MAX));
        let read = reader.by_ref().take(room).read_until(b'\n', &mut text);
        if read.map_err(|error| error.to_string())? == 0 && room > 0 {
            break;
        }
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_STANZA {
            return Err(format!("one of its packages has more than {MAX_STANZA} bytes of fields"));
        }
        let is_empty = text.get(begin..).is_some_and(|line| line.trim_ascii().is_empty());
        if is_empty && begin > 0 {
            break;
        }
        if is_empty {
            text.clear();
        }
    }
    if text.is_empty() {
        return Ok(None);
    }
    String::from_utf8(text).map(Some).map_err(|error| error.to_string())
}

fn build(paragraph: &Paragraph, config: &RepositoryConfig) -> Result<Option<Listed>, String> {
    let field = |name| paragraph.get(name).map(str::trim);
    let ours = field("Package") == Some(config.package.as_str())
        && field("Architecture").is_some_and(|it| it == config.architecture || it == "all");
    if !ours {
        return Ok(None);
    }
    let version =
        field("Version").ok_or_else(|| format!("a {} without version", config.package))?;
    let need = |name| field(name).ok_or_else(|| format!("version {version} has no {name}"));
    let sha256 = need("SHA256")?;
    let size = need("Size")?;
    let kind = config.kinds.iter().find(|(_, pattern)| pattern.fits(version));
    let build = Build {
        package: config.package.clone(),
        version: version.parse().map_err(|error| format!("{error}"))?,
        sha256: sha256.parse().map_err(|error| format!("version {version}: {error}"))?,
        size: size.parse().map_err(|error| format!("version {version}: size {size:?}: {error}"))?,
        kind: kind.map_or(BuildKind::Unknown, |(kind, _)| *kind),
    };
    Ok(Some(Listed { build, path: field("Filename").map(str::to_owned) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::Pattern;
    use proptest::prelude::*;
    use std::io::Write;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn config() -> RepositoryConfig {
        RepositoryConfig {
            package: "demoapp".parse().unwrap(),
            url: "file:///".to_owned(),
            suite: "lab".to_owned(),
            component: "main".to_owned(),
            architecture: "amd64".to_owned(),
            keyring: "k".into(),
            credentials: None,
            kinds: vec![
                (BuildKind::Nightly, Pattern::new("*+nightly*")),
                (BuildKind::Official, Pattern::new("*-1")),
            ],
        }
    }

    fn stanza(package: &str, version: &str, more: &str) -> String {
        format!(
            "Package: {package}\nArchitecture: amd64\nVersion: {version}\n{more}Description: x\n more\n .\n end\n\n"
        )
    }

    #[test]
    fn only_the_package_is_kept_and_the_first_pattern_decides_its_kind() {
        let more = format!("Size: 12\nSHA256: {HASH}\n");
        let text = [
            stanza("other", "not a version", ""),
            stanza("demoapp", "2.0+nightly.1-1", &more),
            stanza("demoapp-data", "9-1", &more),
            stanza("demoapp", "2.0-1", &more),
            stanza("demoapp", "2.0-2", &more),
        ]
        .concat();
        for (name, bytes) in [
            ("Packages", text.clone().into_bytes()),
            ("Packages.gz", gz(&text)),
            ("Packages.xz", xz(&text)),
        ] {
            let builds = parse(name, &bytes, &config()).unwrap();
            let found: Vec<_> = builds
                .iter()
                .map(|Listed { build: b, .. }| (b.version.as_str(), b.kind, b.size))
                .collect();
            assert_eq!(
                found,
                [
                    ("2.0+nightly.1-1", BuildKind::Nightly, 12),
                    ("2.0-1", BuildKind::Official, 12),
                    ("2.0-2", BuildKind::Unknown, 12)
                ],
                "{name}"
            );
        }
    }

    #[test]
    fn a_stanza_without_its_hash_or_size_is_an_error() {
        let hash = format!("SHA256: {HASH}\n");
        for more in ["", "Size: 1\n", &hash, "Size: 1\nSHA256: 12\n", &format!("Size: -1\n{hash}")]
        {
            let text = stanza("demoapp", "1-1", more);
            let error = parse("Packages", text.as_bytes(), &config()).unwrap_err();
            assert!(error.contains("1-1"), "{error}");
        }
        assert!(parse("Packages", stanza("demoapp", "1_0", "").as_bytes(), &config()).is_err());
    }

    #[test]
    fn damaged_compression_is_an_error() {
        let text = stanza("demoapp", "1-1", "").repeat(100);
        for (name, bytes) in [("Packages.gz", gz(&text)), ("Packages.xz", xz(&text))] {
            assert!(parse(name, &bytes[..bytes.len() - 20], &config()).is_err(), "{name}");
            assert!(
                parse(name, b"not compressed at all, only words", &config()).is_err(),
                "{name}"
            );
        }
    }

    fn gz(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(text: &str) -> Vec<u8> {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(Package: demoapp\n|Version: |Size: 1\n|SHA256: |\n|#|:| |[ -~é]){0,60}") {
            drop(parse("Packages", text.as_bytes(), &config()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for name in ["Packages", "Packages.gz", "Packages.xz"] {
                drop(parse(name, &bytes, &config()));
            }
        }
    }
}
