//! The inner format of a package: `tar`, in the dialects that dpkg unpacks, and no other.
//!
//! That is old tar, ustar and GNU's with its long names; for sparse files and pax headers dpkg refuses a package, and so
//! does this. It reads one entry after the other, and writes nothing.

use std::io::{self, Read};

const BLOCK: usize = 512;
const BLOCK_SIZE: u64 = 512;

/// The longest name: Linux's longest path.
const MAX_NAME: u64 = 4096;

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Symlink {
        /// Where it points, as it is written.
        target: String,
    },
    /// One more name of a file that came before.
    HardLink {
        /// The file's path, from `/`.
        target: String,
    },
    /// A device or a pipe.
    Device,
}

/// One thing in a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its path on a host, from `/`.
    pub path: String,
    /// What it is.
    pub kind: ItemKind,
    /// Its mode, without the type: `0o755`.
    pub mode: u32,
    /// How many bytes it has; only files have any.
    pub size: u64,
}

/// Why an archive cannot be read on.
#[derive(Debug)]
pub(super) enum TarError {
    /// It cannot be decompressed, or ends too early.
    Damaged(String),
    /// It has a path that leads elsewhere.
    Hostile(String),
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        Self::Damaged(error.to_string())
    }
}

/// An archive that is read from its beginning to its end.
pub(super) struct Tar<R> {
    reader: R,
    /// What is left of the current entry's content.
    content: u64,
    /// What follows it up to the next block.
    padding: u64,
}

impl<R: Read> Tar<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, content: 0, padding: 0 }
    }

    /// Goes to the next entry; `None` is the archive's proper end. Names that are not UTF-8 are passed over.
    pub(super) fn next(&mut self) -> Result<Option<Item>, TarError> {
        let (mut long_name, mut long_target) = (None, None);
        loop {
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.size()?;
            match header.kind() {
                b'L' => long_name = Some(self.long(size)?),
                b'K' => long_target = Some(self.long(size)?),
                kind => {
                    let name = long_name.take().unwrap_or_else(|| header.name());
                    let target = long_target.take().unwrap_or_else(|| header.target());
                    let size = if matches!(kind, b'0' | 0 | b'7') { size } else { 0 };
                    self.content = size;
                    self.padding = padding(size);
                    let (Ok(name), Ok(target)) =
                        (String::from_utf8(name), String::from_utf8(target))
                    else {
                        continue;
                    };
                    if name.is_empty() {
                        // dpkg would stop here, others would go on.
                        return Err(TarError::Hostile("has an entry without a name".to_owned()));
                    }
                    let kind = kind_of(kind, &name, target)?;
                    let path = absolute(&name)?;
                    return Ok(Some(Item { path, kind, mode: header.mode()?, size }));
                }
            }
        }
    }

    /// Returns the content of the current entry.
    pub(super) fn content(&mut self) -> impl Read + '_ {
        Content(self)
    }

    fn header(&mut self) -> Result<Option<Header>, TarError> {
        let rest = self.content.saturating_add(self.padding);
        (self.content, self.padding) = (0, 0);
        if io::copy(&mut Read::take(&mut self.reader, rest), &mut io::sink())? < rest {
            return Err(TarError::Damaged("it ends in the middle of a file".to_owned()));
        }
        let mut block = vec![0; BLOCK];
        let cut = |_| TarError::Damaged("it ends without its end mark".to_owned());
        self.reader.read_exact(&mut block).map_err(|error| {
            if error.kind() == io::ErrorKind::UnexpectedEof { cut(error) } else { error.into() }
        })?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        Header::checked(block).map(Some)
    }

    /// Reads a long name, which is the content of an entry of its own and ends with a NUL.
    fn long(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > MAX_NAME {
            return Err(TarError::Hostile(format!("has a name of {size} bytes")));
        }
        self.content = size;
        self.padding = padding(size);
        let mut name = Vec::new();
        self.content().read_to_end(&mut name)?;
        Ok(until_nul(&name))
    }
}

