//! When a pipeline runs: a cron expression or a rate. Parses, explains and converts it for external schedulers.
//!
//! Expressions are the five fields of a crontab, or what EC2 Image Builder takes: `cron(0 3 ? * MON *)` and
//! `rate(7 days)`. All times are UTC. Coldforge itself schedules nothing.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use croner::Cron;
use croner::parser::CronParser;

use coldforge_base::time::Moment;

const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];

/// A schedule.
#[derive(Clone, Debug)]
pub struct Schedule {
    text: String,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Minute, hour, day of the month, month, day of the week, as a crontab has them.
    Cron {
        fields: [String; 5],
        cron: Box<Cron>,
    },
    Rate {
        minutes: u64,
    },
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let of = |kind| Ok(Self { text: text.to_owned(), kind });
        if let Some(rate) = text.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')')) {
            return of(Kind::Rate { minutes: minutes(rate)? });
        }
        let fields = match text.strip_prefix("cron(").and_then(|rest| rest.strip_suffix(')')) {
            Some(inner) => of_six(inner)?,
            None => {
                let fields: Vec<String> = text.split_whitespace().map(str::to_ascii_uppercase).collect();
                fields.try_into().map_err(|_| "expected five fields, cron(...) with six, or rate(...)".to_owned())?
            }
        };
        let fields = fields.map(|field| field.split(',').map(single).collect::<Vec<_>>().join(","));
        let [.., day, _, weekday] = &fields;
        // Some take either day, and some both.
        if (day.starts_with("*/") && weekday != "*") || (weekday.starts_with("*/") && day != "*") {
            return Err(
                "a step of every day beside the other kind of day means one thing here and another there".into()
            );
        }
        let cron = CronParser::new().parse(&fields.join(" ")).map_err(|error| error.to_string())?;
        of(Kind::Cron { fields, cron: Box::new(cron) })
    }

    /// Says it in words.
    pub fn describe(&self) -> String {
        match &self.kind {
            Kind::Cron { cron, .. } => format!("{} (UTC)", cron.describe().trim_end_matches('.')),
            Kind::Rate { minutes } => match (minutes / 1440, minutes / 60, minutes % 1440, minutes % 60) {
                (days, _, 0, _) => format!("Every {days} days"),
                (_, hours, _, 0) => format!("Every {hours} hours"),
                _ => format!("Every {minutes} minutes"),
            },
        }
    }

    /// Returns the next runs after this moment; those of a rate as if it began now.
    pub fn next(&self, after: Moment, count: usize) -> Vec<Moment> {
        match &self.kind {
            Kind::Rate { minutes } => {
                let step = minutes.saturating_mul(60);
                (1..=count as u64).map(|turn| Moment(after.0.saturating_add(step.saturating_mul(turn)))).collect()
            }
            Kind::Cron { cron, .. } => {
                let start = i64::try_from(after.0).ok().and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
                let Some(start) = start else { return Vec::new() };
                let moments = cron.iter_after(start).take(count);
                moments.filter_map(|moment| u64::try_from(moment.timestamp()).ok()).map(Moment).collect()
            }
        }
    }

    /// Returns the lines of a systemd timer's section `[Timer]`.
    ///
    /// # Errors
    /// What systemd has no words for.
    pub fn timer(&self) -> Result<Vec<String>, &'static str> {
        let fields = match &self.kind {
            Kind::Rate { minutes } => {
                return Ok(vec!["OnBootSec=15min".into(), format!("OnUnitActiveSec={minutes}min")]);
            }
            Kind::Cron { fields, .. } => fields,
        };
        let [minute, hour, day, month, weekday] = fields;
        let [minute, hour, day] = [(minute, 0), (hour, 0), (day, 1)].map(|(field, first)| calendar(field, first));
        let (minute, hour, day) = (minute?, hour?, day?);
        let month = calendar(&numbered(month, &MONTHS, 1), 1)?;
        let line = |weekdays: &str, day: &str| format!("OnCalendar={weekdays}*-{month}-{day} {hour}:{minute}:00 UTC");
        let persistent = "Persistent=true".to_owned();
        if weekday == "*" {
            return Ok(vec![line("", &day), persistent]);
        }
        let weekdays = format!("{} ", weekdays(weekday)?.join(","));
        // In a crontab either of the two days is enough.
        Ok(match day.as_str() {
            "*" => vec![line(&weekdays, "*"), persistent],
            _ => vec![line(&weekdays, "*"), line("", &day), persistent],
        })
    }

    /// Returns the five fields of a crontab, which CI systems take.
    ///
    /// # Errors
    /// What a crontab has no words for.
    pub fn crontab(&self) -> Result<String, &'static str> {
        match &self.kind {
            Kind::Cron { fields, .. } if fields.iter().any(|field| is_special(field)) => Err(SPECIAL),
            Kind::Cron { fields, .. } => {
                let [minute, hour, day, month, weekday] = fields;
                let weekday = match weekday.as_str() {
                    "*" => weekday.clone(),
                    _ => weekdays(weekday)?.join(",").to_ascii_uppercase(),
                };
                let month = numbered(month, &MONTHS, 1);
                Ok([minute, hour, day, &month, &weekday].map(String::as_str).join(" "))
            }
            Kind::Rate { minutes: 1440 } => Ok("0 0 * * *".to_owned()),
            Kind::Rate { minutes: 60 } => Ok("0 * * * *".to_owned()),
            Kind::Rate { minutes } if *minutes < 60 && 60 % minutes == 0 => Ok(format!("*/{minutes} * * * *")),
            Kind::Rate { minutes } if *minutes < 1440 && minutes % 60 == 0 && 1440 % minutes == 0 => {
                Ok(format!("0 */{} * * *", minutes / 60))
            }
            Kind::Rate { .. } => {
                Err("a CI system counts from the clock: write a cron expression in place of this rate")
            }
        }
    }
}

