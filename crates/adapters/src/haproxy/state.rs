//! What HAProxy's tables say about servers: `show servers state` and `show stat` put together.
//!
//! The first table knows what HAProxy was told (a mask of admin states, weights), the second what became of it
//! (status, sessions). Neither is enough: a draining server whose check fails has the status `DOWN`, and a server in
//! maintenance keeps its weight. What follows from a state is decided elsewhere.
//!
//! A server without checks is `up` when it is ready and HAProxy calls it running, and `healthy` when HAProxy calls it
//! running: there is nothing else to know, and its status says `no check`. A server that tracks another one is as
//! healthy as that one.

use super::reply;
use super::table::{Row, Table};
use crate::shown::shown;
use serin_model::{AdminState, BackendName, ServerKind, ServerName, ServerObservation};
use serin_runtime::ports::PortError;
use std::collections::BTreeMap;

/// Prints what every server was told. Any level may ask it.
pub(super) const SHOW_STATE: &str = "show servers state";
/// Prints what became of every server, and of every backend: types 2 and 4 of all proxies.
pub(super) const SHOW_STAT: &str = "show stat -1 6 -1";

/// A server's `backend/server` name.
pub(super) type ServerKey = (BackendName, ServerName);

// HAProxy's masks.
const MAINTENANCE: u32 = 0x01 | 0x02 | 0x20; // forced, inherited by tracking, by name resolution
const DRAIN: u32 = 0x08 | 0x10; // forced, inherited by tracking
const INHERITED: u32 = 0x02 | 0x10;
const CHECK_ENABLED: u32 = 0x04; // in the state of checks and of agents alike
const CHECK_PAUSED: u32 = 0x08;
/// `srv_check_result` of a check that passed. 4 would be "passed, but wants no new traffic".
const PASSED: u32 = 3;
/// `srv_op_state` of a server that runs. 1 would be one that is still warming up, which takes traffic too.
const RUNNING: u32 = 2;
/// How far tracking is followed. HAProxy refuses loops; a garbled reply need not.
const MAX_TRACKING: usize = 16;

/// What HAProxy was told about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// The admin state, own or inherited.
    pub(super) admin: AdminState,
    /// Whether another server that this one tracks holds it in that state.
    pub(super) inherited: bool,
    /// Its weight now.
    pub(super) weight: u32,
    /// Its weight by the configuration.
    pub(super) initial_weight: u32,
    /// Whether an agent check is enabled, which may override state and weight at any time.
    pub(super) agent: bool,
    address: String,
    seconds_since_change: u64,
    running: bool,
    check: Check,
}

/// What is known of a server's own checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Check {
    /// There are none, or they are switched off.
    Off,
    /// They run, and the last one passed.
    Passed,
    /// They are paused, or none has passed yet, or the last one failed.
    NotPassed,
}

/// What became of a server, or of a backend as a whole.
struct Counted {
    sessions: u32,
    queued: u32,
    total_sessions: u64,
    status: String,
    full_health: bool,
    tracked: String,
    kind: ServerKind,
}

/// Reads what HAProxy was told about every server.
pub(super) fn told(reply: &str) -> Result<BTreeMap<ServerKey, Told>, PortError> {
    let text = reply::data(SHOW_STATE, reply, "# be_id ")?;
    let table = Table::of_words(text);
    keyed(table.rows(), "be_name", "srv_name")
        .map(|entry| {
            let (key, row) = entry?;
            Ok((key, told_row(row)?))
        })
        .collect()
}

/// Reads every server from both tables.
pub(super) fn servers(
    state: &str,
    stat: &str,
) -> Result<BTreeMap<ServerKey, ServerObservation>, PortError> {
    let told = told(state)?;
    let counted = counted(stat)?;
    told.iter()
        .map(|(key, server)| {
            let seen = counted.get(key).ok_or_else(|| {
                reply::garbled(SHOW_STAT, &format!("{}/{} is missing", key.0, key.1))
            })?;
            let observation = ServerObservation {
                admin: server.admin,
                up: server.admin == AdminState::Ready && is_up(server, seen),
                healthy: is_healthy(key, &told, &counted),
                status: seen.status.clone(),
                sessions: seen.sessions,
                queued: seen.queued,
                weight: server.weight,
                initial_weight: server.initial_weight,
                total_sessions: seen.total_sessions,
                address: server.address.clone(),
                agent: server.agent,
                kind: seen.kind,
                last_change_ms: server.seconds_since_change.saturating_mul(1000),
            };
            Ok((key.clone(), observation))
        })
        .collect()
}

