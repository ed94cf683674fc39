//! What a server must be like to hold a journal, and what must be in it.

use crate::cluster::Cluster;
use crate::support::{at, environment, holder, scope, texts};
use serin_journal::{
    Append, Journal, JournalError, Password, PostgresJournal, PostgresSettings, Tls,
};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

const LONG: Duration = Duration::from_mins(10);

async fn refused(settings: PostgresSettings) -> String {
    let Err(error) = PostgresJournal::open(settings).await else { panic!("it was opened") };
    told(&error)
}

/// Returns an error with its causes, as people are told.
fn told(error: &dyn std::error::Error) -> String {
    match error.source() {
        None => error.to_string(),
        Some(source) => format!("{error}: {}", told(source)),
    }
}

#[tokio::test]
async fn processes_that_open_a_new_journal_at_once_meet_in_one() {
    let cluster = Cluster::start().await;
    let open = || cluster.open();
    let (one, two, three, four) = tokio::join!(open(), open(), open(), open());
    for journal in [&one, &two, &three, &four] {
        journal.create_run("a", at(1)).await.unwrap();
    }
    assert_eq!(one.runs().await.unwrap().len(), 4);
    assert!(one.server().version.starts_with("15"), "{:?}", one.server());
}

#[tokio::test]
async fn a_server_that_would_forget_or_cannot_be_written_to_is_refused() {
    let mut cluster = Cluster::start_with(&["fsync=off"]).await;
    let why = refused(cluster.settings()).await;
    assert!(why.contains("fsync is off"), "{why}");
    cluster.stop();
    cluster.resume(&["default_transaction_read_only=on"]).await;
    let why = refused(cluster.settings()).await;
    assert!(why.contains("it is a standby"), "{why}");
    cluster.stop();
    cluster.resume(&["synchronous_commit=off"]).await;
    drop(cluster.open().await);
    cluster.stop();
    let why = refused(cluster.settings()).await;
    assert!(why.contains("connect to postgres of serin@"), "{why}");
}

#[tokio::test]
async fn commits_wait_for_the_disk_whatever_the_database_says() {
    let cluster = Cluster::start_with(&["synchronous_commit=off"]).await;
    let journal = cluster.open().await;
    let client = cluster.connect().await.unwrap();
    let trigger = "CREATE TABLE seen (how text); \
        CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS \
        $$ BEGIN INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$; \
        CREATE TRIGGER look AFTER INSERT ON serin.record EXECUTE FUNCTION look()";
    client.batch_execute(trigger).await.unwrap();
    journal.create_run("a", at(1)).await.unwrap();
    let seen = client.query_one("SELECT how FROM seen", &[]).await.unwrap();
    assert_eq!(seen.get::<_, &str>(0), "on");
}

#[tokio::test]
async fn a_newer_format_is_refused_by_name() {
    let cluster = Cluster::start().await;
    drop(cluster.open().await);
    let client = cluster.connect().await.unwrap();
    // The seal of the format 7, as every version must be able to read it.
    let sql = "UPDATE serin.meta SET value = '7', seal = sha256(\
        int8send(4) || 'meta' || int8send(6) || 'format' || int8send(1) || '7') \
        WHERE name = 'format'";
    client.batch_execute(sql).await.unwrap();
    let Err(error) = PostgresJournal::open(cluster.settings()).await else { panic!("opened") };
    assert!(matches!(error, JournalError::Newer { found: 7, known: 2 }), "{error:?}");
    client.batch_execute("UPDATE serin.meta SET value = '1'").await.unwrap();
    let why = refused(cluster.settings()).await;
    assert!(why.contains("its format is not what was written"), "{why}");
}

