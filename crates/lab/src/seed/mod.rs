//! What a host is made of: the files that make it differ from the base image.
//!
//! Pure rendering into a list of [`SeedFile`]s, and one function that writes such a list to a disk. Which services a
//! host runs is decided here and nowhere else.

pub(crate) mod haproxy;
pub(crate) mod prometheus;

use crate::topology::{Environment, Fleet, Host, Kind, OPS, Topology};
use anyhow::{Context, Result};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;

/// The package's version on every host of a new lab.
pub(crate) const BASE_VERSION: &str = "16.0.0-ee.0";

/// A file on a host's disk before its first boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SeedFile {
    /// Absolute path on the host.
    pub path: String,
    /// Its content.
    pub content: String,
    /// Its permissions; the owner is root.
    pub mode: u32,
}

impl SeedFile {
    fn plain(path: &str, content: impl Into<String>) -> Self {
        Self { path: path.to_owned(), content: content.into(), mode: 0o644 }
    }

    fn script(path: &str, content: impl Into<String>) -> Self {
        Self { path: path.to_owned(), content: content.into(), mode: 0o755 }
    }

    fn secret(path: &str, content: impl Into<String>) -> Self {
        Self { path: path.to_owned(), content: content.into(), mode: 0o600 }
    }
}

/// The keys that go onto hosts.
#[derive(Clone, Debug)]
pub(crate) struct HostKeys {
    /// The host's own private key.
    pub host_private: String,
    /// The public key that `deployer` logs in with.
    pub deployer_public: String,
}

/// Renders all files of a host, except the repository's binary key ring.
pub(crate) fn render_host(topology: &Topology, host: &Host, keys: &HostKeys) -> Vec<SeedFile> {
    let mut files = render_common(topology, host, keys);
    match host.kind {
        Kind::LoadBalancer => files.extend(render_load_balancer(topology, host)),
        Kind::Database => files.extend(render_database()),
        Kind::Ops => files.extend(render_ops(topology)),
        Kind::Deploy | Kind::Gitaly | Kind::Web | Kind::Api | Kind::Git | Kind::Sidekiq => {
            files.extend(render_application(host));
        }
    }
    files
}

/// Writes files to a disk's upper layer.
pub(crate) fn write_files(upper: &Path, files: &[SeedFile]) -> Result<()> {
    for file in files {
        let path = upper.join(file.path.trim_start_matches('/'));
        write_one(&path, file).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn write_one(path: &Path, file: &SeedFile) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, &file.content)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(file.mode))?;
    // runit looks for services in /etc/service; a run script under /etc/sv is enabled by a link.
    if let Some(service) = path.parent().filter(|_| path.ends_with("run"))
        && let (Some(name), Some(etc)) = (service.file_name(), service.ancestors().nth(2))
    {
        let enabled = etc.join("service");
        std::fs::create_dir_all(&enabled)?;
        symlink(Path::new("/etc/sv").join(name), enabled.join(name))?;
    }
    Ok(())
}

/// Makes the folder in which the recorded versions live, writable by the web server alone.
pub(crate) fn make_roles_folder(upper: &Path) -> Result<()> {
    /// Debian's fixed number of `www-data`.
    const WWW_DATA: u32 = 33;
    for folder in ["srv/roles", "srv/roles-partial"] {
        let folder = upper.join(folder);
        std::fs::create_dir_all(&folder)?;
        chown(&folder, Some(WWW_DATA), Some(WWW_DATA))?;
    }
    Ok(())
}

fn service(name: &str, command: &str) -> SeedFile {
    SeedFile::script(&format!("/etc/sv/{name}/run"), format!("#!/bin/sh\nexec 2>&1\n{command}\n"))
}

fn render_common(topology: &Topology, host: &Host, keys: &HostKeys) -> Vec<SeedFile> {
    vec![
        SeedFile::script("/usr/local/lib/serin-lab/init", include_str!("../../files/init")),
        SeedFile::plain("/etc/hostname", format!("{}\n", host.name)),
        SeedFile::plain("/etc/hosts", topology.render_etc_hosts()),
        SeedFile::plain("/etc/ssh/sshd_config", include_str!("../../files/sshd_config")),
        SeedFile::plain("/etc/ssh/authorized_keys", &*keys.deployer_public),
        SeedFile::secret("/etc/ssh/ssh_host_ed25519_key", &*keys.host_private),
        SeedFile::secret("/etc/sudoers.d/deployer", "deployer ALL=(ALL) NOPASSWD: ALL\n"),
        SeedFile::plain(
            "/etc/apt/sources.list.d/lab.sources",
            format!(
                "Types: deb\nURIs: http://{OPS}/repo\nSuites: bookworm\nComponents: main\n\
                 Signed-By: /usr/share/keyrings/serin-lab.gpg\n"
            ),
        ),
        SeedFile::plain(
            "/etc/apt/apt.conf.d/serin-lab",
            "Acquire::Languages \"none\";\nAPT::Install-Recommends \"false\";\n",
        ),
        service("sshd", "exec /usr/sbin/sshd -D -e"),
    ]
}

