//! A HAProxy of one's own, with servers behind it that answer when they are told to.

use async_trait::async_trait;
use serin_adapters::haproxy::HaProxy;
use serin_adapters::haproxy::socket::{DirectSocket, LbSocket};
use serin_model::{
    BackendName, HostName, LbObservation, LoadBalancer, ServerName, ServerObservation, Timestamp,
};
use serin_runtime::ports::{Clock, Fence, LbPort, PortError};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// The fence that the tests' changes carry.
pub(crate) const FENCE: Fence = Fence(7);

/// What was asked together, with which fence.
pub(crate) type Asked = (Option<Fence>, Vec<String>);

/// A clock that stands still.
pub(crate) struct Still;

#[async_trait]
impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(1_000)
    }
    async fn sleep_until(&self, _at: Timestamp) {
        panic!("the port waits for nothing");
    }
}

/// Stands for the wrapper on the load balancer's host: keeps the fence, and notes what it was asked.
#[derive(Clone)]
pub(crate) struct OnHost {
    socket: DirectSocket,
    asked: Arc<Mutex<Vec<Asked>>>,
    seen: Arc<Mutex<Fence>>,
}

impl OnHost {
    pub(crate) fn new(deadline: Duration) -> Self {
        let (asked, seen) = (Arc::default(), Arc::new(Mutex::new(Fence(0))));
        Self { socket: DirectSocket::new(deadline), asked, seen }
    }

    /// Returns what was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

#[async_trait]
impl LbSocket for OnHost {
    async fn ask(
        &self,
        host: &HostName,
        socket: &str,
        fence: Option<Fence>,
        commands: &[String],
    ) -> Result<Vec<String>, PortError> {
        self.asked.lock().unwrap().push((fence, commands.to_vec()));
        let seen = *self.seen.lock().unwrap();
        if fence.is_some_and(|fence| fence < seen) {
            return Err(PortError::Fenced { by: seen.0 });
        }
        self.socket.ask(host, socket, None, commands).await
    }