/// Reads what a leaving worker still has to do for every server.
///
/// What waits in a backend's own queue counts for each of its servers: a leaving worker knows nothing of a drain, and
/// may hand it to any of them.
pub(super) fn load(stat: &str) -> Result<BTreeMap<ServerKey, u32>, PortError> {
    let table = Table::of_csv(reply::data(SHOW_STAT, stat, "# pxname,")?);
    let mut waiting = BTreeMap::new();
    for row in of_type(&table, TYPE_BACKEND)? {
        waiting.insert(row.text("pxname")?.to_owned(), row.number::<u32>("qcur")?);
    }
    let mut load = BTreeMap::new();
    for (key, server) in counted(stat)? {
        let waiting = waiting.get(key.0.as_str()).copied().unwrap_or(0);
        let sessions = server.sessions.saturating_add(server.queued).saturating_add(waiting);
        if sessions > 0 {
            load.insert(key, sessions);
        }
    }
    Ok(load)
}

/// Reads how each backend chooses a server. Below the level `operator`, HAProxy leaves it out.
pub(super) fn balance(stat: &str) -> Result<BTreeMap<BackendName, String>, PortError> {
    let table = Table::of_csv(reply::data(SHOW_STAT, stat, "# pxname,")?);
    let backends = of_type(&table, TYPE_BACKEND)?.into_iter().filter_map(|row| {
        let backend = row.text("pxname").ok()?.parse().ok()?;
        let balance = row.text("algo").ok().filter(|balance| !balance.is_empty())?;
        Some((backend, shown(balance)))
    });
    Ok(backends.collect())
}

/// The `type` of a backend's row in `show stat`, and of a server's.
const TYPE_BACKEND: &str = "1";
const TYPE_SERVER: &str = "2";

fn counted(stat: &str) -> Result<BTreeMap<ServerKey, Counted>, PortError> {
    let table = Table::of_csv(reply::data(SHOW_STAT, stat, "# pxname,")?);
    keyed(of_type(&table, TYPE_SERVER)?.into_iter(), "pxname", "svname")
        .map(|entry| {
            let (key, row) = entry?;
            Ok((key, counted_row(row)?))
        })
        .collect()
}

/// Returns the rows of one type. A row that does not say its type could be any, so it is an error.
fn of_type<'a>(table: &'a Table, wanted: &str) -> Result<Vec<Row<'a>>, PortError> {
    let typed: Result<Vec<_>, _> =
        table.rows().map(|row| Ok::<_, PortError>((row.text("type")?, row))).collect();
    Ok(typed?.into_iter().filter(|(kind, _)| *kind == wanted).map(|(_, row)| row).collect())
}

/// Pairs rows with the names in them. Servers whose names Serin could not have been told are left out.
fn keyed<'a>(
    rows: impl Iterator<Item = Row<'a>>,
    backend: &str,
    server: &str,
) -> impl Iterator<Item = Result<(ServerKey, Row<'a>), PortError>> {
    rows.filter_map(move |row| {
        let names = row.text(backend).and_then(|name| Ok((name, row.text(server)?)));
        match names {
            Ok((backend, server)) => {
                let key = (backend.parse().ok()?, server.parse().ok()?);
                Some(Ok((key, row)))
            }
            Err(error) => Some(Err(error)),
        }
    })
}

fn told_row(row: Row<'_>) -> Result<Told, PortError> {
    let mask: u32 = row.number("srv_admin_state")?;
    let admin = if mask & MAINTENANCE != 0 {
        AdminState::Maintenance
    } else if mask & DRAIN != 0 {
        AdminState::Drain
    } else {
        AdminState::Ready
    };
    Ok(Told {
        admin,
        inherited: mask & INHERITED != 0,
        weight: row.number("srv_uweight")?,
        initial_weight: row.number("srv_iweight")?,
        agent: row.number::<u32>("srv_agent_state")? & CHECK_ENABLED != 0,
        address: shown(row.text("srv_addr")?),
        seconds_since_change: row.number("srv_time_since_last_change")?,
        running: row.number::<u32>("srv_op_state")? == RUNNING,
        check: check_state(row)?,
    })
}

fn check_state(row: Row<'_>) -> Result<Check, PortError> {
    let state: u32 = row.number("srv_check_state")?;
    Ok(if state & CHECK_ENABLED == 0 {
        Check::Off
    } else if state & CHECK_PAUSED == 0 && row.number::<u32>("srv_check_result")? == PASSED {
        Check::Passed
    } else {
        Check::NotPassed
    })
}

fn counted_row(row: Row<'_>) -> Result<Counted, PortError> {
    let check_status = row.text("check_status")?;
    // `* ` goes before the last result while a check runs. L7OKC is not OK: the server wants no new traffic.
    let ok = check_status.strip_prefix("* ").unwrap_or(check_status).ends_with("OK");
    // A check that was never configured has no rise, fall and health.
    let health = row.number_if_any("check_health");
    let full = row
        .number_if_any("check_rise")
        .zip(row.number_if_any("check_fall"))
        .and_then(|(rise, fall)| rise.saturating_add(fall).checked_sub(1));
    Ok(Counted {
        sessions: row.number("scur")?,
        queued: row.number("qcur")?,
        total_sessions: row.number("stot")?,
        status: shown(row.text("status")?),
        full_health: ok && health.is_some() && health == full,
        tracked: row.text("tracked")?.to_owned(),
        kind: match row.number_if_any("bck") {
            Some(1) => ServerKind::Backup,
            Some(_) | None => ServerKind::Active,
        },
    })
}

