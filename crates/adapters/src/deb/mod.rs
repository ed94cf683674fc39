//! A Debian package's contents, read without installing or unpacking it.
//!
//! It reads the file from its beginning to its end in bounded memory, and writes nothing to disk. Anything that it does
//! not understand, that dpkg would not unpack, or that two readers could take for two things, is an error: what is said
//! about a build must be what will be on the host. Read [`Deb::visit`] first.

mod ar;
mod error;
mod tar;
#[cfg(test)]
mod tests;

pub use error::DebError;
pub use tar::{Item, ItemKind};

use crate::compressed::{self, Capped};
use ar::Member;
use deb822_fast::Paragraph;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use tar::{Tar, TarError};

/// The most that a package may unpack to: five times GitLab's.
const MAX_PLAIN: u64 = 16 << 30;

/// The most that the part for dpkg itself may unpack to: maintainer scripts and a list of checksums.
const MAX_CONTROL: u64 = 64 << 20;

/// The most entries: six times those of GitLab's package.
const MAX_ITEMS: u64 = 1_000_000;

/// The most that is kept of one file that was asked for: ten times the largest source file that anybody patches.
const MAX_FILE: u64 = 32 << 20;

/// The most that is kept of all files that were asked for.
const MAX_FILES: u64 = 256 << 20;

/// A package file that was opened.
#[derive(Debug)]
pub struct Deb {
    path: PathBuf,
    file: File,
    control: Member,
    data: Member,
}

/// What a package has at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub item: Item,
    /// Its bytes, if it is a file.
    pub content: Vec<u8>,
    /// Its other names in the package: hard links.
    pub other_names: Vec<String>,
}

/// Which package a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The package's name.
    pub package: String,
    /// Its version.
    pub version: String,
}

impl Deb {
    /// Opens a package and finds its two archives.
    ///
    /// # Errors
    /// When it cannot be read, is no package, or was cut off.
    pub fn open(path: &Path) -> Result<Self, DebError> {
        let unreadable = |source| DebError::Unreadable { path: path.to_owned(), source };
        Self::new(File::open(path).map_err(unreadable)?, path)
    }

    /// The same for a file that is open already; the path is for messages.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn new(mut file: File, path: &Path) -> Result<Self, DebError> {
        let unreadable = |source| DebError::Unreadable { path: path.to_owned(), source };
        let found = ar::find(&mut file).map_err(unreadable)?;
        let (control, data) =
            found.map_err(|why| DebError::NotADeb { path: path.to_owned(), why })?;
        Ok(Self { path: path.to_owned(), file, control, data })
    }

    /// Reads which package it is.
    ///
    /// # Errors
    /// When that cannot be read.
    pub fn control(&mut self) -> Result<Control, DebError> {
        let mut text = None;
        let member = self.control.clone();
        self.walk(&member, MAX_CONTROL, &mut |item, content| {
            if item.path == "/control" && item.kind == ItemKind::File {
                let mut bytes = String::new();
                content.read_to_string(&mut bytes)?;
                text = Some(bytes);
            }
            Ok(())
        })?;
        let paragraph = text.and_then(|text| text.parse::<Paragraph>().ok());
        let field = |name| {
            let value = paragraph.as_ref().and_then(|paragraph| paragraph.get(name));
            value.map(|value| value.trim().to_owned())
        };
        match (field("Package"), field("Version")) {
            (Some(package), Some(version)) => Ok(Control { package, version }),
            (None, _) | (_, None) => Err(DebError::NotADeb {
                path: self.path.clone(),
                why: "it does not say its name and version".to_owned(),
            }),
        }
    }

    /// Shows everything that the package installs, in its own order, each with its content.
    ///
    /// # Errors
    /// When the package cannot be read to its end; what was shown before must then be forgotten.
    pub fn visit(
        &mut self,
        see: &mut dyn FnMut(&Item, &mut dyn Read) -> std::io::Result<()>,
    ) -> Result<(), DebError> {
        let member = self.data.clone();
        self.walk(&member, MAX_PLAIN, see)
    }

    /// Reads what the package has at some paths, given from `/`. A path that it does not have is left out.
    ///
    /// # Errors
    /// As [`Self::visit`]; and when one of the paths comes twice, or lies under a symbolic link, so that only dpkg could
    /// say what will be there.
    pub fn find(&mut self, wanted: &BTreeSet<String>) -> Result<BTreeMap<String, Found>, DebError> {
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        let mut refused = None;
        let mut left = MAX_FILES;
        self.visit(&mut |item, content| {
            let link = matches!(item.kind, ItemKind::Symlink { .. });
            if link && wanted.iter().any(|path| is_under(path, &item.path)) {
                refused.get_or_insert_with(|| format!("has the link {} in the way", item.path));
            }
            if let ItemKind::HardLink { target } = &item.kind
                && let Some(file) = found.get_mut(target)
            {
                file.other_names.push(item.path.clone());
            }
            if !wanted.contains(&item.path) {
                return Ok(());
            }
            let mut bytes = Vec::new();
            content.take(MAX_FILE.min(left) + 1).read_to_end(&mut bytes)?;
            let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            if size > MAX_FILE.min(left) {
                let why = format!("{} is too large to be looked into", item.path);
                return Err(std::io::Error::other(why));
            }
            left -= size;
            let seen = Found { item: item.clone(), content: bytes, other_names: Vec::new() };
            if found.insert(item.path.clone(), seen).is_some() {
                refused.get_or_insert_with(|| format!("has {} twice", item.path));
            }
            Ok(())
        })?;
        match refused {
            Some(what) => Err(DebError::Hostile { path: self.path.clone(), what }),
            None => Ok(found),
        }
    }

    fn walk(
        &mut self,
        member: &Member,
        limit: u64,
        see: &mut dyn FnMut(&Item, &mut dyn Read) -> std::io::Result<()>,
    ) -> Result<(), DebError> {
        let path = self.path.clone();
        let damaged = |why: String| DebError::Damaged {
            path: path.clone(),
            member: member.name.clone(),
            why,
        };
        let unreadable = |source| DebError::Unreadable { path: path.clone(), source };
        self.file.seek(SeekFrom::Start(member.offset)).map_err(unreadable)?;
        let packed = Read::take(&mut self.file, member.size);
        let plain =
            compressed::plain(&member.name, packed).map_err(|error| damaged(error.to_string()))?;
        let mut tar = Tar::new(Capped::new(plain, limit));
        let mut items = 0;
        let refused = |error| match error {
            TarError::Damaged(why) => damaged(why),
            TarError::Hostile(what) => DebError::Hostile { path: path.clone(), what },
        };
        while let Some(item) = tar.next().map_err(refused)? {
            items += 1;
            if items > MAX_ITEMS {
                let what = "that many entries".to_owned();
                return Err(DebError::TooMuch { path: path.clone(), what, limit: MAX_ITEMS });
            }
            see(&item, &mut tar.content()).map_err(|error| damaged(error.to_string()))?;
        }
        Ok(())
    }
}

/// Tells whether a path lies in a folder.
fn is_under(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
}
