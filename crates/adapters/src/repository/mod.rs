//! Builds in a Debian package repository, read from the repository's own signed index.
//!
//! Nothing is believed that the key did not sign: `InRelease` is checked by `gpgv`, and the index of packages by the
//! size and SHA-256 that the signed text names. Packages are fetched only where their contents are asked for, and kept in a
//! [`PackageCache`]; nothing else is kept between calls. Read [`Repository::builds`] first.

mod cache;
mod credentials;
mod error;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod pattern;
mod release;
mod signature;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_packages;

pub use cache::PackageCache;
pub use credentials::Credentials;
pub use error::RepositoryError;
pub use pattern::Pattern;

use crate::deb::Deb;
use crate::http::{self, Peer, redacted};
use index::Listed;
use release::Release;
use reqwest::{Client, Url};
use serin_model::{Build, BuildKind, DebVersion, PackageName, Sha256};
use std::path::PathBuf;
use std::time::Duration;

/// How long one file may take: the largest index that is accepted, at 1 MB/s.
const DEADLINE: Duration = Duration::from_mins(1);

/// The largest `InRelease`. That of Debian itself, with all its architectures, has 200 KB.
const MAX_RELEASE: u64 = 8 << 20;

/// What fetching a package may take besides its bytes.
const PATIENCE: Duration = Duration::from_mins(1);

/// The slowest line on which a package is fetched, in bytes a second: GitLab's takes twenty minutes on it.
const SLOWEST: u64 = 1 << 20;

/// How many builds an error names.
const SUGGESTIONS: usize = 5;

/// Where a package is published, and how its builds are told apart.
#[derive(Debug, Clone)]
pub struct RepositoryConfig {
    /// The package.
    pub package: PackageName,
    /// The root of the repository: `http://`, `https://` or `file://`.
    pub url: String,
    /// The suite, for example `bookworm`.
    pub suite: String,
    /// The component, for example `main`.
    pub component: String,
    /// The architecture, for example `amd64`.
    pub architecture: String,
    /// The keys of which one must have signed the index: a binary keyring.
    pub keyring: PathBuf,
    /// By whom it is read; `None`: by anybody.
    pub credentials: Option<Credentials>,
    /// The kind of a build is that of the first pattern that fits its version.
    pub kinds: Vec<(BuildKind, Pattern)>,
}

/// A repository that can be asked.
#[derive(Debug, Clone)]
pub struct Repository {
    config: RepositoryConfig,
    client: Client,
}

impl Repository {
    /// Makes a repository; nothing is read yet.
    ///
    /// # Errors
    /// When the address cannot be one, or no HTTP client can be made.
    pub fn new(config: RepositoryConfig) -> Result<Self, RepositoryError> {
        let url = parse_url(&config.url)?;
        let local = url
            .host_str()
            .is_none_or(|host| host == "localhost" || host.starts_with("127.") || host == "[::1]");
        let peer = if local { Peer::LocalMirror } else { Peer::Mirror };
        let header = config.credentials.as_ref().map(Credentials::header);
        let client = http::client_as(peer, DEADLINE, header).map_err(|source| {
            RepositoryError::Unreachable { url: redacted(&config.url), source }
        })?;
        Ok(Self { config, client })
    }

    /// Reads every build of the package, newest first in Debian's order; none, if the index does not list the package.
    ///
    /// # Errors
    /// See [`RepositoryError`]: whatever cannot be proven is an error, never a shorter list.
    pub async fn builds(&self) -> Result<Vec<Build>, RepositoryError> {
        Ok(self.listed().await?.into_iter().map(|listed| listed.build).collect())
    }

    async fn listed(&self) -> Result<Vec<Listed>, RepositoryError> {
        let release = self.release().await?;
        let (url, entry, bytes) = self.fetch_index(&release).await?;
        let config = self.config.clone();
        let listed =
            tokio::task::spawn_blocking(move || index::parse(&entry.name, &bytes, &config))
                .await
                .map_err(|error| RepositoryError::BadIndex {
                    url: url.clone(),
                    why: error.to_string(),
                })?
                .map_err(|why| RepositoryError::BadIndex { url, why })?;
        newest_first(listed)
    }

    /// Finds one build by its complete version.
    ///
    /// # Errors
    /// As [`Self::builds`], and when the version is not there: then the ones most like it are named.
    pub async fn find(&self, version: &DebVersion) -> Result<Build, RepositoryError> {
        let listed = self.listed().await?;
        Ok(self.named(&listed, version)?.build.clone())
    }