const SPECIAL: &str = "L, W and # are not known there: name the days";

/// Returns the minutes of `7 days`.
fn minutes(rate: &str) -> Result<u64, String> {
    let (number, unit) = rate.split_once(' ').ok_or("expected rate(NUMBER UNIT)")?;
    let number: u64 =
        number.parse().ok().filter(|number| (1..10_000).contains(number)).ok_or("the number of a rate is 1 to 9999")?;
    let factor = match (unit, number) {
        ("minute", 1) | ("minutes", 2..) => 1,
        ("hour", 1) | ("hours", 2..) => 60,
        ("day", 1) | ("days", 2..) => 1440,
        _ => return Err("the unit is minute, hour or day for 1, minutes, hours or days for more".to_owned()),
    };
    Ok(number.saturating_mul(factor))
}

/// Returns the five fields of a crontab for the six of Image Builder: its days of the week count from 1 for Sunday, and
/// one of the two days says nothing.
fn of_six(inner: &str) -> Result<[String; 5], String> {
    let fields: Vec<String> = inner.split(' ').map(str::to_ascii_uppercase).collect();
    let fields: [String; 6] = fields.try_into().map_err(|_| "cron(...) has six fields with one space between")?;
    let [minute, hour, day, month, weekday, year] = fields;
    if year != "*" {
        return Err("the year is *: a schedule does not end".to_owned());
    }
    if (day == "?") == (weekday == "?") {
        return Err("exactly one of the day of the month and the day of the week is ?".to_owned());
    }
    let opened =
        |field: &str, last: u32| field.split(',').map(|part| bounded(part, last)).collect::<Vec<_>>().join(",");
    let [minute, hour, day] = [(&minute, 59), (&hour, 23), (&day, 31)].map(|(field, last)| opened(field, last));
    let [month, weekday] = [(&month, 12), (&weekday, 7)].map(|(field, last)| opened(field, last));
    let weekday = match weekday.as_str() {
        "?" => "*".to_owned(),
        other => {
            other.split(',').map(renumbered).collect::<Option<Vec<_>>>().ok_or("a day of the week is 1 to 7")?.join(",")
        }
    };
    Ok([minute, hour, if day == "?" { "*".to_owned() } else { day }, month, weekday])
}

/// Returns a part of a field; a range of one is that one, which some take for a whole turn.
fn single(part: &str) -> String {
    let (range, _) = part.split_once('/').unwrap_or((part, ""));
    let number = |name: &str| numbered(&numbered(name, &DAYS, 0), &MONTHS, 1);
    match range.split_once('-') {
        Some((from, to)) if number(from) == number(to) => from.to_owned(),
        _ => part.to_owned(),
    }
}

/// Returns a part of a field with its end where only its start and its step are given, which crontabs do not accept.
fn bounded(part: &str, last: u32) -> String {
    match part.split_once('/') {
        Some((start, step)) if start != "*" && !start.contains('-') => format!("{start}-{last}/{step}"),
        _ => part.to_owned(),
    }
}

/// Returns a part of the days of the week with names for the numbers of Image Builder.
fn renumbered(part: &str) -> Option<String> {
    let (days, tail) = match part.find(['#', '/']) {
        Some(at) => part.split_at(at),
        None => (part, ""),
    };
    let day = |day: &str| match day.strip_suffix('L').unwrap_or(day).parse::<usize>() {
        Ok(number) => {
            let name = DAYS.get(number.checked_sub(1)?)?;
            Some(if day.ends_with('L') { format!("{name}L") } else { (*name).to_owned() })
        }
        Err(_) => Some(day.to_owned()),
    };
    let days: Option<Vec<String>> = days.split('-').map(day).collect();
    Some(format!("{}{tail}", days?.join("-")))
}

fn is_special(field: &str) -> bool {
    let mut field = field.to_owned();
    for name in DAYS.iter().chain(&MONTHS) {
        field = field.replace(name, "");
    }
    field.contains(['L', 'W', '#', '?'])
}

/// Returns a field with numbers for names.
fn numbered(field: &str, names: &[&str], first: usize) -> String {
    let mut field = field.to_owned();
    for (number, name) in (first..).zip(names) {
        field = field.replace(name, &number.to_string());
    }
    field
}

