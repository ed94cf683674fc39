//! Reading what others compressed, in bounded memory and to a bounded size.
//!
//! The ending of the name decides the format. Its bytes were proven before they come here; the limits guard against a
//! publisher's mistake, and against whoever can sign.

use std::io::{self, Read};

/// What decompressing `.xz` may use; `xz -9` asks for 65 MB.
const MAX_XZ_MEMORY: u64 = 128 << 20;

/// What decompressing `.zst` may keep to look back at; `zstd -19`, as dpkg-deb calls it, asks for 8 MB.
const MAX_ZST_WINDOW: u64 = 128 << 20;

/// Decompresses by the ending of a name; another ending, or none, means that nothing is compressed.
///
/// # Errors
/// When the bytes cannot even begin to be that format.
pub(crate) fn plain<'a>(name: &str, bytes: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match name.rsplit_once('.').map(|(_, end)| end) {
        Some("xz") => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(MAX_XZ_MEMORY, flags)?;
            Box::new(liblzma::read::XzDecoder::new_stream(io::BufReader::new(bytes), stream))
        }
        Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(bytes)),
        Some("zst") => {
            let bytes = io::BufReader::new(bytes);
            let mut decoder = ruzstd::decoding::FrameDecoder::new();
            decoder.set_max_window_size(MAX_ZST_WINDOW);
            let stream = ruzstd::decoding::StreamingDecoder::new_with_decoder(bytes, decoder);
            Box::new(stream.map_err(io::Error::other)?)
        }
        Some(_) | None => Box::new(bytes),
    })
}

/// A reader that fails, rather than ends, when there is more than it may give.
pub(crate) struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R> Capped<R> {
    pub(crate) fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let size = u64::try_from(count).unwrap_or(u64::MAX);
        self.left = self
            .left
            .checked_sub(size)
            .ok_or_else(|| io::Error::other("it is too large when decompressed"))?;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_fails_instead_of_ending() {
        let mut out = Vec::new();
        assert!(Capped::new(&b"12345"[..], 5).read_to_end(&mut out).is_ok());
        assert!(Capped::new(&b"123456"[..], 5).read_to_end(&mut out).is_err());
    }
}
