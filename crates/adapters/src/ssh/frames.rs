//! What travels in a session: requests as lines, replies as blocks and one last line.
//!
//! A request is a line with the operation, a line with the number of arguments, and a line for each; nothing is quoted
//! and nothing evaluated. Bytes may follow, as many as its last argument says. A reply is any number of blocks
//! (`data LENGTH`, then so many bytes) and one line `end …`. What jobs print travels in blocks only, so it cannot be taken
//! for a frame. Who sends what, and when, is not known here.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The longest line of a frame, in bytes: an `end` line with a reason in it.
const MAX_LINE: u64 = 16 * 1024;

/// The longest reply, in bytes: `show stat` of a thousand servers is half a megabyte, and there may be some of them.
const MAX_REPLY: u64 = 64 * 1024 * 1024;

/// What a block costs besides its bytes, so that empty blocks without end are too much as well.
const BLOCK_COST: u64 = 64;

/// What the wrapper is asked: an operation and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    operation: &'static str,
    arguments: Vec<String>,
    /// What follows the arguments.
    bytes: Vec<u8>,
}

/// What the wrapper answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The blocks, whatever bytes they hold.
    pub blocks: Vec<Vec<u8>>,
    /// What followed `end`.
    pub end: String,
}

/// Why there is no reply.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoReply {
    /// The session ended before the first byte of one.
    Nothing,
    /// It ended in the middle of one.
    Ended,
    /// The frames make no sense; the first that does not.
    Garbled(String),
}

impl Request {
    /// Makes a request.
    ///
    /// # Errors
    /// Returns the argument that holds a line end or a NUL: it cannot travel.
    pub fn new(operation: &'static str, arguments: Vec<String>) -> Result<Self, String> {
        match arguments.iter().find(|argument| argument.contains(['\n', '\0'])) {
            Some(bad) => Err(bad.clone()),
            None => Ok(Self { operation, arguments, bytes: Vec::new() }),
        }
    }

    /// Adds bytes, whose number becomes the last argument.
    #[must_use]
    pub fn with_bytes(mut self, bytes: Vec<u8>) -> Self {
        self.arguments.push(bytes.len().to_string());
        self.bytes = bytes;
        self
    }

    /// Returns the operation.
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// Returns the bytes that are sent after the lines.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the lines that are sent.
    pub fn render(&self) -> String {
        let mut lines = format!("{}\n{}\n", self.operation, self.arguments.len());
        for argument in &self.arguments {
            lines.push_str(argument);
            lines.push('\n');
        }
        lines
    }
}

/// Reads one reply. What is kept grows with what arrives, whatever was announced, up to a limit.
pub(crate) async fn read_reply(
    replies: &mut (impl AsyncBufRead + Unpin),
) -> Result<Reply, NoReply> {
    let mut blocks = Vec::new();
    let mut room = MAX_REPLY;
    let mut lost = NoReply::Nothing;
    loop {
        let Some(line) = read_line(replies, MAX_LINE).await else { return Err(lost) };
        lost = NoReply::Ended;
        match line.split_once(' ') {
            Some(("end", words)) => return Ok(Reply { blocks, end: words.to_owned() }),
            Some(("data", length)) => {
                let length: Option<u64> = length.parse().ok();
                let left =
                    length.and_then(|length| room.checked_sub(length.saturating_add(BLOCK_COST)));
                let (Some(length), Some(left)) = (length, left) else {
                    return Err(NoReply::Garbled(format!("{line:?}")));
                };
                room = left;
                let mut block = Vec::new();
                let read = (&mut *replies).take(length).read_to_end(&mut block).await;
                if !read.is_ok_and(|count| u64::try_from(count).is_ok_and(|it| it == length)) {
                    return Err(lost);
                }
                blocks.push(block);
            }
            Some(_) | None => return Err(NoReply::Garbled(format!("{line:?}"))),
        }
    }
}

/// Reads one line without its end; `None` is the end of the session, or a line that is too long.
pub(super) async fn read_line(
    replies: &mut (impl AsyncBufRead + Unpin),
    limit: u64,
) -> Option<String> {
    let mut line = Vec::new();
    let read = replies.take(limit).read_until(b'\n', &mut line).await;
    if read.is_err() || line.pop() != Some(b'\n') {
        return None;
    }
    Some(String::from_utf8_lossy(&line).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn reply(mut text: &[u8]) -> Result<Reply, NoReply> {
        read_reply(&mut text).await
    }

    #[test]
    fn a_line_end_in_an_argument_never_travels() {
        assert_eq!(Request::new("read", vec!["a\nb".into()]), Err("a\nb".to_owned()));
        let request = Request::new("read", vec!["5".into(), "it's $HOME".into(), String::new()]);
        assert_eq!(request.unwrap().render(), "read\n3\n5\nit's $HOME\n\n");
    }

    #[tokio::test]
    async fn a_reply_is_whole_or_none() {
        let whole = b"data 3\nenddata 0\nend ok 1\n";
        let Reply { blocks, end } = reply(whole).await.unwrap();
        assert_eq!((blocks, end.as_str()), (vec![b"end".to_vec(), Vec::new()], "ok 1"));
        assert_eq!(reply(b"").await, Err(NoReply::Nothing));
        assert_eq!(reply(b"data 3").await, Err(NoReply::Nothing));
        for at in 7..whole.len() {
            assert_eq!(reply(&whole[..at]).await, Err(NoReply::Ended), "{at}");
        }
        for strange in ["data x\n", "data -1\n", "data 67108865\n", "hello\n", "end\n"] {
            let garbled = NoReply::Garbled(format!("{:?}", strange.trim_end()));
            assert_eq!(reply(strange.as_bytes()).await, Err(garbled));
        }
    }

    #[tokio::test]
    async fn empty_blocks_without_end_are_too_much() {
        let blocks = "data 0\n".repeat(1_100_000);
        assert_eq!(reply(blocks.as_bytes()).await, Err(NoReply::Garbled("\"data 0\"".to_owned())));
    }
}
