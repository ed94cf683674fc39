//! One connection: made, listening, and used for one transaction after the other.

use super::settings::{PostgresSettings, Tls};
use super::tls::Protector;
use super::trouble::{Kind, Trouble, commit_failed, failed};
use crate::failed::storage;
use crate::port::JournalError;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio_postgres::config::SslMode;
use tokio_postgres::types::ToSql;
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, IsolationLevel, NoTls, Row, Statement, Transaction,
};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// How long what was sent may stay unconfirmed by the other machine's kernel. A cut network is noticed by that.
const UNCONFIRMED: Duration = Duration::from_secs(5);

/// The oldest PostgreSQL whose functions are used. Tests run against 15.
const OLDEST: i32 = 130_000;

/// What holds for a session. A transaction that is left open, because its process was stopped or its machine is gone,
/// ends before those that wait for its locks give up; both end before a lease does.
const SESSION: &str = "
    SET idle_in_transaction_session_timeout = '3s';
    SET lock_timeout = '5s';
    SET statement_timeout = '12s';
    SET client_min_messages = 'warning';
    LISTEN serin;
";

/// A statement's parameters.
pub(super) type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

/// A connection.
pub(super) struct Link {
    client: Client,
    statements: BTreeMap<&'static str, Statement>,
}

/// What a server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its version, as it names it.
    pub version: String,
    /// Whether it waits for standby servers before it confirms: its `synchronous_standby_names`, or nothing.
    pub standbys: String,
}

impl Link {
    /// Connects, and makes sure that what is committed here is kept. Every message to this session, and its end, wakes
    /// whoever waits for `arrivals`.
    pub(super) async fn open(
        settings: &PostgresSettings,
        arrivals: &Arc<Notify>,
    ) -> Result<(Self, Server), Trouble> {
        let lasting = |error: JournalError| Trouble { kind: Kind::Lasting, error };
        let what = format!("connect to {settings}");
        let mut config = Config::new();
        config.host(&settings.host).port(settings.port);
        config.dbname(&settings.database).user(&settings.user).application_name("serin");
        config.connect_timeout(CONNECT).tcp_user_timeout(UNCONFIRMED).keepalives_idle(CONNECT);
        if let Some(password) = settings.password().map_err(lasting)? {
            config.password(password);
        }
        let client = match &settings.tls {
            Tls::Verified(ca_file) if !settings.is_local() => {
                let protector = Protector::new(ca_file.as_deref()).map_err(lasting)?;
                config.ssl_mode(SslMode::Require);
                let (client, connection) =
                    config.connect(protector).await.map_err(failed(&what))?;
                drive(connection, Arc::clone(arrivals));
                client
            }
            Tls::Off | Tls::Verified(_) => {
                config.ssl_mode(SslMode::Disable);
                let (client, connection) = config.connect(NoTls).await.map_err(failed(&what))?;
                drive(connection, Arc::clone(arrivals));
                client
            }
        };
        client.batch_execute(SESSION).await.map_err(failed(&what))?;
        let server = inspect(&client).await?;
        Ok((Self { client, statements: BTreeMap::new() }, server))
    }

    /// Tells whether the connection is known to be lost.
    pub(super) fn is_lost(&self) -> bool {
        self.client.is_closed()
    }

    /// Begins a transaction that writes. Each of its statements sees what was committed before that statement: what it
    /// decides by, it locks first.
    pub(super) async fn begin(&mut self) -> Result<Tx<'_>, Trouble> {
        let builder = self.client.build_transaction();
        let builder = builder.isolation_level(IsolationLevel::ReadCommitted).read_only(false);
        let tx = builder.start().await.map_err(failed("begin to write"))?;
        Ok(Tx { tx, statements: &mut self.statements })
    }

    /// Begins a transaction that only reads, all of it as of one moment.
    pub(super) async fn begin_read(&mut self) -> Result<Tx<'_>, Trouble> {
        let builder = self.client.build_transaction();
        let builder = builder.isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        let tx = builder.start().await.map_err(failed("begin to read"))?;
        Ok(Tx { tx, statements: &mut self.statements })
    }
}

/// A transaction. Dropped without a commit it changes nothing.
pub(super) struct Tx<'l> {
    tx: Transaction<'l>,
    statements: &'l mut BTreeMap<&'static str, Statement>,
}

impl Tx<'_> {
    /// Runs a statement, and returns its rows.
    pub(super) async fn rows(
        &mut self,
        what: &str,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<Vec<Row>, Trouble> {
        let known = self.statements.get(sql).cloned();
        let statement = if let Some(statement) = known {
            statement
        } else {
            let statement = self.tx.prepare(sql).await.map_err(failed(what))?;
            self.statements.insert(sql, statement.clone());
            statement
        };
        self.tx.query(&statement, params).await.map_err(failed(what))
    }

    /// Runs a statement whose rows do not matter.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        params: Params<'_>,
    ) -> Result<(), Trouble> {
        self.rows("write to the journal", sql, params).await.map(drop)
    }

    /// Runs statements without parameters.
    pub(super) async fn batch(&mut self, what: &str, sql: &str) -> Result<(), Trouble> {
        self.tx.batch_execute(sql).await.map_err(failed(what))
    }

    /// Commits, and returns what came of the transaction.
    pub(super) async fn commit<T>(self, done: T) -> Result<T, Trouble> {
        self.tx.commit().await.map_err(commit_failed)?;
        Ok(done)
    }
}

/// Moves a connection's messages until it ends.
fn drive<S, T>(mut connection: Connection<S, T>, arrivals: Arc<Notify>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            match poll_fn(|cx| connection.poll_message(cx)).await {
                Some(Ok(AsyncMessage::Notification(_))) => arrivals.notify_one(),
                Some(Ok(_)) => {}
                // Whoever waits should look: nothing more will be heard here.
                Some(Err(_)) | None => return arrivals.notify_one(),
            }
        }
    });
}

/// Makes sure that the server keeps what it confirms, and may be written to.
async fn inspect(client: &Client) -> Result<Server, Trouble> {
    let what = "look at the server's settings";
    let sql = "SELECT current_setting('server_version'), current_setting('server_version_num')::int, \
        current_setting('fsync'), current_setting('synchronous_commit'), \
        current_setting('transaction_read_only'), current_setting('synchronous_standby_names')";
    let row = client.query_one(sql, &[]).await.map_err(failed(what))?;
    let text = |column| row.try_get::<usize, String>(column).map_err(failed(what));
    let version = text(0)?;
    let lasting =
        |why: String| Trouble { kind: Kind::Lasting, error: storage("use the server", why) };
    if row.try_get::<_, i32>(1).map_err(failed(what))? < OLDEST {
        return Err(lasting(format!("PostgreSQL {version} is too old: 13 or newer is needed")));
    }
    if text(2)? != "on" {
        return Err(lasting("its fsync is off: it would forget what it has confirmed".to_owned()));
    }
    if text(4)? != "off" {
        return Err(Trouble::away(what, "it can only be read: it is a standby"));
    }
    // What is weaker would confirm before it is on the disk; what is stronger is the server's choice.
    if ["off", "local", "remote_write"].contains(&text(3)?.as_str()) {
        let set = client.batch_execute("SET synchronous_commit = 'on'").await;
        set.map_err(failed(what))?;
    }
    Ok(Server { version, standbys: text(5)? })
}
