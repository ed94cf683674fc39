//! HAProxy's sockets through the wrapper: under the same lock and fence as everything else on the machine.

use super::SystemHosts;
use crate::haproxy::socket::LbSocket;
use async_trait::async_trait;
use serin_model::HostName;
use serin_runtime::ports::{Fence, HostPort, PortError};

#[async_trait]
impl LbSocket for SystemHosts {
    async fn ask(
        &self,
        host: &HostName,
        socket: &str,
        fence: Option<Fence>,
        commands: &[String],
    ) -> Result<Vec<String>, PortError> {
        self.ask_haproxy(host, socket, fence, commands).await
    }

    async fn raise_fence(&self, host: &HostName, fence: Fence) -> Result<(), PortError> {
        HostPort::raise_fence(self, host, fence).await
    }
}
