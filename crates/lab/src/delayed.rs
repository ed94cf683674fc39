//! `serin-lab delayed`: a connection through which every byte takes its time, for `ProxyCommand` of ssh.
//!
//! The kernels that the lab runs on need not be able to delay packets. What is sent together arrives together: there is
//! no limit to how much is on its way.

use crate::run::{now, pause};
use anyhow::{Context, Result};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Connects standard input and output to a port; each direction takes half of the round trip.
pub(crate) fn delayed(address: &str, port: u16, round_trip: Duration) -> Result<()> {
    let one_way = round_trip / 2;
    // The handshake of TCP is a round trip too.
    pause(round_trip);
    let there = TcpStream::connect((address, port)).with_context(|| address.to_owned())?;
    there.set_nodelay(true)?;
    let (mut to, from) = (there.try_clone()?, there);
    std::thread::spawn(move || {
        drop(carry(std::io::stdin(), &mut to, one_way));
        drop(to.shutdown(Shutdown::Write));
    });
    // Whoever answers ends the connection: what ssh still has to say then is of no use.
    carry(from, std::io::stdout(), one_way)
}

fn carry(mut from: impl Read + Send + 'static, mut to: impl Write, delay: Duration) -> Result<()> {
    let (sender, bytes) = channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut buffer = vec![0; 65536];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let part = buffer.get(..read).unwrap_or_default().to_vec();
            if sender.send((now() + delay, part)).is_err() {
                return;
            }
        }
    });
    for (due, part) in bytes {
        pause(due.saturating_duration_since(now()));
        to.write_all(&part)?;
        to.flush()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_carried_is_late_and_whole() {
        let delay = Duration::from_millis(120);
        let (began, mut carried) = (now(), Vec::new());
        carry(&b"every byte"[..], &mut carried, delay).unwrap();
        assert_eq!(carried, b"every byte");
        assert!(began.elapsed() >= delay, "{:?}", began.elapsed());
    }
}
