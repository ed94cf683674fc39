//! Packages that were fetched before, by their SHA-256: a folder that may be removed at any time.
//!
//! A file there is believed no more than one that comes from the network: its bytes are proven each time. Two processes
//! may use one folder; each writes a file of its own and renames it. The least recently used go when it is too large.

use super::RepositoryError;
use ring::digest::{Context, SHA256};
use serin_model::Build;
use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What all kept packages may take, in bytes: some ten of GitLab's.
const MAX_KEPT: u64 = 12 << 30;

const DAY: Duration = Duration::from_hours(24);

/// Where packages are kept.
#[derive(Debug, Clone)]
pub struct PackageCache {
    folder: PathBuf,
    limit: u64,
}

/// A package that is being fetched. It is gone when it is dropped.
pub(super) struct Incoming {
    cache: PackageCache,
    build: Build,
    file: tempfile::NamedTempFile,
    digest: Context,
    size: u64,
}

impl PackageCache {
    /// Makes a cache in a folder, which is made when it is needed.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, limit: MAX_KEPT }
    }

    /// The same, with another limit.
    #[cfg(test)]
    pub(super) fn limited(self, limit: u64) -> Self {
        Self { limit, ..self }
    }

    /// Opens the package of a build, if it is there and has the build's bytes; if it has others, it is removed.
    pub(super) async fn take(
        &self,
        build: &Build,
    ) -> Result<Option<(File, PathBuf)>, RepositoryError> {
        let (path, wanted) = (self.path(build), build.sha256.clone());
        let proven = path.clone();
        let opened = tokio::task::spawn_blocking(move || open_proven(&proven, wanted.as_str()));
        match opened.await.map_err(io::Error::other).and_then(|opened| opened) {
            Ok(file) => Ok(file.map(|file| (file, path))),
            Err(error) => Err(RepositoryError::Cache { path, why: error.to_string() }),
        }
    }

    /// Begins to take a package in.
    pub(super) fn incoming(&self, build: &Build) -> Result<Incoming, RepositoryError> {
        self.make_room(build.size);
        let file = fs::create_dir_all(&self.folder)
            .and_then(|()| tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder))
            .map_err(|error| self.unusable(&error))?;
        let digest = Context::new(&SHA256);
        Ok(Incoming { cache: self.clone(), build: build.clone(), file, digest, size: 0 })
    }

    fn path(&self, build: &Build) -> PathBuf {
        self.folder.join(format!("{}.deb", build.sha256))
    }

    fn unusable(&self, error: &io::Error) -> RepositoryError {
        RepositoryError::Cache { path: self.folder.clone(), why: error.to_string() }
    }

    /// Removes the least recently used packages until there is room. What cannot be removed stays: the disk has the last
    /// word.
    fn make_room(&self, size: u64) {
        let mut kept: Vec<_> = fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let metadata = entry.metadata().ok()?;
                let modified = metadata.modified().ok()?;
                let name = entry.file_name();
                let name = name.to_str()?;
                // What a process that was killed has begun; no other writes for a day.
                let left_over = name.starts_with(".new-") && modified.elapsed().ok()? > DAY;
                let ours = entry.path().extension().is_some_and(|end| end == "deb") || left_over;
                ours.then(|| (modified, metadata.len(), entry.path()))
            })
            .collect();
        kept.sort();
        let mut all: u64 = kept.iter().map(|(_, size, _)| size).sum();
        for (_, old, path) in kept {
            if all.saturating_add(size) <= self.limit {
                return;
            }
            match fs::remove_file(&path) {
                Ok(()) => all = all.saturating_sub(old),
                Err(error) => tracing::warn!(path = %path.display(), %error, "cannot be removed"),
            }
        }
    }
}

impl Incoming {
    /// Takes the next bytes in.
    pub(super) fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.size = self.size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        self.file.write_all(bytes)
    }

    /// Keeps the package, if it is the build's, and opens it.
    pub(super) fn keep(self, url: &str) -> Result<(File, PathBuf), RepositoryError> {
        let Self { cache, build, file, digest, size } = self;
        let found = hex(digest);
        if size != build.size || found != build.sha256.as_str() {
            return Err(RepositoryError::Tampered {
                url: url.to_owned(),
                expected: format!("{} bytes, SHA-256 {}", build.size, build.sha256),
                found: format!("{size} bytes, SHA-256 {found}"),
            });
        }
        let path = cache.path(&build);
        let kept = file.persist(&path).map_err(|error| cache.unusable(&error.error))?;
        Ok((kept, path))
    }
}

fn open_proven(path: &Path, wanted: &str) -> io::Result<Option<File>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut digest = Context::new(&SHA256);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => digest.update(buffer.get(..count).unwrap_or_default()),
        }
    }
    if hex(digest) != wanted {
        fs::remove_file(path)?;
        return Ok(None);
    }
    // The order in which packages go; a folder that cannot be written to still serves.
    drop(file.set_modified(SystemTime::from(crate::http::now())));
    file.rewind()?;
    Ok(Some(file))
}

fn hex(digest: Context) -> String {
    let digest = digest.finish();
    digest.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
