//! The base image: one unpacked Debian, shared read-only by all hosts, cached under a hash of its recipe.
//!
//! Services are installed in it and never on the machine. It holds nothing of a particular lab.

use crate::run::{cmd, feed, run, say};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

const SUITE: &str = "bookworm";

/// What the hosts need, from Debian: servers, supervision, and the tools that a wrapper on a host may use.
const PACKAGES: &[&str] = &[
    "ca-certificates",
    "curl",
    "gpgv",
    "haproxy",
    "iproute2",
    "less",
    // A host's clock can be told wrong with it: there is one clock for all hosts.
    "libfaketime",
    "nftables",
    "nginx-light",
    "openssh-server",
    "perl-base",
    "postgresql-15",
    "procps",
    "prometheus",
    "prometheus-alertmanager",
    "prometheus-pushgateway",
    "psmisc",
    // Nothing of the lab needs it: hosts that a person would manage with Ansible have it, and are compared (`bench`).
    "python3-apt",
    "runit",
    "socat",
    "sudo",
    "util-linux",
];

/// Run on the unpacked image as the last step of making it; `$1` is its root.
/// Documentation and translations are most of its size, and nobody reads them there.
const CUSTOMIZE: &str = r#"
set -eu
root=$1
rm -rf "$root"/etc/service/* "$root"/etc/ssh/ssh_host_* "$root"/etc/nginx/sites-enabled/*
rm -rf "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
rm -f "$root"/etc/cron.d/* "$root"/etc/cron.daily/* "$root"/usr/sbin/policy-rc.d
mkdir -p "$root"/var/cache/apt/archives/partial "$root"/usr/local/lib/serin-lab
chroot "$root" useradd --create-home --uid 1000 --shell /bin/sh --password '*' deployer
printf 'hosts: files\npasswd: files\ngroup: files\nshadow: files\nservices: files\nprotocols: files\n' \
    >"$root"/etc/nsswitch.conf
"#;

/// Returns the root of the base image, made now if no cached one has this recipe.
pub(crate) fn ensure_base(cache: &Path) -> Result<PathBuf> {
    let base = cache.join(format!("base-{:016x}", recipe_hash()));
    if base.is_dir() {
        return Ok(base);
    }
    std::fs::create_dir_all(cache).with_context(|| cache.display().to_string())?;
    let partial = cache.join(format!("base-{:016x}.partial", recipe_hash()));
    if partial.exists() {
        std::fs::remove_dir_all(&partial).with_context(|| partial.display().to_string())?;
    }
    say(format_args!("making the base image in {} (once; about a minute)", base.display()));
    run(cmd([
        "mmdebstrap",
        "--variant=minbase",
        "--aptopt=Acquire::Languages \"none\"",
        &format!("--include={}", PACKAGES.join(",")),
        SUITE,
    ])
    .arg(&partial))?;
    feed(cmd(["sh", "-s", "--"]).arg(&partial), CUSTOMIZE)?;
    std::fs::rename(&partial, &base)?;
    Ok(base)
}

/// FNV-1a: the recipe only has to be told from its other versions, and the value must not change between builds.
fn recipe_hash() -> u64 {
    let recipe = [SUITE, CUSTOMIZE].iter().chain(PACKAGES).flat_map(|text| text.bytes().chain([0]));
    recipe.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
