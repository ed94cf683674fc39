//! What comes back from a host: frames, and what it says of itself. A host may be broken, or not ours any more.

use super::{MIB, Target, at_once, is_for_people};
use serin_adapters::host::fuzzing as host;
use serin_runtime::ports::PortError;

pub(super) const REPLY: Target = Target {
    name: "host-reply",
    hold: reply,
    memory: MIB,
    words: &[
        b"data 3\n",
        b"data 0\n",
        b"data 67108864\n",
        b"end ok\n",
        b"end exited 1 0\n",
        b"end running 1\n",
        b"end never\n",
        b"end fenced 7\n",
        b"end refused why\n",
        b"end died 1\n",
        b"\\n",
        b"\\0",
    ],
    mutations: 1500,
};

pub(super) const OBSERVATION: Target = Target {
    name: "host-observation",
    hold: observation,
    memory: MIB,
    words: &[
        b"boot b\n", b"fence 3\n", b"free 9\n", b"package installed 1.0-1\n", b"package broken 1.0 half-configured\n",
        b"missing /etc/x\n", b"service puma 12 1.0 no\n", b"config-management stopped\n", b"migrations read\n",
        b"pending regular 20230101\n", b"bytes e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n",
        b"patch e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855 demoapp 1.0 applied\n", b"changed /opt/x\n",
    ],
    mutations: 1500,
};

fn reply(input: &[u8]) {
    let Ok(reply) = at_once(host::reply(input)) else { return };
    let size: usize = reply.blocks.iter().map(Vec::len).sum();
    assert!(size + reply.end.len() <= input.len() * 3, "more than was sent");
    said(&host::refusal(&reply));
    if let Err(error) = host::note(&reply) {
        said(&error);
    }
}

fn observation(input: &[u8]) {
    let lines = String::from_utf8_lossy(input);
    let name = "web-01".parse().expect("it is a name");
    let seen = host::observed(&name, &lines);
    assert_eq!(seen, host::observed(&name, &lines), "the same lines mean the same");
    if let Err(error) = seen {
        said(&error);
    }
}

fn said(error: &PortError) {
    is_for_people(&error.to_string(), 2300);
}
