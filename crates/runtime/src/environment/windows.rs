//! Which freeze windows are on, and which come: the one place that knows what a time zone is.
//!
//! Clocks are turned twice a year. A window that begins or ends at a time that does not exist, or exists twice, is
//! taken at its longest: it begins at the earlier moment and ends at the later one. Windows of one kind that touch are
//! one occurrence. A zone that this machine does not know makes the window count as on: nothing is started on a guess.

use jiff::civil::{Date, DateTime, Weekday as Day};
use jiff::tz::TimeZone;
use serin_model::{Environment, FreezeWindow, Held, HeldBy, Timestamp, Weekday, WindowTime};
use std::time::Duration;

/// Who is answerable for windows: people who wrote the configuration.
const OWNER: &str = "serin.toml";

/// How far back the beginning of a weekly window that is on now can be. No window holds a whole week.
const LOOK_BACK: Duration = Duration::from_hours(8 * 24);

/// Minutes of a day.
const DAY: u16 = 1440;

/// One time that a window is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Occurrence {
    from: Timestamp,
    to: Timestamp,
}

/// Says that a time zone is not known on this machine.
struct UnknownZone;

/// Returns the windows of an environment that are on at a time.
pub fn on(environment: &Environment, now: Timestamp) -> Vec<Held> {
    let window = |window: &FreezeWindow| match occurrences(&window.when, (now, now)) {
        Ok(all) => {
            let on = all.into_iter().find(|one| one.from <= now && now < one.to);
            on.map(|one| held(environment, window, one))
        }
        Err(UnknownZone) => Some(unknown(environment, window)),
    };
    environment.freeze.iter().filter_map(window).collect()
}

/// Returns the windows of an environment that begin within a time from now, with when they begin.
pub fn ahead(
    environment: &Environment,
    now: Timestamp,
    within: Duration,
) -> Vec<(Timestamp, Held)> {
    let end = now.plus(within);
    let window = |window: &FreezeWindow| {
        let all = occurrences(&window.when, (now, end)).unwrap_or_default();
        let coming = all.into_iter().filter(|one| now < one.from && one.from <= end);
        coming.map(|one| (one.from, held(environment, window, one))).collect::<Vec<_>>()
    };
    let mut coming: Vec<_> = environment.freeze.iter().flat_map(window).collect();
    coming.sort_by_key(|(from, _)| *from);
    coming
}

fn held(environment: &Environment, window: &FreezeWindow, one: Occurrence) -> Held {
    Held {
        environment: environment.name.clone(),
        fleet: None,
        by: HeldBy::Window { from: one.from },
        owner: OWNER.to_owned(),
        reason: window.reason.clone(),
        until: Some(one.to),
        mid_run: window.mid_run,
    }
}

fn unknown(environment: &Environment, window: &FreezeWindow) -> Held {
    let never = Timestamp::from_millis(0);
    let reason = format!("{} (its time zone is not known here, so it counts as on)", window.reason);
    let one = held(environment, window, Occurrence { from: never, to: never });
    Held { until: None, reason, ..one }
}

/// Returns when a window is on in a stretch of time, in order; what touches is one.
fn occurrences(
    when: &WindowTime,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<Occurrence>, UnknownZone> {
    let (days, starts, ends, zone) = match when {
        WindowTime::Once { from, to } => return Ok(vec![Occurrence { from: *from, to: *to }]),
        WindowTime::Weekly { days, from, to, zone } => (days, *from, *to, zone),
    };
    let zone = TimeZone::get(zone).map_err(|_unknown| UnknownZone)?;
    let back = from.as_millis().saturating_sub(millis(LOOK_BACK));
    let first = date(&zone, Timestamp::from_millis(back)).ok_or(UnknownZone)?;
    let last = date(&zone, to.plus(Duration::from_hours(8 * 24))).ok_or(UnknownZone)?;
    let mut all: Vec<Occurrence> = Vec::new();
    for date in first.series(jiff::Span::new().days(1)).take_while(|date| *date <= last) {
        if !days.iter().any(|day| weekday(*day) == date.weekday()) {
            continue;
        }
        let ends_on = if ends <= starts { date.tomorrow().ok() } else { Some(date) };
        let begins = moment(&zone, date, starts, Side::Earlier);
        let over = ends_on.and_then(|date| moment(&zone, date, ends, Side::Later));
        let (Some(from), Some(to)) = (begins, over) else { continue };
        match all.last_mut() {
            Some(before) if from <= before.to => before.to = before.to.max(to),
            Some(_) | None => all.push(Occurrence { from, to }),
        }
    }
    Ok(all)
}

#[derive(Clone, Copy)]
enum Side {
    Earlier,
    Later,
}

/// Returns the moment of a time of day, or the one beside it where clocks leave it out.
fn moment(zone: &TimeZone, date: Date, minutes: u16, side: Side) -> Option<Timestamp> {
    let (date, minutes) = if minutes == DAY { (date.tomorrow().ok()?, 0) } else { (date, minutes) };
    let hour = i8::try_from(minutes / 60).ok()?;
    let minute = i8::try_from(minutes % 60).ok()?;
    let civil: DateTime = date.at(hour, minute, 0, 0);
    let ambiguous = zone.to_ambiguous_timestamp(civil);
    let at = match side {
        Side::Earlier => ambiguous.earlier(),
        Side::Later => ambiguous.later(),
    };
    u64::try_from(at.ok()?.as_millisecond()).ok().map(Timestamp::from_millis)
}

fn date(zone: &TimeZone, at: Timestamp) -> Option<Date> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.as_millis()).ok()?).ok()?;
    Some(zone.to_datetime(at).date())
}

