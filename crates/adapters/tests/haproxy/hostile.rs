//! Sockets that are mute, talk nonsense, stop in the middle or lie: none of them may pass for an answer.

use crate::rig::{FENCE, OnHost, Rig, Still, key, load_balancer};
use serin_adapters::haproxy::HaProxy;
use serin_model::{AdminState, LoadBalancer};
use serin_runtime::ports::{LbPort, PortError};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// What a fake socket does with a connection.
#[derive(Clone)]
enum Manner {
    /// Never answers.
    Mute,
    /// Closes without an answer.
    Closes,
    /// Says this, whatever it was asked, and closes.
    Says(Vec<u8>),
    /// Says this and then nothing, for ever.
    SaysAndStays(Vec<u8>),
    /// Answers changes as if they had been made, and says this to everything else.
    AgreesAndSays(Vec<u8>),
    /// Never stops talking.
    Endless,
    /// Answers changes as if they had been made, and everything else truthfully.
    Lies(String),
}

async fn behave(mut stream: UnixStream, manner: Manner) -> std::io::Result<()> {
    let mut line = vec![0; 4096];
    let length = stream.read(&mut line).await?;
    let asked = String::from_utf8_lossy(&line[..length]).into_owned();
    let is_change = asked.contains(";set server");
    match manner {
        Manner::AgreesAndSays(_) | Manner::Lies(_) if is_change => stream.write_all(b"\n\n").await,
        Manner::Mute => std::future::pending().await,
        Manner::Closes => Ok(()),
        Manner::Says(text) | Manner::AgreesAndSays(text) => stream.write_all(&text).await,
        Manner::SaysAndStays(text) => {
            stream.write_all(&text).await?;
            std::future::pending().await
        }
        Manner::Endless => loop {
            stream.write_all(&vec![b'#'; 65536]).await?;
        },
        Manner::Lies(real) => {
            let mut real = UnixStream::connect(real).await?;
            real.write_all(asked.as_bytes()).await?;
            tokio::io::copy(&mut real, &mut stream).await.map(drop)
        }
    }
}

/// Both of its sockets behave like this.
fn fake(manner: &Manner) -> (TempDir, LoadBalancer) {
    let dir = tempfile::tempdir().unwrap();
    let lb = load_balancer(dir.path());
    for path in [lb.socket.clone(), lb.master_socket.clone().unwrap()] {
        let (listener, manner) = (UnixListener::bind(path).unwrap(), manner.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(behave(stream, manner.clone()));
            }
        });
    }
    (dir, lb)
}

fn port() -> HaProxy<OnHost> {
    HaProxy::new(OnHost::new(Duration::from_millis(500)), Arc::new(Still))
}

async fn errors(manner: Manner) -> [PortError; 2] {
    let (_dir, lb) = fake(&manner);
    let port = port();
    let drained = port.set_admin(&lb, FENCE, &[key("web/web-01")], AdminState::Drain).await;
    [port.observe(&lb).await.unwrap_err(), drained.unwrap_err()]
}

#[tokio::test]
async fn a_mute_socket_is_unreachable_within_the_deadline() {
    for manner in [Manner::Mute, Manner::SaysAndStays(b"\nName: HAProxy\n".to_vec())] {
        for error in errors(manner).await {
            assert!(matches!(error, PortError::Unreachable { .. }), "{error}");
            assert!(error.to_string().contains("no answer within 500ms"), "{error}");
        }
    }
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_is_garbled() {
    for manner in [
        Manner::Closes,
        Manner::Says(b"\n\n".to_vec()),
        Manner::Says(b"<html><body>503 Service Unavailable</body></html>\n\n".to_vec()),
        Manner::Says(vec![0xff, 0, 0x80, b'\n', b'\n']),
        Manner::Says(b"\nName: HAProxy\nPid: 7\n".to_vec()),
        Manner::Endless,
    ] {
        for error in errors(manner).await {
            assert!(matches!(error, PortError::Garbled(_)), "{error:?}");
            assert!(error.to_string().len() < 400, "{error}");
        }
    }
}

#[tokio::test]
async fn what_answers_otherwise_than_it_does_is_found_out() {
    let rig = Rig::start().await;
    let (_dir, mut lb) = fake(&Manner::Lies(rig.lb.socket.clone()));
    lb.master_socket = None;
    let port = port();
    port.observe(&lb).await.unwrap();
    let told = port.set_admin(&lb, FENCE, &[key("web/web-01")], AdminState::Drain).await;
    let expected = "lb-01: web/web-01 did not take the change: expected drain, found ready";
    assert_eq!(told, Err(PortError::Refused(expected.to_owned())));
    let (backend, server) = key("web/web-01");
    let told = port.set_weights(&lb, FENCE, &[(backend, server, 9)]).await;
    let expected = "lb-01: web/web-01 did not take the change: expected weight 9, found weight 1";
    assert_eq!(told, Err(PortError::Refused(expected.to_owned())));
}

#[tokio::test]
async fn every_half_of_a_real_answer_is_refused() {
    let rig = Rig::start().await;
    let whole = rig.raw("admin.sock", "show servers state").await.into_bytes();
    let drain = async |answer: &[u8]| {
        let (_dir, lb) = fake(&Manner::AgreesAndSays(answer.to_vec()));
        port().set_admin(&lb, FENCE, &[key("web/web-01")], AdminState::Drain).await.unwrap_err()
    };
    let error = drain(&whole).await;
    assert!(error.to_string().ends_with("expected drain, found ready"), "the whole one is read");
    // Every byte of the last row and what follows, and some from everywhere else.
    let tail = whole.len() - 80;
    for length in (0..tail).step_by(101).chain(tail..whole.len()) {
        let error = drain(&whole[..length]).await;
        assert!(matches!(error, PortError::Garbled(_)), "{length} bytes: {error}");
    }
}
