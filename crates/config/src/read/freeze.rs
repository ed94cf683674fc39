//! `[[environments.*.freeze]]`: windows in which no run is started.
//!
//! Windows that come every week must not overlap each other, nor must those that come once: one of the two would be a
//! mistake, or its reason would never be read. A window that comes once may lie over weekly ones, as holidays do.

use super::Reader;
use crate::at::{At, Text};
use crate::raw::{RawDay, RawFreeze, RawMidRun};
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use serin_model::{FreezeWindow, MidRun, Timestamp, Weekday, WindowTime};
use std::ops::Range;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// Minutes of a week.
const WEEK: i32 = 7 * 24 * 60;

/// A winter and a summer day, in seconds since 1970: the distance of two zones is one of those that it has on them.
const WINTER_AND_SUMMER: [i64; 2] = [1_768_435_200, 1_784_073_600];

/// How the end of a day is written.
const END: &str = "24:00";

/// The zone of a window that names none.
const ZONE: &str = "UTC";

/// Reads the freeze windows of an environment.
pub(super) fn windows(reader: &mut Reader, raw: &[At<RawFreeze>]) -> Vec<FreezeWindow> {
    let mut known: Vec<(Range<usize>, WindowTime)> = Vec::new();
    let mut windows = Vec::new();
    for written in raw {
        let raw = written.get();
        let reason = reader.not_empty(&raw.reason, "why nothing is to be started then");
        let when = match &raw.days {
            Some(days) => weekly(reader, raw, days),
            None => once(reader, raw),
        };
        let (Some(reason), Some(when)) = (reason, when) else { continue };
        if let Some((span, _)) = known.iter().find(|(_, other)| overlap(other, &when)) {
            let message = "this window overlaps another one".to_owned();
            let help = "make one of them end where the other begins, or keep only one";
            reader.wrong_with(raw.from.span(), message, help, (span.clone(), "the other one"));
        }
        known.push((raw.from.span(), when.clone()));
        let mid_run = match raw.mid_run {
            Some(RawMidRun::Halt) => MidRun::Halt,
            Some(RawMidRun::NextStage) | None => MidRun::NextStage,
        };
        windows.push(FreezeWindow { reason, when, mid_run });
    }
    windows
}

fn weekly(
    reader: &mut Reader,
    raw: &RawFreeze,
    written: &At<Vec<At<RawDay>>>,
) -> Option<WindowTime> {
    let mut days: Vec<Weekday> = Vec::new();
    for day in written.get() {
        let read = weekday(*day.get());
        if days.contains(&read) {
            reader.wrong(day.span(), "this day is in the list twice", "remove one of them");
        } else {
            days.push(read);
        }
    }
    if days.is_empty() {
        let help = "name the days on which it begins, such as `[\"fri\"]`, or leave `days` out";
        reader.wrong(written.span(), "this window begins on no day", help);
        return None;
    }
    let from = time_of_day(reader, &raw.from);
    let to = if raw.to.get() == END { Some(DAY) } else { time_of_day(reader, &raw.to) };
    let (_, zone) = zone(reader, raw.zone.as_ref())?;
    let (from, to) = (from?, to?);
    if from == to {
        let help = "write an end after the beginning; the end of the day is `24:00`";
        reader.wrong(raw.to.span(), "this window is empty", help);
        return None;
    }
    let when = WindowTime::Weekly { days, from, to, zone };
    if covers_the_week(&when) {
        let help = "leave some time open, or use `serin hold place`, which has no end";
        reader.wrong(raw.from.span(), "this window never ends", help);
        return None;
    }
    Some(when)
}

fn once(reader: &mut Reader, raw: &RawFreeze) -> Option<WindowTime> {
    let from = date_and_time(reader, &raw.from);
    let to = date_and_time(reader, &raw.to);
    let (zone, _) = zone(reader, raw.zone.as_ref())?;
    // Where clocks leave a time out, or show it twice, the window is taken at its longest.
    let begins = zone.to_ambiguous_timestamp(from?).earlier().ok().and_then(timestamp);
    let ends = zone.to_ambiguous_timestamp(to?).later().ok().and_then(timestamp);
    let (Some(from), Some(to)) = (begins, ends) else {
        let help = "write a date of this century";
        reader.wrong(raw.from.span(), "this window is before or after all time", help);
        return None;
    };
    if to <= from {
        let help = "write an end after the beginning";
        reader.wrong(raw.to.span(), "this window is empty", help);
        return None;
    }
    Some(WindowTime::Once { from, to })
}

fn timestamp(at: jiff::Timestamp) -> Option<Timestamp> {
    u64::try_from(at.as_millisecond()).ok().map(Timestamp::from_millis)
}