/// `UP` and nothing behind it: `UP 1/2` is a server whose checks fail, or that nobody has checked since it came back.
fn is_up(told: &Told, seen: &Counted) -> bool {
    seen.status == "UP" || (seen.status == "no check" && told.running)
}

fn is_healthy(
    key: &ServerKey,
    told: &BTreeMap<ServerKey, Told>,
    counted: &BTreeMap<ServerKey, Counted>,
) -> bool {
    let mut key = key.clone();
    for _ in 0..MAX_TRACKING {
        let (Some(server), Some(seen)) = (told.get(&key), counted.get(&key)) else { return false };
        if seen.tracked.is_empty() {
            return match server.check {
                Check::Off => server.running,
                Check::Passed => seen.full_health,
                Check::NotPassed => false,
            };
        }
        let Some(tracked) = server_key(&seen.tracked) else { return false };
        key = tracked;
    }
    false
}

fn server_key(text: &str) -> Option<ServerKey> {
    let (backend, server) = text.split_once('/')?;
    Some((backend.parse().ok()?, server.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const STATE_HEADER: &str = "\n1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight \
        srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
        srv_agent_state bk_f_forced_id\n";
    const STAT_HEADER: &str = "\n# pxname,svname,qcur,scur,stot,status,type,tracked,check_status,check_rise,\
        check_fall,check_health,last_chk,\n";

    /// One server `web/web-01`: operation, admin mask, result and state of the check, agent; and what `show stat` says.
    fn server(told: [u32; 5], stat: &str) -> ServerObservation {
        let [op, mask, result, check, agent] = told;
        let state = format!(
            "{STATE_HEADER}4 web 1 web-01 127.0.0.1 {op} {mask} 100 7 27 6 {result} 3 {check} {agent} 0\n\n"
        );
        let stat =
            format!("{STAT_HEADER}web,web-01,1,2,30,{stat}\nweb,BACKEND,5,2,9,UP,1,,,,,,\n\n");
        let key = ("web".parse().unwrap(), "web-01".parse().unwrap());
        servers(&state, &stat).unwrap().remove(&key).unwrap()
    }

    const PASSING: &str = "2,,L7OK,2,3,4,\"\",";

    #[test]
    fn the_admin_state_comes_from_the_mask_alone() {
        use AdminState::{Drain, Maintenance, Ready};
        for (mask, admin) in [
            (0x00, Ready),
            (0x01, Maintenance),
            (0x02, Maintenance),
            (0x04, Ready), // what the configuration said once
            (0x05, Maintenance),
            (0x08, Drain),
            (0x0c, Drain),
            (0x10, Drain),
            (0x20, Maintenance),
            (0x40, Ready),
            (0x48, Drain),
        ] {
            let seen = server([2, mask, 3, 6, 0], &format!("UP,{PASSING}"));
            assert_eq!((seen.admin, seen.up), (admin, admin == Ready), "{mask:#x}");
        }
    }

    #[test]
    fn only_a_plain_up_is_up() {
        for (status, up) in [
            ("UP", true),
            ("UP 1/2", false),
            ("DOWN", false),
            ("DOWN 1/2", false),
            ("NOLB", false),
            ("DRAIN", false),
            ("DOWN (agent)", false),
            ("MAINT", false),
            ("MAINT (via web/web-02)", false),
            ("no check", true),
            ("", false),
            ("UPSIDE", false),
        ] {
            assert_eq!(
                server([2, 0, 3, 6, 0], &format!("{status},{PASSING}")).up,
                up,
                "{status:?}"
            );
        }
        assert!(!server([0, 0, 0, 0, 0], "no check,2,,,,,,,").up, "it does not run");
    }

    #[test]
    fn healthy_is_a_passed_check_with_nothing_missing() {
        for (told, stat, healthy) in [
            ([2, 8, 3, 6, 0], "DRAIN,2,,L7OK,2,3,4,,", true),
            ([2, 8, 3, 7, 0], "DRAIN,2,,* L4OK,2,3,4,,", true),
            ([2, 8, 3, 6, 0], "DRAIN 1/2,2,,L7OK,2,3,3,,", false),
            ([2, 8, 2, 6, 0], "DRAIN,2,,L7OK,2,3,4,,", false),
            ([2, 8, 3, 6, 0], "DRAIN,2,,L7STS,2,3,4,,", false),
            ([2, 0, 4, 6, 0], "NOLB,2,,L7OKC,2,3,4,,", false),
            ([0, 1, 3, 14, 0], "MAINT,2,,,,,,,", false),
            ([2, 8, 0, 0, 0], "DRAIN,2,,,,,,,", true), // there is no check
            ([0, 8, 0, 0, 0], "DOWN,2,,,,,,,", false),
            ([2, 0, 0, 0, 0], "UP,2,web/web-01,,,,,,", false), // tracks itself
            ([2, 0, 0, 0, 0], "UP,2,web/nope,,,,,,", false),
        ] {
            assert_eq!(server(told, stat).healthy, healthy, "{told:?} {stat}");
        }
    }

    #[test]
    fn the_rest_is_taken_as_it_is() {
        let seen = server([2, 0, 3, 6, 23], &format!("UP,{PASSING}"));
        assert_eq!((seen.sessions, seen.queued, seen.total_sessions), (2, 1, 30));
        assert_eq!((seen.weight, seen.initial_weight), (100, 7));
        assert_eq!((seen.address.as_str(), seen.last_change_ms), ("127.0.0.1", 27_000));
        assert!(seen.agent, "0x17: enabled");
        assert!(!server([2, 0, 3, 6, 18], &format!("UP,{PASSING}")).agent, "0x12: disabled");
    }

    #[test]
    fn what_waits_in_a_backend_counts_for_each_of_its_servers() {
        let stat = format!(
            "{STAT_HEADER}web,a,1,2,0,UP,{PASSING}\nweb,b,0,0,0,UP,{PASSING}\nweb,BACKEND,5,2,0,UP,1,,,,,,\n\
             api,c,0,0,0,UP,{PASSING}\napi,d,0,4,0,UP,{PASSING}\napi,BACKEND,0,4,0,UP,1,,,,,,\n\n"
        );
        let load: Vec<_> = load(&stat)
            .unwrap()
            .into_iter()
            .map(|(key, n)| format!("{}/{} {n}", key.0, key.1))
            .collect();
        assert_eq!(load, ["api/d 4", "web/a 8", "web/b 5"]);
    }

    #[test]
    fn how_a_backend_balances_and_who_is_a_backup_is_read_where_it_is_told() {
        let header = "# pxname,svname,type,algo,bck,";
        let stat =
            format!("{header}\nweb,BACKEND,1,static-rr,0,\nweb,a,2,,1,\napi,BACKEND,1,,0,\n\n");
        let told: Vec<_> = balance(&stat).unwrap().into_iter().collect();
        assert_eq!(told, [("web".parse().unwrap(), "static-rr".to_owned())]);
        let silent = format!("{STAT_HEADER}web,BACKEND,5,2,9,UP,1,,,,,,\n\n");
        assert!(balance(&silent).unwrap().is_empty());
        let silent = server([2, 0, 3, 6, 0], &format!("UP,{PASSING}"));
        assert_eq!(silent.kind, ServerKind::Active);
    }

    #[test]
    fn a_table_that_is_cut_anywhere_is_not_read() {
        let state = format!("{STATE_HEADER}4 web 1 web-01 127.0.0.1 2 0 1 1 27 6 3 3 6 0 0\n\n");
        let stat = format!("{STAT_HEADER}web,web-01,0,0,0,UP,{PASSING}\n\n");
        assert_eq!(servers(&state, &stat).unwrap().len(), 1);
        for at in 0..state.len() {
            assert!(servers(&state[..at], &stat).is_err(), "{:?}", &state[..at]);
        }
        for at in 0..stat.len() {
            assert!(servers(&state, &stat[..at]).is_err(), "{:?}", &stat[..at]);
        }
    }

    #[test]
    fn a_row_without_its_type_is_not_skipped() {
        assert!(load("# pxname,svname,qcur,scur\nweb,web-01,0,7\n\n").is_err());
    }

    #[test]
    fn a_server_that_only_one_table_knows_makes_both_unreadable() {
        let state = format!("{STATE_HEADER}4 web 1 web-01 127.0.0.1 2 0 1 1 27 6 3 3 6 0 0\n\n");
        let stat = format!("{STAT_HEADER}web,web-02,0,0,0,UP,{PASSING}\n\n");
        assert!(matches!(servers(&state, &stat), Err(PortError::Garbled(_))));
    }

    proptest! {
        #[test]
        fn no_tables_make_it_panic(a in "(\\PC|\n| |[0-9]){0,60}", b in "(\\PC|\n|,|[0-9]){0,60}") {
            drop(servers(&format!("{STATE_HEADER}{a}\n\n"), &format!("{STAT_HEADER}{b}\n\n")));
            drop(load(&format!("{STAT_HEADER}{b}\n\n")));
            drop(servers(&a, &b));
        }
    }
}