    /// Opens the packages of some versions, which it fetches where the cache does not have them. Their bytes are proven
    /// by the SHA-256 of the signed index, also where they come from the cache.
    ///
    /// # Errors
    /// As [`Self::find`], and when a package cannot be fetched whole or kept.
    pub async fn open(
        &self,
        versions: &[&DebVersion],
        cache: &PackageCache,
    ) -> Result<Vec<(Build, Deb)>, RepositoryError> {
        let listed = self.listed().await?;
        // All are named before the first gigabyte is fetched.
        let wanted: Result<Vec<&Listed>, _> =
            versions.iter().map(|version| self.named(&listed, version)).collect();
        let mut opened = Vec::new();
        for listed in wanted? {
            let (file, path) = match cache.take(&listed.build).await? {
                Some(kept) => kept,
                None => self.fetch(listed, cache).await?,
            };
            let deb = Deb::new(file, &path).map_err(|error| RepositoryError::Cache {
                path: path.clone(),
                why: error.to_string(),
            })?;
            opened.push((listed.build.clone(), deb));
        }
        Ok(opened)
    }

    async fn fetch(
        &self,
        listed: &Listed,
        cache: &PackageCache,
    ) -> Result<(std::fs::File, PathBuf), RepositoryError> {
        let root = self.config.url.trim_end_matches('/');
        let plain = |path: &&String| !path.split('/').any(|part| matches!(part, "" | ".."));
        let Some(path) = listed.path.as_ref().filter(plain) else {
            let why = format!("version {} has no usable Filename", listed.build.version);
            return Err(RepositoryError::BadIndex { url: redacted(root), why });
        };
        let text = format!("{root}/{}", quoted(path));
        let (url, shown) = (parse_url(&text)?, redacted(&text));
        let mut incoming = cache.incoming(&listed.build)?;
        let limit = listed.build.size;
        let fetched = if url.scheme() == "file" {
            copy_file(&url, &mut incoming)
        } else {
            let whole = PATIENCE + Duration::from_secs(limit / SLOWEST);
            http::download(&self.client, url, (limit, whole), &mut |part| incoming.add(part)).await
        };
        match fetched {
            Ok(()) => incoming.keep(&shown),
            Err(http::HttpError::Status { status: 403 | 404 | 410, .. }) => {
                Err(RepositoryError::Gone { url: shown })
            }
            Err(http::HttpError::TooLarge { limit }) => Err(RepositoryError::Tampered {
                url: shown,
                expected: format!("{limit} bytes, SHA-256 {}", listed.build.sha256),
                found: "more".to_owned(),
            }),
            Err(source) => Err(RepositoryError::Unreachable { url: shown, source }),
        }
    }

    fn named<'a>(
        &self,
        listed: &'a [Listed],
        version: &DebVersion,
    ) -> Result<&'a Listed, RepositoryError> {
        if let Some(found) = listed.iter().find(|listed| listed.build.version == *version) {
            return Ok(found);
        }
        let shared = |build: &DebVersion| {
            let pairs = build.as_str().bytes().zip(version.as_str().bytes());
            pairs.take_while(|(a, b)| a == b).count()
        };
        let mut similar: Vec<_> =
            listed.iter().map(|listed| listed.build.version.clone()).collect();
        // The sort is stable: builds that are equally like it stay newest first.
        similar.sort_by_key(|build| std::cmp::Reverse(shared(build)));
        similar.truncate(SUGGESTIONS);
        Err(RepositoryError::NotFound {
            package: self.config.package.clone(),
            version: version.clone(),
            url: redacted(&self.config.url),
            similar,
        })
    }

    /// Reads `InRelease` and proves that the key signed it, and that it has not expired.
    async fn release(&self) -> Result<Release, RepositoryError> {
        let (url, shown) = self.address("InRelease")?;
        let signed = match self.read(url, MAX_RELEASE).await? {
            Read::Bytes(bytes) => bytes,
            Read::Missing => {
                return Err(RepositoryError::NoSuite {
                    suite: self.config.suite.clone(),
                    url: shown,
                });
            }
        };
        let text = signature::verify(&self.config.keyring, &signed, &shown).await?;
        let release = Release::parse(&text)
            .map_err(|why| RepositoryError::BadRelease { url: shown.clone(), why })?;
        release.check(&self.config.suite, http::now(), &shown)?;
        Ok(release)
    }

    /// Reads the index of packages, by its hash if the repository offers that: then a repository that is being
    /// updated right now still answers with what the signed text names.
    async fn fetch_index(
        &self,
        release: &Release,
    ) -> Result<(String, release::Entry, Vec<u8>), RepositoryError> {
        let folder = format!("{}/binary-{}", self.config.component, self.config.architecture);
        let entries = release.indexes(&folder);
        if entries.is_empty() {
            return Err(RepositoryError::NotListed { index: format!("{folder}/Packages") });
        }
        for entry in entries {
            if entry.size > index::MAX_COMPRESSED {
                let (_, url) = self.address(&entry.name)?;
                return Err(RepositoryError::TooLarge { url, limit: index::MAX_COMPRESSED });
            }
            let by_hash = format!("{folder}/by-hash/SHA256/{}", entry.sha256);
            let by_name = entry.name.clone();
            for path in release.by_hash.then_some(by_hash).into_iter().chain([by_name]) {
                let (url, shown) = self.address(&path)?;
                if let Read::Bytes(bytes) = self.read(url, index::MAX_COMPRESSED).await? {
                    check_bytes(&entry, &bytes, &shown)?;
                    return Ok((shown, entry, bytes));
                }
            }
        }
        let (_, url) = self.address(&format!("{folder}/Packages"))?;
        Err(RepositoryError::Gone { url })
    }

    fn address(&self, path: &str) -> Result<(Url, String), RepositoryError> {
        let root = self.config.url.trim_end_matches('/');
        let text = format!("{root}/dists/{}/{path}", self.config.suite);
        Ok((parse_url(&text)?, redacted(&text)))
    }

    async fn read(&self, url: Url, limit: u64) -> Result<Read, RepositoryError> {
        let shown = redacted(url.as_str());
        if url.scheme() == "file" {
            return read_file(&url, limit, shown).await;
        }
        match http::get(&self.client, url, limit).await {
            Ok(answer) => Ok(Read::Bytes(answer.body)),
            // Object stores answer 403 for what is not there.
            Err(http::HttpError::Status { status: 403 | 404 | 410, .. }) => Ok(Read::Missing),
            Err(http::HttpError::TooLarge { limit }) => {
                Err(RepositoryError::TooLarge { url: shown, limit })
            }
            Err(source) => Err(RepositoryError::Unreachable { url: shown, source }),
        }
    }
}

