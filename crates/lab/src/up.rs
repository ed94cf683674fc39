//! `serin-lab up`: from nothing, or from the remains of a lab that crashed, to an installation that serves.

use crate::host::{self, shell, wait_for_port};
use crate::package::PackageSpec;
use crate::run::{cmd, in_parallel, run, run_unchecked, say, wait_for};
use crate::seed::{self, BASE_VERSION, HostKeys};
use crate::state::{LabFolder, LabRecord, ProcessIdentity};
use crate::topology::{Host, Kind, Size, Topology};
use crate::{alerts, down, image, network, operator_files, repository};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// Programs that the machine must have; `scripts/setup` installs them.
const TOOLS: &[&str] = &[
    "apt-ftparchive",
    "curl",
    "dpkg-deb",
    "gpg",
    "gpgconf",
    "ip",
    "mmdebstrap",
    "mount",
    "nsenter",
    "setsid",
    "ssh",
    "ssh-keygen",
    "strip",
    "umount",
    "unshare",
];

/// Hosts that install their first package at once. More would only share the same processors.
const INSTALLING_AT_ONCE: usize = 8;

/// Starts a lab of this size in the folder.
pub(crate) fn up(folder: &LabFolder, size: Size, cache: &Path, standin: &Path) -> Result<()> {
    let started = crate::run::now();
    check_machine()?;
    if !standin.exists() {
        bail!("{} is missing: build it with `cargo build -p serin-standin`", standin.display());
    }
    refuse_second_lab(folder)?;
    down::claim_folder(folder)?;
    down::clean(folder)?;
    let base = image::ensure_base(cache)?;
    down::note_current(folder)?;

    let topology = Topology::new(size);
    say(format_args!("building gitlab-ee {BASE_VERSION} and its repository"));
    repository::create(folder)?;
    let first = PackageSpec { version: BASE_VERSION.to_owned(), flaw: None, fix: None };
    repository::publish(folder, standin, &first)?;
    let deployer_public = operator_files::create_login_key(folder)?;
    network::create(&topology)?;
    let mut record = LabRecord { topology, is_complete: false, base, inits: BTreeMap::new() };
    folder.save(&record)?;

    say(format_args!("starting {} hosts", record.topology.hosts.len()));
    start_hosts(folder, &mut record, &deployer_public)?;
    operator_files::write(folder, &record.topology)?;
    wait_for_services(&record)?;
    record_versions(&record)?;
    say(format_args!("installing gitlab-ee {BASE_VERSION} on every host that serves it"));
    install_everywhere(&record)?;
    wait_until_serving(&record)?;
    record.is_complete = true;
    folder.save(&record)?;
    say(format_args!("the lab is up after {:.0} s", started.elapsed().as_secs_f64()));
    say(format_args!("  configuration for serin: {}", folder.path("serin.toml").display()));
    for environment in record.topology.environments() {
        for balancer in record.topology.of_kind(environment, Kind::LoadBalancer) {
            say(format_args!("  {environment}: http://{}/", balancer.address));
        }
    }
    Ok(())
}

fn check_machine() -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("the lab needs root, to make namespaces and mounts: run it with sudo");
    }
    let missing: Vec<&str> =
        TOOLS.iter().copied().filter(|tool| find_program(tool).is_none()).collect();
    if !missing.is_empty() {
        bail!("missing on this machine: {}; run scripts/setup", missing.join(", "));
    }
    Ok(())
}

fn find_program(name: &str) -> Option<std::path::PathBuf> {
    ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
}

fn refuse_second_lab(folder: &LabFolder) -> Result<()> {
    let Some(other) = down::current() else { return Ok(()) };
    let Ok(record) = other.load() else { return Ok(()) };
    if !record.is_up() {
        return Ok(());
    }
    if other.root() == folder.root() {
        bail!("a lab is up in {}: `serin-lab down` ends it", other.root().display());
    }
    bail!(
        "a lab is up in {}, and one machine holds one: `serin-lab down --dir {}` ends it",
        other.root().display(),
        other.root().display()
    )
}

fn start_hosts(folder: &LabFolder, record: &mut LabRecord, deployer_public: &str) -> Result<()> {
    let inits = Mutex::new(BTreeMap::new());
    let topology = &record.topology;
    let base = &record.base;
    in_parallel(&topology.hosts, INSTALLING_AT_ONCE, |host| {
        let init = prepare_and_boot(folder, topology, base, host, deployer_public)
            .with_context(|| format!("could not start {}", host.name))?;
        if let Ok(mut inits) = inits.lock() {
            inits.insert(host.name.clone(), init);
        }
        Ok(())
    })?;
    record.inits = inits.into_inner().unwrap_or_default();
    folder.save(record)?;
    for host in &record.topology.hosts {
        wait_for_port(host, 22, Duration::from_secs(20))?;
    }
    Ok(())
}