fn time_of_day(reader: &mut Reader, text: &Text) -> Option<u16> {
    let plain = text.get().len() == 5 && text.get().as_bytes().get(2) == Some(&b':');
    let time = plain.then(|| Time::strptime("%H:%M", text.get()).ok()).flatten();
    let Some(time) = time else {
        let message = format!("`{}` is not a time of day", text.get());
        let help = "write hours and minutes, such as `18:00`; with `days` there is no date";
        reader.wrong(text.span(), message, help);
        return None;
    };
    let minutes = i16::from(time.hour()) * 60 + i16::from(time.minute());
    u16::try_from(minutes).ok()
}

fn date_and_time(reader: &mut Reader, text: &Text) -> Option<DateTime> {
    let read = DateTime::strptime("%Y-%m-%dT%H:%M", text.get()).ok();
    if read.is_none() {
        let message = format!("`{}` is not a date and a time", text.get());
        let help = "write, say, `2026-12-23T18:00`; a window that comes every week needs `days`";
        reader.wrong(text.span(), message, help);
    }
    read
}

fn zone(reader: &mut Reader, text: Option<&Text>) -> Option<(TimeZone, String)> {
    let Some(text) = text else { return Some((TimeZone::UTC, ZONE.to_owned())) };
    let Ok(zone) = TimeZone::get(text.get()) else {
        let message = format!("there is no time zone `{}` on this machine", text.get());
        let help = "write it as in /usr/share/zoneinfo (package tzdata), such as `Europe/Berlin`";
        reader.wrong(text.span(), message, help);
        return None;
    };
    Some((zone, text.get().clone()))
}

fn weekday(day: RawDay) -> Weekday {
    match day {
        RawDay::Mon => Weekday::Monday,
        RawDay::Tue => Weekday::Tuesday,
        RawDay::Wed => Weekday::Wednesday,
        RawDay::Thu => Weekday::Thursday,
        RawDay::Fri => Weekday::Friday,
        RawDay::Sat => Weekday::Saturday,
        RawDay::Sun => Weekday::Sunday,
    }
}

/// A day's windows are shorter than a day but for whole days: only those can leave no minute of the week.
fn covers_the_week(when: &WindowTime) -> bool {
    matches!(when, WindowTime::Weekly { days, from: 0, to: DAY, .. } if days.len() == 7)
}

/// Tells whether two windows of one kind are on at the same time.
fn overlap(one: &WindowTime, other: &WindowTime) -> bool {
    match (one, other) {
        (WindowTime::Once { from, to }, WindowTime::Once { from: other_from, to: other_to }) => {
            from < other_to && other_from < to
        }
        (WindowTime::Weekly { .. }, WindowTime::Weekly { .. }) => {
            WINTER_AND_SUMMER.into_iter().any(|day| {
                let (one, other) = (minutes(one, day), minutes(other, day));
                one.iter().any(|one| other.iter().any(|other| meet(*one, *other)))
            })
        }
        (WindowTime::Once { .. }, WindowTime::Weekly { .. })
        | (WindowTime::Weekly { .. }, WindowTime::Once { .. }) => false,
    }
}

/// Returns when a weekly window is on, in minutes of a week in UTC, with the clocks of a day.
fn minutes(when: &WindowTime, day: i64) -> Vec<(i32, i32)> {
    let WindowTime::Weekly { days, from, to, zone } = when else { return Vec::new() };
    let offset = TimeZone::get(zone).ok().zip(jiff::Timestamp::from_second(day).ok());
    let offset = offset.map_or(0, |(zone, at)| zone.to_offset(at).seconds() / 60);
    let (from, to) = (i32::from(*from), i32::from(*to));
    let length = if to <= from { to + i32::from(DAY) - from } else { to - from };
    let start = |day: &Weekday| {
        let start = number(*day) * i32::from(DAY) + from - offset;
        let start = start.rem_euclid(WEEK);
        (start, start + length)
    };
    days.iter().map(start).collect()
}

/// Tells whether two stretches of a week that comes again and again meet.
fn meet(one: (i32, i32), other: (i32, i32)) -> bool {
    [-WEEK, 0, WEEK].into_iter().any(|week| one.0 < other.1 + week && other.0 + week < one.1)
}

fn number(day: Weekday) -> i32 {
    match day {
        Weekday::Monday => 0,
        Weekday::Tuesday => 1,
        Weekday::Wednesday => 2,
        Weekday::Thursday => 3,
        Weekday::Friday => 4,
        Weekday::Saturday => 5,
        Weekday::Sunday => 6,
    }
}