#[tokio::test]
async fn a_journal_of_before_the_audit_trail_is_given_one_and_keeps_what_it_had() {
    let cluster = Cluster::start().await;
    cluster.open().await.create_run("a", at(1)).await.unwrap();
    let client = cluster.connect().await.unwrap();
    let sql = "DROP TABLE serin.trail_record; DROP TABLE serin.trail; \
        UPDATE serin.meta SET value = '1', seal = sha256(\
        int8send(4) || 'meta' || int8send(6) || 'format' || int8send(1) || '1') \
        WHERE name = 'format'";
    client.batch_execute(sql).await.unwrap();
    let (one, two) = tokio::join!(cluster.open(), cluster.open());
    let append = serin_journal::TrailAppend { expected: 0, body: "asked", at: at(1) };
    assert_eq!(one.append_trail(&append).await.unwrap(), 1);
    assert_eq!(two.read_trail(0).await.unwrap().len(), 1);
    assert_eq!(two.runs().await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_not_what_was_written_is_named() {
    let cluster = Cluster::start().await;
    let journal = cluster.open().await;
    let client = cluster.connect().await.unwrap();
    let staging = environment("staging");
    for (change, named) in [
        ("UPDATE serin.record SET body = 'x' WHERE seq = 2", "record 2 of run r-1"),
        ("DELETE FROM serin.record WHERE seq = 3", "record 3 of run r-1"),
        ("DELETE FROM serin.record WHERE seq = 2", "record 2 of run r-1"),
        ("UPDATE serin.run SET last = 2 WHERE number = 1", "run r-1"),
        ("UPDATE serin.lease SET epoch = 7", "the lease of environment-staging"),
        ("UPDATE serin.command SET body = 'x'", "command 1"),
        ("DELETE FROM serin.run WHERE number = 1", "run r-1 is missing"),
        ("DROP TABLE serin.claim", "could not read the claims"),
    ] {
        client.batch_execute("DROP SCHEMA serin CASCADE").await.unwrap();
        let fresh = cluster.open().await;
        let id = fresh.create_run("a", at(1)).await.unwrap();
        fresh.create_run("b", at(1)).await.unwrap();
        let records = texts(&["b", "c"]);
        let append = Append {
            run: &id,
            expected: 1,
            records: &records,
            at: at(1),
            leases: &[],
            claims: &[],
        };
        fresh.append(&append).await.unwrap();
        fresh.take_lease(&scope("staging"), &holder(1), LONG).await.unwrap();
        fresh.send(&staging, "halt", at(1)).await.unwrap();
        client
            .batch_execute("ALTER TABLE serin.record DROP CONSTRAINT record_run_fkey")
            .await
            .unwrap();
        client.batch_execute(change).await.unwrap();
        let read = async {
            fresh.read(&id, 0).await?;
            fresh.runs().await?;
            fresh.holder(&scope("staging")).await?;
            fresh.inbox(&staging).await?;
            fresh.claims().await.map(drop)
        };
        let error = read.await.unwrap_err();
        assert!(matches!(error, JournalError::Damaged(_)), "{change}: {error:?}");
        assert!(error.to_string().contains(named), "{change}: {error}");
    }
    drop(journal);
}

/// Makes a key and a certificate for `localhost`, both of the server's user.
fn certificate(cluster: &Cluster) {
    let (key, certificate) = (cluster.path("server.key"), cluster.path("server.crt"));
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    openssl.args(["-nodes", "-days", "1", "-subj", "/CN=localhost"]);
    openssl.args([
        "-addext",
        "subjectAltName=DNS:localhost",
        "-addext",
        "basicConstraints=CA:FALSE",
    ]);
    openssl.arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    assert!(openssl.stderr(Stdio::null()).status().unwrap().success());
    for path in [&key, &certificate] {
        cluster.give_away(path);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[tokio::test]
async fn a_password_and_a_certificate_are_checked_and_neither_is_told() {
    let mut cluster = Cluster::start().await;
    let client = cluster.connect().await.unwrap();
    client.batch_execute("ALTER ROLE serin PASSWORD 'hunter2'").await.unwrap();
    drop(client);
    cluster.stop();
    certificate(&cluster);
    let hba = "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n\
        hostssl all all ::1/128 scram-sha-256\n";
    std::fs::write(cluster.path("data/pg_hba.conf"), hba).unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (key, certificate) = (cluster.path("server.key"), cluster.path("server.crt"));
    let (key, certificate) = (key.display(), certificate.display());
    let tcp = [
        "listen_addresses=localhost",
        "ssl=on",
        &format!("ssl_key_file={key}"),
        &format!("ssl_cert_file={certificate}"),
        &format!("port={port}"),
    ];
    cluster.resume_at(port, &tcp).await;

    let password = cluster.path("password");
    let write = |text: &str| {
        std::fs::write(&password, text).unwrap();
        std::fs::set_permissions(&password, std::fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("hunter2\n");
    let good = PostgresSettings {
        host: "localhost".to_owned(),
        port,
        password: Some(Password::File(password.clone())),
        tls: Tls::Verified(Some(cluster.path("server.crt"))),
        ..cluster.settings()
    };
    let journal = PostgresJournal::open(good.clone()).await.unwrap();
    journal.create_run("a", at(1)).await.unwrap();
    let given = Some(Password::Given("hunter2".to_owned()));
    drop(
        PostgresJournal::open(PostgresSettings { password: given, ..good.clone() }).await.unwrap(),
    );

    let by_system = PostgresSettings { tls: Tls::Verified(None), ..good.clone() };
    let why = refused(by_system).await;
    assert!(why.contains("certificate") && !why.contains("hunter"), "{why}");
    let by_address = PostgresSettings { host: "127.0.0.1".to_owned(), ..good.clone() };
    let why = refused(by_address).await;
    assert!(why.contains("certificate") && !why.contains("hunter"), "{why}");
    let open = PostgresSettings { tls: Tls::Off, ..good.clone() };
    assert!(open.is_readable_on_the_way() && !good.is_readable_on_the_way());
    let why = refused(open).await;
    assert!(why.contains("no encryption") && !why.contains("hunter"), "{why}");
    let none = PostgresSettings { password: None, ..good.clone() };
    let why = refused(none).await;
    assert!(why.contains("password missing"), "{why}");
    write("hunter3\n");
    let why = refused(good).await;
    assert!(why.contains("password authentication failed") && !why.contains("hunter"), "{why}");
}