/// What reading a file of the repository came to.
enum Read {
    Bytes(Vec<u8>),
    Missing,
}

fn parse_url(text: &str) -> Result<Url, RepositoryError> {
    let refuse = || RepositoryError::BadAddress { url: redacted(text) };
    let url = Url::parse(text).ok().ok_or_else(refuse)?;
    if matches!(url.scheme(), "http" | "https" | "file") { Ok(url) } else { Err(refuse()) }
}

async fn read_file(url: &Url, limit: u64, shown: String) -> Result<Read, RepositoryError> {
    let refuse = |why: String| RepositoryError::Unreadable { url: shown.clone(), why };
    let path = url.to_file_path().map_err(|()| refuse("it is not a path".to_owned()))?;
    match tokio::fs::metadata(&path).await {
        Ok(metadata) if metadata.len() > limit => {
            return Err(RepositoryError::TooLarge { url: shown, limit });
        }
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Read::Missing),
        Err(error) => return Err(refuse(error.to_string())),
    }
    let bytes = tokio::fs::read(&path).await.map_err(|error| refuse(error.to_string()))?;
    Ok(Read::Bytes(bytes))
}

/// Nothing is decompressed before this has passed: a decompressor never sees bytes that the key did not sign for.
fn check_bytes(entry: &release::Entry, bytes: &[u8], url: &str) -> Result<(), RepositoryError> {
    let found = sha256(bytes);
    let same_size = u64::try_from(bytes.len()).is_ok_and(|size| size == entry.size);
    if same_size && found == entry.sha256.as_str() {
        return Ok(());
    }
    Err(RepositoryError::Tampered {
        url: url.to_owned(),
        expected: format!("{} bytes, SHA-256 {}", entry.size, entry.sha256),
        found: format!("{} bytes, SHA-256 {found}", bytes.len()),
    })
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn newest_first(mut builds: Vec<Listed>) -> Result<Vec<Listed>, RepositoryError> {
    let bytes = |listed: &Listed| -> Sha256 { listed.build.sha256.clone() };
    builds.sort_by(|a, b| b.build.version.cmp(&a.build.version));
    for pair in builds.windows(2) {
        let [first, second] = pair else { continue };
        if first.build.version == second.build.version && bytes(first) != bytes(second) {
            return Err(RepositoryError::Ambiguous {
                version: first.build.version.clone(),
                hashes: [bytes(first), bytes(second)],
            });
        }
    }
    builds.dedup_by(|a, b| a.build.version == b.build.version);
    Ok(builds)
}

/// Returns a file's path as a part of an address: what is written in an index is not an address yet.
fn quoted(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+~/:@=,".contains(&byte);
    let quote = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    path.bytes().map(quote).collect()
}

fn copy_file(url: &Url, incoming: &mut cache::Incoming) -> Result<(), http::HttpError> {
    let unreadable = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            http::HttpError::Status { status: 404, excerpt: String::new() }
        } else {
            http::HttpError::Unreachable(error.to_string())
        }
    };
    let path = url.to_file_path().map_err(|()| http::HttpError::BadAddress)?;
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = std::io::Read::read(&mut file, &mut buffer).map_err(unreadable)?;
        if count == 0 {
            return Ok(());
        }
        incoming.add(buffer.get(..count).unwrap_or_default()).map_err(unreadable)?;
    }
}