fn prepare_and_boot(
    folder: &LabFolder,
    topology: &Topology,
    base: &Path,
    host: &Host,
    deployer_public: &str,
) -> Result<ProcessIdentity> {
    host::mount_disk(folder, host)?;
    let keys = HostKeys {
        host_private: operator_files::create_host_key(folder, host)?,
        deployer_public: deployer_public.to_owned(),
    };
    let upper = folder.disk(&host.name).join("upper");
    seed::write_files(&upper, &seed::render_host(topology, host, &keys))?;
    let keyring = upper.join("usr/share/keyrings/serin-lab.gpg");
    std::fs::create_dir_all(upper.join("usr/share/keyrings"))?;
    std::fs::copy(repository::keyring(folder), &keyring)?;
    std::fs::set_permissions(&keyring, std::fs::Permissions::from_mode(0o644))?;
    if host.kind == Kind::Ops {
        seed::make_roles_folder(&upper)?;
    }
    host::boot(folder, base, host)
}

fn wait_for_services(record: &LabRecord) -> Result<()> {
    for host in &record.topology.hosts {
        host::wait_for_services(host)?;
        if host.kind == Kind::Database {
            create_database(record.live_init(&host.name)?)?;
        }
    }
    Ok(())
}

fn create_database(init: ProcessIdentity) -> Result<()> {
    let ready = "pg_isready -q -h /run/postgresql";
    wait_for("PostgreSQL is ready", Duration::from_secs(20), || {
        Ok(run_unchecked(&mut shell(init, ready))?.status.success().then_some(()))
    })?;
    run(&mut shell(
        init,
        "createuser -U postgres -h /run/postgresql gitlab
         createdb -U postgres -h /run/postgresql -O gitlab gitlab",
    ))?;
    Ok(())
}

fn record_versions(record: &LabRecord) -> Result<()> {
    let mut fleets: Vec<String> =
        record.topology.hosts.iter().filter_map(Host::version_record).collect();
    fleets.dedup();
    for fleet in fleets {
        let url = format!("http://{}/roles/{fleet}", crate::topology::OPS_ADDRESS);
        run(&mut cmd(["curl", "-fsS", "-X", "PUT", "--data-binary", BASE_VERSION, &url]))?;
    }
    Ok(())
}

/// The deploy host of each environment migrates first, as it would in life; then everyone installs.
fn install_everywhere(record: &LabRecord) -> Result<()> {
    let with_package = |kind_is_deploy: bool| -> Vec<&Host> {
        let hosts = record.topology.hosts.iter().filter(|host| host.has_package());
        hosts.filter(|host| (host.kind == Kind::Deploy) == kind_is_deploy).collect()
    };
    let install = |host: &&Host| -> Result<()> {
        let init = record.live_init(&host.name)?;
        let line = format!(
            "apt-get -q -o APT::Update::Error-Mode=any update
             DEBIAN_FRONTEND=noninteractive apt-get -y -q install gitlab-ee={BASE_VERSION}
             gitlab-ctl reconfigure {}
             rm /etc/sv/chef-client/down
             sv up chef-client",
            if host.kind == Kind::Deploy { "&& gitlab-rake db:migrate" } else { "" }
        );
        run(&mut shell(init, &line))
            .with_context(|| format!("could not install on {}", host.name))?;
        Ok(())
    };
    in_parallel(&with_package(true), INSTALLING_AT_ONCE, install)?;
    in_parallel(&with_package(false), INSTALLING_AT_ONCE, install)
}

fn wait_until_serving(record: &LabRecord) -> Result<()> {
    for environment in record.topology.environments() {
        for balancer in record.topology.of_kind(environment, Kind::LoadBalancer) {
            let what = format!("every server on {} is UP", balancer.name);
            let init = record.live_init(&balancer.name)?;
            wait_for(&what, Duration::from_secs(30), || {
                let rows = crate::balancer::server_states(init)?;
                let waiting: Vec<_> =
                    rows.iter().filter(|row| !row.is_up()).map(|row| row.name.clone()).collect();
                if waiting.is_empty() && !rows.is_empty() {
                    return Ok(Some(()));
                }
                bail!("not UP: {}", waiting.join(", "))
            })?;
        }
        alerts::wait_for_quiet(environment, Duration::from_secs(40))?;
    }
    Ok(())
}
