//! What users ask for: pages, the API, git over HTTP.
//!
//! Trouble elsewhere is answered as a proxy would: 503 without the database, 502 without gitaly. Nothing is retried,
//! so that a restart that drops requests is seen by the one who sent them.

use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use super::Web;
use crate::flaw::Flaw;
use crate::http::{self, Answer};

const GITALY_LIMIT: Duration = Duration::from_mins(1);

/// Answers a user's request.
pub(super) async fn answer(web: &Web, request: &Request<Incoming>) -> Answer {
    let path = request.uri().path();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let post = request.method() == Method::POST;
    match segments.as_slice() {
        ["users", "sign_in"] => sign_in(web),
        ["slow"] => slow(http::query_number(request, "ms")).await,
        ["api", "v4", "version"] => api_version(web),
        ["api", "v4", "projects"] if post => create_project(web, request).await,
        ["api", "v4", "projects"] => list_projects(web).await,
        ["api", "v4", "projects", id] => show_project(web, id).await,
        ["api", "v4", "jobs"] if post => enqueue_job(web, request).await,
        ["api", "v4", "jobs", id] => show_job(web, id).await,
        [_, project, "info", "refs"] => ask_gitaly(web, project, "/info/refs").await,
        [_, project, "git-upload-pack"] => {
            let wait = http::query_number(request, "ms");
            ask_gitaly(web, project, &format!("/git-upload-pack?ms={wait}")).await
        }
        [_, project] => project_page(web, project).await,
        _ => http::text(StatusCode::NOT_FOUND, "404 Not Found\n"),
    }
}

/// Tells whether users search for something: what they do and no test does.
pub(super) fn is_search(request: &Request<Incoming>) -> bool {
    query_text(request, "search").is_some()
}

/// Readiness with everything it depends on, as `?all=1` asks for.
pub(super) async fn readiness_of_all(web: &Web) -> Answer {
    let never = web.identity.build.flaw == Some(Flaw::NeverReady);
    let database = web.database.query("SELECT 1", &[]).await;
    let word = |well: bool| if well { "ok" } else { "failed" };
    let well = database.is_ok() && !never;
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let check = json!({
        "status": word(well),
        "master_check": [{"status": word(!never)}],
        "db_check": [{"status": word(database.is_ok())}],
    });
    http::json(status, &check)
}

fn sign_in(web: &Web) -> Answer {
    let version = &web.identity.build.rails_version;
    let page = format!(
        "<!DOCTYPE html>\n<html><head><title>Sign in · GitLab</title></head>\n\
         <body data-version=\"{version}\"><form action=\"/users/sign_in\" method=\"post\">\n\
         <input name=\"user[login]\"><input name=\"user[password]\" type=\"password\">\n\
         </form></body></html>\n"
    );
    http::html(StatusCode::OK, page)
}

async fn slow(milliseconds: u64) -> Answer {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    http::text(StatusCode::OK, format!("took {milliseconds} ms\n"))
}

fn api_version(web: &Web) -> Answer {
    let build = &web.identity.build;
    let version = match build.flaw {
        Some(Flaw::QaFails) => "0.0.0-wrong",
        _ => &build.rails_version,
    };
    http::json(StatusCode::OK, &json!({"version": version, "revision": build.revision}))
}

async fn create_project(web: &Web, request: &Request<Incoming>) -> Answer {
    // The name goes in the query; a body would only have to be read and thrown away.
    let name = query_text(request, "name").unwrap_or("unnamed");
    let sql = "INSERT INTO projects (name) VALUES ($1) RETURNING id, name";
    match web.database.query(sql, &[&name]).await {
        Ok(rows) => one(&rows, StatusCode::CREATED, project),
        Err(error) => database_trouble(&error),
    }
}

async fn list_projects(web: &Web) -> Answer {
    let sql = "SELECT id, name FROM projects ORDER BY id DESC LIMIT 20";
    match web.database.query(sql, &[]).await {
        Ok(rows) => http::json(StatusCode::OK, &rows.iter().map(project).collect()),
        Err(error) => database_trouble(&error),
    }
}

async fn show_project(web: &Web, id: &str) -> Answer {
    let Ok(id) = id.parse::<i64>() else { return not_found() };
    match web.database.query("SELECT id, name FROM projects WHERE id = $1", &[&id]).await {
        Ok(rows) => one(&rows, StatusCode::OK, project),
        Err(error) => database_trouble(&error),
    }
}

