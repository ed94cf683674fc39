//! Where `ssh` would go for a host: the name behind an alias of its configuration.

use super::SshConfig;
use serin_model::HostName;
use std::process::Stdio;
use tokio::process::Command;

/// Asks `ssh` under which name or address it would look for a host. Nothing is reached; `None`: it does not say.
pub async fn destination(config: &SshConfig, host: &HostName) -> Option<String> {
    let mut ssh = Command::new("ssh");
    if let Some(file) = &config.config {
        ssh.arg("-F").arg(file);
    }
    let asked = ssh.arg("-G").arg("--").arg(host.as_str()).stdin(Stdio::null()).kill_on_drop(true);
    let output = asked.output().await.ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("hostname ")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test]
    async fn an_alias_leads_to_the_name_behind_it_and_another_host_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ssh_config");
        std::fs::write(&file, "Host web-01.gprd\n  HostName 10.1.2.3\n").unwrap();
        let config = SshConfig {
            config: Some(file.clone()),
            max_connecting: 1,
            connect_timeout: Duration::from_secs(1),
            sudo: false,
        };
        let behind = |name: &str| {
            let (config, name) = (config.clone(), name.parse().unwrap());
            async move { destination(&config, &name).await }
        };
        assert_eq!(behind("web-01.gprd").await.as_deref(), Some("10.1.2.3"));
        assert_eq!(behind("web-02.gprd").await.as_deref(), Some("web-02.gprd"));
        std::fs::write(&file, "Nonsense\n").unwrap();
        assert_eq!(behind("web-01.gprd").await, None);
    }
}
