//! `db:migrate` and `db:migrate:status` against PostgreSQL: once, in order, alone, and honest about where it stopped.

use rustix::process::Signal;

use crate::support::{Host, Postgres, ended, send};

fn host(postgres: &Postgres) -> Host {
    let host = Host::new("16.0.0-ee.0", "", &format!("DATABASE_URL={}", postgres.url()));
    host.concurrent_migration(
        "20230101000002_index_projects",
        "CREATE INDEX CONCURRENTLY index_projects ON projects (name)",
    );
    host.migration("migrate", "20230101000003_create_jobs", "CREATE TABLE jobs (id bigint)");
    host
}

const RAN: &str = "SELECT count(*) FROM migration_log";

#[tokio::test]
async fn each_migration_runs_once_and_post_deployment_ones_wait() {
    let postgres = Postgres::start().await;
    let host = host(&postgres);

    let before = host.rake(&["db:migrate:status"]).await;
    assert_eq!(before.code, Some(1));
    assert!(before.err.contains("Schema migrations table does not exist yet."), "{before:?}");

    let regular = host.rake(&["db:migrate", "SKIP_POST_DEPLOYMENT_MIGRATIONS=true"]).await;
    assert_eq!(regular.code, Some(0), "{regular:?}");
    assert!(regular.out.contains("== 20230101000001 CreateProjects: migrated"), "{regular:?}");
    let between = host.rake(&["db:migrate:status"]).await;
    assert_eq!(
        between.out,
        "\ndatabase: postgres\n\n Status   Migration ID    Migration Name\n\
         --------------------------------------------------\n   \
         up     20230101000001  Create projects\n   \
         up     20230101000002  Index projects\n   \
         up     20230101000003  Create jobs\n  \
         down    20230101000009  Add legacy\n\n"
    );

    assert_eq!(host.rake(&["db:migrate"]).await.code, Some(0));
    assert_eq!(host.rake(&["db:migrate"]).await.out, "", "nothing is pending");
    assert_eq!(postgres.number(RAN).await, 4);
    let skipped = host.rake(&["db:migrate:status", "SKIP_POST_DEPLOYMENT_MIGRATIONS=true"]).await;
    assert!(skipped.out.contains("20230101000009  ********** NO FILE **********"), "{skipped:?}");
}

#[tokio::test]
async fn a_failing_migration_keeps_what_came_before() {
    let postgres = Postgres::start().await;
    let host = host(&postgres);
    host.migration("migrate", "20230101000002_break", "ALTER TABLE nothing ADD COLUMN a int");
    std::fs::remove_file(host.path().join(
        "opt/gitlab/embedded/service/gitlab-rails/db/migrate/20230101000002_index_projects.rb",
    ))
    .unwrap();

    let broken = host.rake(&["db:migrate"]).await;

    assert_eq!(broken.code, Some(1));
    assert!(broken.err.contains("An error has occurred, this and all later migrations canceled"));
    assert!(broken.err.contains("relation \"nothing\" does not exist"), "{broken:?}");
    assert_eq!(postgres.number("SELECT count(*) FROM schema_migrations").await, 1);
    assert_eq!(postgres.number(RAN).await, 1, "the note of the failed one went with it");
}

#[tokio::test]
async fn a_second_migration_is_refused_while_the_first_runs() {
    let postgres = Postgres::start().await;
    let host = host(&postgres);
    let mut first = host.program(&["rake", "db:migrate"]).spawn().unwrap();
    postgres.until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", 1).await;

    let second = host.rake(&["db:migrate"]).await;

    assert_eq!(second.code, Some(1));
    assert!(second.err.contains("ActiveRecord::ConcurrentMigrationError"), "{second:?}");
    assert_eq!(ended(&mut first).await, Some(0));
    assert_eq!(postgres.number(RAN).await, 4);
}

#[tokio::test]
async fn a_killed_migration_is_rolled_back_and_can_be_run_again() {
    let postgres = Postgres::start().await;
    let host = host(&postgres);
    let mut first = host.program(&["rake", "db:migrate"]).spawn().unwrap();
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gitlab-rake' \
                    AND query LIKE '%pg_sleep%'";
    postgres.until(sleeping, 1).await;

    send(&first, Signal::KILL);
    ended(&mut first).await;
    postgres.until("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", 0).await;

    assert_eq!(postgres.number("SELECT count(*) FROM schema_migrations").await, 0);
    let again = host.rake(&["db:migrate"]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(postgres.number(RAN).await, 4);
}

#[tokio::test]
async fn what_cannot_be_done_says_why() {
    let host = Host::new("16.0.0-ee.0", "", "");
    let unknown = host.rake(&["db:drop"]).await;
    assert_eq!(unknown.code, Some(1));
    assert!(unknown.err.contains("Don't know how to build task 'db:drop'"), "{unknown:?}");
    let nowhere = host.rake(&["db:migrate"]).await;
    assert_eq!(nowhere.code, Some(1));
    assert!(nowhere.err.contains("DATABASE_URL is not set"), "{nowhere:?}");
}