async fn enqueue_job(web: &Web, request: &Request<Incoming>) -> Answer {
    let wait = i64::try_from(http::query_number(request, "ms")).unwrap_or(0);
    let sql = format!("INSERT INTO jobs (milliseconds) VALUES ($1) RETURNING {JOB}");
    match web.database.query(&sql, &[&wait]).await {
        Ok(rows) => one(&rows, StatusCode::CREATED, job),
        Err(error) => database_trouble(&error),
    }
}

async fn show_job(web: &Web, id: &str) -> Answer {
    let Ok(id) = id.parse::<i64>() else { return not_found() };
    let sql = format!("SELECT {JOB} FROM jobs WHERE id = $1");
    match web.database.query(&sql, &[&id]).await {
        Ok(rows) => one(&rows, StatusCode::OK, job),
        Err(error) => database_trouble(&error),
    }
}

/// A page that needs both: the project's name from the database, its files from gitaly.
async fn project_page(web: &Web, project: &str) -> Answer {
    let known = web.database.query("SELECT count(*) FROM projects", &[]).await;
    let rows = match known {
        Ok(rows) => rows,
        Err(error) => return database_trouble(&error),
    };
    let count: i64 = rows.first().and_then(|row| row.try_get(0).ok()).unwrap_or(0);
    let tree = ask_gitaly(web, project, "/tree").await;
    if tree.status() != StatusCode::OK {
        return tree;
    }
    let name = project.replace(['<', '>', '&'], "");
    let page = format!("<!DOCTYPE html>\n<h1>{name}</h1><p>one of {count} projects</p>\n");
    http::html(StatusCode::OK, page)
}

async fn ask_gitaly(web: &Web, project: &str, what: &str) -> Answer {
    let Some(address) = web.settings.gitaly_of(project.trim_end_matches(".git")) else {
        return http::text(StatusCode::BAD_GATEWAY, "502 GITALY is not set\n");
    };
    match http::get(address, what, GITALY_LIMIT).await {
        Ok((StatusCode::OK, body)) => {
            http::text(StatusCode::OK, String::from_utf8_lossy(&body).into_owned())
        }
        Ok((status, _)) => {
            http::text(StatusCode::BAD_GATEWAY, format!("502 gitaly answered {status}\n"))
        }
        Err(error) => http::text(StatusCode::BAD_GATEWAY, format!("502 gitaly: {error:#}\n")),
    }
}

/// The columns that [`job`] reads.
const JOB: &str = "id, host, started_at IS NOT NULL AS started, finished_at IS NOT NULL AS done";

fn job(row: &tokio_postgres::Row) -> Value {
    let is = |column: &str| row.try_get::<_, bool>(column).unwrap_or(false);
    let state = match (is("started"), is("done")) {
        (_, true) => "finished",
        (true, false) => "running",
        (false, false) => "queued",
    };
    json!({
        "id": row.try_get::<_, i64>("id").unwrap_or(0),
        "state": state,
        "host": row.try_get::<_, Option<String>>("host").unwrap_or(None),
    })
}

fn project(row: &tokio_postgres::Row) -> Value {
    json!({
        "id": row.try_get::<_, i64>("id").unwrap_or(0),
        "name": row.try_get::<_, String>("name").unwrap_or_default(),
    })
}

fn one(
    rows: &[tokio_postgres::Row],
    status: StatusCode,
    show: fn(&tokio_postgres::Row) -> Value,
) -> Answer {
    rows.first().map_or_else(not_found, |row| http::json(status, &show(row)))
}

fn not_found() -> Answer {
    http::json(StatusCode::NOT_FOUND, &json!({"message": "404 Not Found"}))
}

/// A database that is away is not a bug of this build; a statement that it refuses is.
fn database_trouble(error: &anyhow::Error) -> Answer {
    let refused = error
        .downcast_ref::<tokio_postgres::Error>()
        .and_then(tokio_postgres::Error::as_db_error)
        .is_some_and(|error| !error.code().code().starts_with("57"));
    let status =
        if refused { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::SERVICE_UNAVAILABLE };
    http::json(status, &json!({"message": format!("{error:#}")}))
}

fn query_text<'a>(request: &'a Request<Incoming>, name: &str) -> Option<&'a str> {
    request
        .uri()
        .query()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}