struct Content<'a, R>(&'a mut Tar<R>);

impl<R: Read> Read for Content<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tar = &mut *self.0;
        let count = Read::take(&mut tar.reader, tar.content).read(buffer)?;
        if count == 0 && tar.content > 0 && !buffer.is_empty() {
            return Err(io::Error::other("it ends in the middle of a file"));
        }
        tar.content = tar.content.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

struct Header(Vec<u8>);

impl Header {
    fn checked(block: Vec<u8>) -> Result<Self, TarError> {
        let header = Self(block);
        // The sum counts its own eight bytes as spaces.
        let sum: u64 = header.0.iter().map(|byte| u64::from(*byte)).sum();
        let own: u64 = header.field(148, 8).iter().map(|byte| u64::from(*byte)).sum();
        if header.number(148, 8)? != sum - own + 8 * u64::from(b' ') {
            return Err(TarError::Damaged("a header has another sum than it says".to_owned()));
        }
        Ok(header)
    }

    fn field(&self, offset: usize, length: usize) -> &[u8] {
        self.0.get(offset..offset + length).unwrap_or_default()
    }

    /// Reads octal digits; what GNU writes for sizes of 8 GB and more is over every limit.
    fn number(&self, offset: usize, length: usize) -> Result<u64, TarError> {
        let digits = self.field(offset, length);
        let text = std::str::from_utf8(digits).unwrap_or("?");
        let text = text.trim_matches([' ', '\0']);
        let value = if text.is_empty() { Ok(0) } else { u64::from_str_radix(text, 8) };
        value.map_err(|_no_number| TarError::Damaged(format!("a header has the number {text:?}")))
    }

    fn size(&self) -> Result<u64, TarError> {
        self.number(124, 12)
    }

    fn mode(&self) -> Result<u32, TarError> {
        Ok(u32::try_from(self.number(100, 8)? & 0o7777).unwrap_or_default())
    }

    fn kind(&self) -> u8 {
        self.field(156, 1).first().copied().unwrap_or_default()
    }

    /// ustar splits long names in two; GNU has something else in that place.
    fn name(&self) -> Vec<u8> {
        let name = until_nul(self.field(0, 100));
        let prefix = until_nul(self.field(345, 155));
        if self.field(257, 6) == b"ustar\0" && !prefix.is_empty() {
            [prefix, b"/".to_vec(), name].concat()
        } else {
            name
        }
    }

    fn target(&self) -> Vec<u8> {
        until_nul(self.field(157, 100))
    }
}

fn kind_of(kind: u8, name: &str, target: String) -> Result<ItemKind, TarError> {
    Ok(match kind {
        // Before there was a type for folders, a slash told.
        b'0' | 0 | b'7' if name.ends_with('/') => ItemKind::Folder,
        b'0' | 0 | b'7' => ItemKind::File,
        b'1' => ItemKind::HardLink { target: absolute(&target)? },
        b'2' => ItemKind::Symlink { target },
        b'3' | b'4' | b'6' => ItemKind::Device,
        b'5' => ItemKind::Folder,
        other => {
            let letter = char::from(other);
            return Err(TarError::Damaged(format!(
                "{name} has type {letter:?}, which dpkg does not unpack"
            )));
        }
    })
}

/// Returns the path on a host: what dpkg writes begins with `./`.
fn absolute(name: &str) -> Result<String, TarError> {
    let path = name.strip_prefix("./").unwrap_or(name).trim_end_matches('/');
    if path.is_empty() || path == "." {
        return Ok("/".to_owned());
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(TarError::Hostile(format!("has the path {name:?}")));
    }
    Ok(format!("/{path}"))
}

fn padding(size: u64) -> u64 {
    size.next_multiple_of(BLOCK_SIZE).saturating_sub(size)
}

fn until_nul(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().take_while(|byte| *byte != 0).collect()
}
