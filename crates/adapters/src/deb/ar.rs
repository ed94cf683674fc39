//! The outer format of a package: `ar`, as deb(5) restricts it. It finds the members, and reads none of them.
//!
//! A package is a global header, then `debian-binary`, `control.tar*` and `data.tar*` in this order, each with a header of
//! 60 bytes and an even length. Members whose names begin with `_` may stand between them and mean nothing.

use std::io::{self, Read, Seek, SeekFrom};

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;

/// deb(5) has three; a few that mean nothing are allowed.
const MAX_MEMBERS: usize = 16;

/// `2.0\n` is what every package has said since 1995.
const MAX_VERSION: u64 = 16;

/// The place of an archive in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// `control.tar.xz`, `data.tar.zst`: the ending tells how it is compressed.
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// Finds the two archives of a package.
///
/// # Errors
/// Outside: the file cannot be read. Inside: it is no package.
pub(super) fn find(file: &mut (impl Read + Seek)) -> io::Result<Result<(Member, Member), String>> {
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    let mut magic = Vec::new();
    Read::take(&mut *file, 8).read_to_end(&mut magic)?;
    if magic != MAGIC {
        return Ok(Err("it does not begin as an ar archive".to_owned()));
    }
    let members = match members(file, length)? {
        Ok(members) => members,
        Err(why) => return Ok(Err(why)),
    };
    let mut meaning = members.into_iter().filter(|member| !member.name.starts_with('_'));
    let mut next = || meaning.next().unwrap_or(Member { name: String::new(), offset: 0, size: 0 });
    let (version, control, data) = (next(), next(), next());
    if version.name != "debian-binary" || version.size > MAX_VERSION {
        return Ok(Err("its first member is not debian-binary".to_owned()));
    }
    let mut text = String::new();
    file.seek(SeekFrom::Start(version.offset))?;
    Read::take(&mut *file, version.size).read_to_string(&mut text)?;
    if !text.starts_with("2.") {
        return Ok(Err(format!("its format is {text:?}, not 2.0")));
    }
    Ok(archive(control, "control.tar").and_then(|control| {
        let data = archive(data, "data.tar")?;
        if meaning.next().is_some() {
            Err("it has members after data.tar".to_owned())
        } else {
            Ok((control, data))
        }
    }))
}

fn archive(member: Member, base: &str) -> Result<Member, String> {
    match member.name.strip_prefix(base) {
        Some("" | ".gz" | ".xz" | ".zst") => Ok(member),
        Some(other) => Err(format!("{base} is compressed as {other:?}, which is not known")),
        None if member.name.is_empty() => Err(format!("it has no {base}")),
        None => Err(format!("{:?} stands where {base} must be", member.name)),
    }
}

fn members(file: &mut (impl Read + Seek), length: u64) -> io::Result<Result<Vec<Member>, String>> {
    let mut members = Vec::new();
    let mut offset = u64::try_from(MAGIC.len()).unwrap_or(8);
    while offset < length {
        if members.len() == MAX_MEMBERS {
            return Ok(Err(format!("it has more than {MAX_MEMBERS} members")));
        }
        file.seek(SeekFrom::Start(offset))?;
        let mut header = Vec::new();
        Read::take(&mut *file, 60).read_to_end(&mut header)?;
        let Some((name, size)) = parse(&header) else {
            return Ok(Err(format!("there is no header of a member at byte {offset}")));
        };
        let start = offset.saturating_add(60);
        let end = start.saturating_add(size);
        if end > length {
            return Ok(Err(format!(
                "it was cut off: {name} should end at byte {end}, the file at {length}"
            )));
        }
        members.push(Member { name, offset: start, size });
        offset = end.saturating_add(size % 2);
    }
    Ok(Ok(members))
}

fn parse(header: &[u8]) -> Option<(String, u64)> {
    let header: &[u8; HEADER] = header.try_into().ok()?;
    let text = std::str::from_utf8(header).ok()?;
    if text.get(58..) != Some("`\n") {
        return None;
    }
    let name = text.get(..16)?.trim_end_matches(' ');
    // GNU's way of ending a name.
    let name = name.strip_suffix('/').unwrap_or(name);
    let digits = text.get(48..58)?.trim_end_matches(' ');
    let size = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())??;
    (!name.is_empty()).then(|| (name.to_owned(), size))
}