/// Returns a field as a calendar event of systemd has it.
fn calendar(field: &str, first: u32) -> Result<String, &'static str> {
    if is_special(field) {
        return Err(SPECIAL);
    }
    let part = |part: &str| match part.strip_prefix("*/") {
        Some(step) => format!("{first}/{step}"),
        None => part.replace('-', ".."),
    };
    Ok(match field {
        "*" => "*".to_owned(),
        field => field.split(',').map(part).collect::<Vec<_>>().join(","),
    })
}

/// Returns the days of the week that a field of a crontab means.
fn weekdays(field: &str) -> Result<Vec<String>, &'static str> {
    if is_special(field) {
        return Err(SPECIAL);
    }
    const WRONG: &str = "a day of the week cannot be read";
    let mut found = BTreeSet::new();
    for part in numbered(field, &DAYS, 0).split(',') {
        let (range, step) = part.split_once('/').unwrap_or((part, "1"));
        let step: usize = step.parse().ok().filter(|step| *step > 0).ok_or(WRONG)?;
        let (from, to) = match range {
            "*" => ("0", "6"),
            range => range.split_once('-').unwrap_or((range, range)),
        };
        let (from, mut to): (usize, usize) = (from.parse().map_err(|_| WRONG)?, to.parse().map_err(|_| WRONG)?);
        if to < from {
            to = to.checked_add(DAYS.len()).ok_or(WRONG)?;
        }
        // Sunday is both 0 and 7.
        found.extend((from..=to).step_by(step).map(|day| day % 7));
    }
    let name = |day: &usize| DAYS.get(*day).map(|name| format!("{}{}", &name[..1], name[1..].to_ascii_lowercase()));
    found.iter().map(|day| name(day).ok_or(WRONG)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timer(text: &str) -> Vec<String> {
        Schedule::parse(text).unwrap().timer().unwrap()
    }

    #[test]
    fn the_words_of_image_builder_and_of_a_crontab_mean_the_same() {
        let monday = ["OnCalendar=Mon *-*-* 3:0:00 UTC", "Persistent=true"];
        for text in ["cron(0 3 ? * MON *)", "cron(0 3 ? * 2 *)", "0 3 * * 1", "0 3 * * mon"] {
            assert_eq!(timer(text), monday, "{text}");
        }
        assert_eq!(timer("*/15 8-17 1 JAN,JUL *")[0], "OnCalendar=*-1,7-1 8..17:0/15:00 UTC");
        assert_eq!(timer("0 0 1 * SUN").len(), 3, "either day is enough");
        assert_eq!(timer("0 0 * * 5-7")[0], "OnCalendar=Sun,Fri,Sat *-*-* 0:0:00 UTC");
        assert_eq!(
            timer("cron(0/20 5/6 ? JAN/6 FRI-SUN *)")[0],
            "OnCalendar=Sun,Fri,Sat *-1..12/6-* 5..23/6:0..59/20:00 UTC"
        );
        assert_eq!(Schedule::parse("0 3 * JAN-3 FRI-7").unwrap().crontab(), Ok("0 3 * 1-3 SUN,FRI,SAT".to_owned()));
        assert_eq!(timer("cron(0 3 ? 8-AUG SUN-1 *)")[0], "OnCalendar=Sun *-8-* 3:0:00 UTC");
        assert_eq!(timer("rate(7 days)")[1], "OnUnitActiveSec=10080min");
    }

    #[test]
    fn the_next_moments_are_those_of_the_expression() {
        let now = Moment::parse("2026-01-01T00:00:00Z").unwrap();
        let next: Vec<String> =
            Schedule::parse("cron(30 3 ? * MON *)").unwrap().next(now, 2).iter().map(ToString::to_string).collect();
        assert_eq!(next, ["2026-01-05T03:30:00Z", "2026-01-12T03:30:00Z"]);
        let next = Schedule::parse("rate(1 day)").unwrap().next(now, 1);
        assert_eq!(next[0].to_string(), "2026-01-02T00:00:00Z");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in [
            "",
            "0 3 * *",
            "61 3 * * *",
            "cron(0 3 * * MON *)",
            "cron(0 3 ? * ? *)",
            "cron(0 3 ? * MON 2027)",
            "cron(0 3 ? * 8 *)",
            "rate(1 days)",
            "rate(2 day)",
            "rate(0 minutes)",
            "rate(x days)",
            "@daily",
            "0 0 */2 * MON",
        ] {
            assert!(Schedule::parse(text).is_err(), "{text}");
        }
        let last = Schedule::parse("cron(0 3 L * ? *)").unwrap();
        assert!(last.timer().is_err() && last.crontab().is_err());
        assert_eq!(Schedule::parse("rate(2 hours)").unwrap().crontab(), Ok("0 */2 * * *".to_owned()));
        assert!(Schedule::parse("rate(7 days)").unwrap().crontab().is_err());
    }
}
