//! A host's clock.
//!
//! All hosts have the kernel's one clock; what their programs are told of it can differ. Every program of the host is told
//! the same, from its first one on: some compare times that others have written. Time that only passes is right.

use super::power_on;
use crate::host;
use crate::run::{cmd, read};
use crate::state::LabFolder;
use anyhow::{Context, Result, bail};

const LIBFAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1\n";

/// Where the time is read from, and by which library, below the root of a disk.
const FILES: [&str; 2] = ["upper/etc/faketimerc", "upper/etc/ld.so.preload"];

/// Starts a host again with another time.
pub(super) fn set(folder: &LabFolder, name: &str, seconds: i64) -> Result<()> {
    host::power_off(folder.load()?.live_init(name)?)?;
    for (file, content) in FILES.iter().zip([&format!("{seconds:+}s\n"), LIBFAKETIME]) {
        let path = folder.disk(name).join(file);
        std::fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    power_on(folder, name)?;
    let record = folder.load()?;
    let told: i64 = read(&mut host::shell(record.live_init(name)?, "date +%s"))?.parse()?;
    let real: i64 = read(&mut cmd(["date", "+%s"]))?.parse()?;
    // A command takes its time.
    if (told - real - seconds).abs() > 5 {
        bail!("{name}: its clock is {} s ahead, not {seconds}", told - real);
    }
    Ok(())
}

/// Starts a host again with the right time, if it has another one.
pub(super) fn put_right(folder: &LabFolder, name: &str) -> Result<()> {
    let [rc, preload] = FILES.map(|file| folder.disk(name).join(file));
    if !rc.exists() {
        return Ok(());
    }
    if let Ok(init) = folder.load()?.live_init(name) {
        host::power_off(init)?;
    }
    for path in [rc, preload] {
        std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
    }
    power_on(folder, name)
}
