//! One program for all targets: `SERIN_FUZZ_TARGET` names the one that it tries.
#![no_main]

use serin_fuzz::{target, Target};
use std::sync::LazyLock;

static TARGET: LazyLock<&'static Target> = LazyLock::new(|| {
    let name = std::env::var("SERIN_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("SERIN_FUZZ_TARGET is {name:?}, which is no target"))
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| (TARGET.hold)(input));