fn render_application(host: &Host) -> Vec<SeedFile> {
    let (Some(environment), Some(role)) = (host.environment, host.kind.role()) else {
        return Vec::new();
    };
    let domain = environment.domain();
    let interval_seconds = 10;
    let splay_seconds = u32::from(host.address.octets()[3]) % interval_seconds;
    let mut files = vec![
        SeedFile::plain(
            "/etc/gitlab/serin-lab.env",
            format!(
                "ROLES={role}\nENVIRONMENT={domain}\nFLEET={}\n\
                 DATABASE_URL=postgres://gitlab@db-01.{domain}/gitlab\n\
                 GITALY=gitaly-01.{domain}:8075\n\
                 SERIN_LAB_ALERT_AFTER={ALERT_AFTER_SECONDS}\n",
                host.fleet
            ),
        ),
        SeedFile::plain("/etc/gitlab/skip-auto-reconfigure", ""),
        SeedFile::plain(
            "/etc/chef/role",
            format!("{}\n", host.version_record().unwrap_or_default()),
        ),
        SeedFile::plain("/etc/chef/interval", format!("{interval_seconds}\n")),
        SeedFile::plain("/etc/chef/splay", format!("{splay_seconds}\n")),
        SeedFile::script(
            "/usr/local/bin/running-version",
            include_str!("../../files/running-version"),
        ),
        SeedFile::script("/usr/local/sbin/chef-client", include_str!("../../files/chef-client")),
        service("chef-client", "exec /usr/local/sbin/chef-client"),
        // It starts when the first package is on the host: `up` removes this file.
        SeedFile::plain("/etc/sv/chef-client/down", ""),
    ];
    if host.kind == Kind::Deploy {
        let content = include_str!("../../files/version-role");
        files.push(SeedFile::script("/usr/local/bin/version-role", content));
    }
    files
}

/// The lab's minute: a build that alerts after a minute in a real installation, where bakes take many minutes, alerts
/// after this long in the lab, where they take seconds.
pub(crate) const ALERT_AFTER_SECONDS: u32 = 3;

fn render_load_balancer(topology: &Topology, host: &Host) -> Vec<SeedFile> {
    let Some(environment) = host.environment else { return Vec::new() };
    vec![
        SeedFile::plain("/etc/haproxy/haproxy.cfg", haproxy::render(topology, environment)),
        service(
            "haproxy",
            "exec /usr/sbin/haproxy -W -f /etc/haproxy/haproxy.cfg \
             -S /run/haproxy-master.sock,mode,660,level,admin",
        ),
    ]
}

fn render_database() -> Vec<SeedFile> {
    vec![
        SeedFile::plain(
            "/etc/postgresql/15/main/conf.d/serin-lab.conf",
            include_str!("../../files/postgresql.conf"),
        ),
        SeedFile::plain(
            "/etc/postgresql/15/main/pg_hba.conf",
            include_str!("../../files/pg_hba.conf"),
        ),
        service(
            "postgresql",
            "exec chpst -u postgres /usr/lib/postgresql/15/bin/postgres \
             -D /var/lib/postgresql/15/main \
             -c config_file=/etc/postgresql/15/main/postgresql.conf",
        ),
    ]
}

fn render_ops(topology: &Topology) -> Vec<SeedFile> {
    vec![
        SeedFile::plain("/etc/nginx/nginx.conf", include_str!("../../files/nginx.conf")),
        service("nginx", "exec /usr/sbin/nginx"),
        SeedFile::plain("/etc/prometheus/prometheus.yml", prometheus::render_config(topology)),
        SeedFile::plain("/etc/prometheus/rules.yml", prometheus::render_rules(topology)),
        service(
            "prometheus",
            // Alertmanager forgets an alert after four resend delays: eight seconds after Prometheus died.
            "mkdir -p /var/lib/prometheus && chown prometheus /var/lib/prometheus\n\
             exec chpst -u prometheus prometheus --config.file=/etc/prometheus/prometheus.yml \
             --storage.tsdb.path=/var/lib/prometheus --storage.tsdb.retention.time=6h \
             --rules.alert.resend-delay=2s --log.level=warn",
        ),
        SeedFile::plain(
            "/etc/prometheus/alertmanager.yml",
            include_str!("../../files/alertmanager.yml"),
        ),
        service(
            "alertmanager",
            "mkdir -p /var/lib/alertmanager && chown prometheus /var/lib/alertmanager\n\
             exec chpst -u prometheus prometheus-alertmanager \
             --config.file=/etc/prometheus/alertmanager.yml \
             --storage.path=/var/lib/alertmanager --cluster.listen-address= --log.level=warn",
        ),
        service("pushgateway", "exec chpst -u prometheus prometheus-pushgateway --log.level=warn"),
    ]
}

/// Returns the hosts of one kind, of one fleet or of both.
pub(crate) fn hosts_of(
    topology: &Topology,
    environment: Environment,
    kind: Kind,
    fleet: Option<Fleet>,
) -> Vec<&Host> {
    topology
        .of_kind(environment, kind)
        .filter(|host| fleet.is_none_or(|fleet| host.fleet == fleet))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Size;

    fn files_of(name: &str) -> Vec<SeedFile> {
        let topology = Topology::new(Size::Full);
        let keys = HostKeys { host_private: "key".into(), deployer_public: "public".into() };
        render_host(&topology, topology.host(name).unwrap(), &keys)
    }

    fn content<'a>(files: &'a [SeedFile], path: &str) -> &'a str {
        &files.iter().find(|file| file.path == path).unwrap().content
    }

    #[test]
    fn an_application_host_knows_its_role_fleet_and_servers() {
        let files = files_of("web-cny-01.gprd");
        let settings = content(&files, "/etc/gitlab/serin-lab.env");
        for line in ["ROLES=web", "FLEET=canary", "ENVIRONMENT=gprd", "GITALY=gitaly-01.gprd:8075"]
        {
            assert!(settings.lines().any(|found| found == line), "{line} not in {settings}");
        }
        assert_eq!(content(&files, "/etc/chef/role"), "production-canary\n");
    }

    #[test]
    fn services_are_enabled_when_their_files_are_written() {
        let disk = tempfile::tempdir().unwrap();
        write_files(disk.path(), &files_of("lb-01.gprd")).unwrap();
        let link = std::fs::read_link(disk.path().join("etc/service/haproxy")).unwrap();
        assert_eq!(link, Path::new("/etc/sv/haproxy"));
    }
}