    async fn raise_fence(&self, _host: &HostName, fence: Fence) -> Result<(), PortError> {
        *self.seen.lock().unwrap() = fence;
        Ok(())
    }
}

/// Makes a load balancer whose sockets are in a folder.
pub(crate) fn load_balancer(dir: &Path) -> LoadBalancer {
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    LoadBalancer {
        name: "lb-01".parse().unwrap(),
        host: "lb-01.gprd".parse().unwrap(),
        socket: path("admin.sock"),
        master_socket: Some(path("master.sock")),
        tcp: None,
        unfenced: false,
    }
}

pub(crate) fn key(text: &str) -> (BackendName, ServerName) {
    let (backend, server) = text.split_once('/').unwrap();
    (backend.parse().unwrap(), server.parse().unwrap())
}

/// Asks again and again until there is an answer; fails with what was found instead.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut found = String::new();
    let answer = tokio::time::timeout(PATIENCE, async {
        loop {
            match look().await {
                Ok(answer) => return answer,
                Err(other) => found = other,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let answer = answer.await;
    answer.unwrap_or_else(|_| panic!("never: {what}; found {found}"))
}

/// An HTTP server whose health and patience the test decides.
pub(crate) struct Backend {
    pub(crate) address: String,
    healthy: Arc<AtomicBool>,
    held: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Backend {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let healthy = Arc::new(AtomicBool::new(true));
        let (held, _) = watch::channel(true);
        let (health, holding) = (Arc::clone(&healthy), held.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(answer(stream, Arc::clone(&health), holding.subscribe()));
            }
        });
        Self { address, healthy, held, task }
    }

    /// Fails all checks from now on.
    pub(crate) fn fall_ill(&self) {
        self.healthy.store(false, Ordering::SeqCst);
    }

    /// Passes all checks from now on.
    pub(crate) fn recover(&self) {
        self.healthy.store(true, Ordering::SeqCst);
    }

    /// Lets all requests for `/hold` end, now and from now on.
    pub(crate) fn release(&self) {
        self.held.send_replace(false);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(mut stream: TcpStream, healthy: Arc<AtomicBool>, mut held: watch::Receiver<bool>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    if request.contains("/hold") {
        held.wait_for(|held| !held).await.unwrap();
    }
    let failed = request.contains("/health") && !healthy.load(Ordering::SeqCst);
    let status = if failed { "503 Service Unavailable" } else { "200 OK" };
    let reply = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    // HAProxy may have gone away; that is its test's business.
    drop(stream.write_all(reply.as_bytes()).await);
}

/// HAProxy with two servers, seen through several backends.
pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) lb: LoadBalancer,
    pub(crate) host: OnHost,
    pub(crate) port: HaProxy<OnHost>,
    pub(crate) first: Backend,
    _second: Backend,
    agent: JoinHandle<()>,
    master: Child,
}

impl Rig {
    pub(crate) async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let (first, second) = (Backend::start().await, Backend::start().await);
        let agents = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let agent_port = agents.local_addr().unwrap().port();
        let agent = tokio::spawn(async move {
            while let Ok((mut stream, _)) = agents.accept().await {
                drop(stream.write_all(b"ready up 50%\n").await);
            }
        });
        let config = config(dir.path(), &first.address, &second.address, agent_port);
        std::fs::write(dir.path().join("haproxy.cfg"), config).unwrap();
        let master = Command::new("/usr/sbin/haproxy")
            .args(["-W", "-f", "haproxy.cfg", "-S"])
            .arg(dir.path().join("master.sock"))
            .current_dir(dir.path())
            .stderr(std::fs::File::create(dir.path().join("haproxy.log")).unwrap())
            .spawn()
            .expect("Debian's package `haproxy` must be installed for this test");
        let lb = load_balancer(dir.path());
        let host = OnHost::new(Duration::from_secs(5));
        let port = HaProxy::new(host.clone(), Arc::new(Still));
        let rig = Self { dir, lb, host, port, first, _second: second, agent, master };
        rig.until("both servers are up", |seen| {
            ["web/web-01", "web/web-02"].iter().all(|name| at(seen, name).healthy)
        })
        .await;
        rig.host.asked();
        rig
    }

    /// Observes again and again until what is seen is right.
    pub(crate) async fn until(
        &self,
        what: &str,
        mut right: impl FnMut(&LbObservation) -> bool,
    ) -> LbObservation {
        until(what, async || match self.port.observe(&self.lb).await {
            Ok(seen) if right(&seen) => Ok(seen),
            Ok(seen) => Err(format!("{seen:?}")),
            Err(error) => Err(error.to_string()),
        })
        .await
    }

    /// Sends a request and waits until `web/web-01` has it; the result is what comes back in the end.
    pub(crate) async fn hold(&self) -> JoinHandle<String> {
        let before = at(&self.port.observe(&self.lb).await.unwrap(), "web/web-01").sessions;
        let mut stream = UnixStream::connect(self.dir.path().join("front.sock")).await.unwrap();
        stream.write_all(b"GET /hold HTTP/1.1\r\nHost: a\r\nCookie: S=1\r\n\r\n").await.unwrap();
        let response = tokio::spawn(async move {
            let mut response = vec![0; 1024];
            let length = stream.read(&mut response).await.unwrap();
            String::from_utf8_lossy(&response[..length]).into_owned()
        });
        self.until("the request is held", |seen| at(seen, "web/web-01").sessions > before).await;
        response
    }

    /// Asks a raw command.
    pub(crate) async fn raw(&self, socket: &str, command: &str) -> String {
        let path = self.dir.path().join(socket);
        let commands = [command.to_owned()];
        let direct = DirectSocket::new(Duration::from_secs(5));
        let replies = direct.ask(&self.lb.host, path.to_str().unwrap(), None, &commands).await;
        replies.map_or_else(|error| error.to_string(), |replies| replies.concat())
    }

    /// Reloads HAProxy as `systemctl reload` does; it takes a while to be done.
    pub(crate) fn start_reload(&self) {
        self.signal("-USR2");
    }

    fn signal(&self, signal: &str) {
        let pid = self.master.id().to_string();
        assert!(Command::new("/bin/kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.agent.abort();
        // The master takes its workers with it, leaving ones too.
        self.signal("-TERM");
        self.master.wait().unwrap();
    }
}

/// Returns the server of that name.
pub(crate) fn at<'a>(seen: &'a LbObservation, name: &str) -> &'a ServerObservation {
    seen.servers.get(&key(name)).unwrap_or_else(|| panic!("{name} is missing: {seen:?}"))
}

fn config(dir: &Path, first: &str, second: &str, agent_port: u16) -> String {
    let dir = dir.display();
    format!(
        "\
global
  stats socket {dir}/admin.sock mode 600 level admin expose-fd listeners
  stats socket {dir}/operator.sock mode 600 level operator
  nbthread 2
  max-spread-checks 50ms
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend front
  bind unix@{dir}/front.sock
  default_backend web
backend web
  cookie S
  option httpchk GET /health
  server web-01 {first} cookie 1 check inter 50ms fall 2 rise 2
  server web-02 {second} cookie 2 check inter 50ms fall 2 rise 2
backend follows
  server web-01 {first} track web/web-01 weight 0
backend seldom
  server web-01 {first} check inter 1h fall 2 rise 2
backend unchecked
  server web-01 {first}
backend fixed
  balance static-rr
  server web-01 {first} weight 10
backend agents
  server web-01 {first} agent-check agent-port {agent_port} agent-inter 50ms
"
    )
}