fn weekday(day: Weekday) -> Day {
    match day {
        Weekday::Monday => Day::Monday,
        Weekday::Tuesday => Day::Tuesday,
        Weekday::Wednesday => Day::Wednesday,
        Weekday::Thursday => Day::Thursday,
        Weekday::Friday => Day::Friday,
        Weekday::Saturday => Day::Saturday,
        Weekday::Sunday => Day::Sunday,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serin_model::MidRun;
    use std::collections::BTreeMap;

    fn at(text: &str) -> Timestamp {
        let at: jiff::Timestamp = text.parse().unwrap();
        Timestamp::from_millis(u64::try_from(at.as_millisecond()).unwrap())
    }

    fn environment(when: WindowTime) -> Environment {
        let reason = "nobody is on call".to_owned();
        Environment {
            name: "production".parse().unwrap(),
            load_balancers: BTreeMap::new(),
            fleets: BTreeMap::new(),
            config_management: None,
            alerts: None,
            qa: BTreeMap::new(),
            freeze: vec![FreezeWindow { reason, when, mid_run: MidRun::NextStage }],
            overriding: serin_model::Overriding::OnePerson,
        }
    }

    fn weekly(days: &[Weekday], from: u16, to: u16, zone: &str) -> Environment {
        let (days, zone) = (days.to_vec(), zone.to_owned());
        environment(WindowTime::Weekly { days, from, to, zone })
    }

    /// When a window that is on at a time begins and ends.
    fn seen(environment: &Environment, now: &str) -> Option<(String, String)> {
        let held = on(environment, at(now)).pop()?;
        let HeldBy::Window { from } = held.by else { panic!("{held:?}") };
        Some((from.utc().to_string(), held.until.unwrap().utc().to_string()))
    }

    fn text(from: &str, to: &str) -> (String, String) {
        (format!("{from} UTC"), format!("{to} UTC"))
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let friday = weekly(&[Weekday::Friday], 18 * 60, 8 * 60, "UTC");
        assert_eq!(seen(&friday, "2026-11-27T17:59:59Z"), None);
        let night = Some(text("2026-11-27 18:00", "2026-11-28 08:00"));
        assert_eq!(seen(&friday, "2026-11-27T18:00:00Z"), night);
        assert_eq!(seen(&friday, "2026-11-28T07:59:59Z"), night);
        assert_eq!(seen(&friday, "2026-11-28T08:00:00Z"), None);
    }

    #[test]
    fn days_that_touch_are_one_window_with_one_end() {
        let weekend = weekly(&[Weekday::Saturday, Weekday::Sunday], 0, DAY, "Europe/Berlin");
        let whole = Some(text("2026-11-27 23:00", "2026-11-29 23:00"));
        assert_eq!(seen(&weekend, "2026-11-27T23:00:00Z"), whole);
        assert_eq!(seen(&weekend, "2026-11-29T22:59:00Z"), whole);
        assert_eq!(seen(&weekend, "2026-11-29T23:00:00Z"), None);
    }

    #[test]
    fn a_time_that_clocks_leave_out_or_show_twice_makes_a_window_longer_never_shorter() {
        // In Berlin, 02:30 did not exist on 2026-03-29, and came twice on 2026-10-25.
        let ends = weekly(&[Weekday::Sunday], 60, 150, "Europe/Berlin");
        assert_eq!(
            seen(&ends, "2026-03-29T00:30:00Z"),
            Some(text("2026-03-29 00:00", "2026-03-29 01:30"))
        );
        assert_eq!(
            seen(&ends, "2026-10-25T00:45:00Z"),
            Some(text("2026-10-24 23:00", "2026-10-25 01:30"))
        );
        let begins = weekly(&[Weekday::Sunday], 150, 300, "Europe/Berlin");
        assert_eq!(
            seen(&begins, "2026-03-29T01:00:00Z"),
            Some(text("2026-03-29 00:30", "2026-03-29 03:00"))
        );
        assert_eq!(
            seen(&begins, "2026-10-25T02:00:00Z"),
            Some(text("2026-10-25 00:30", "2026-10-25 04:00"))
        );
    }

    #[test]
    fn a_zone_that_is_not_known_counts_as_on() {
        let odd = weekly(&[Weekday::Sunday], 0, 60, "Europe/Nowhere");
        let held = on(&odd, at("2026-11-25T12:00:00Z"));
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].until, None);
        assert!(held[0].reason.contains("not known here"), "{held:?}");
    }

    #[test]
    fn what_comes_within_a_time_is_listed_once_with_its_beginning() {
        let friday = weekly(&[Weekday::Friday], 18 * 60, 8 * 60, "UTC");
        let ahead = |now: &str, hours| {
            let coming = ahead(&friday, at(now), Duration::from_hours(hours));
            coming.into_iter().map(|(from, _)| from.utc().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ahead("2026-11-27T10:00:00Z", 24), ["2026-11-27 18:00 UTC"]);
        assert_eq!(ahead("2026-11-27T10:00:00Z", 7), [""; 0]);
        assert_eq!(ahead("2026-11-27T18:00:00Z", 24), [""; 0]);
        let (from, to) = (at("2026-12-23T18:00:00Z"), at("2027-01-04T08:00:00Z"));
        let once = environment(WindowTime::Once { from, to });
        assert_eq!(
            seen(&once, "2026-12-31T00:00:00Z"),
            Some(text("2026-12-23 18:00", "2027-01-04 08:00"))
        );
        assert_eq!(seen(&once, "2027-01-04T08:00:00Z"), None);
    }
}
