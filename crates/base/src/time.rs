//! Moments: seconds since 1970 as the command line gives them, Windows' FILETIME, and RFC 3339 text.
//!
//! No function here asks a clock: the moment of a run is chosen once, by the command line.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Seconds between 1601-01-01 (FILETIME's origin) and 1970-01-01.
const UNIX_EPOCH_IN_FILETIME_SECONDS: u64 = 11_644_473_600;

/// A moment in whole seconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Moment(pub u64);

impl Moment {
    /// Returns the same moment as a Windows FILETIME: 100 ns units since 1601-01-01 00:00 UTC.
    pub fn filetime(self) -> FileTime {
        FileTime(self.0.saturating_add(UNIX_EPOCH_IN_FILETIME_SECONDS).saturating_mul(10_000_000))
    }

    /// Parses what [`Display`](fmt::Display) writes, and no other spelling of it.
    pub fn parse(text: &str) -> Option<Self> {
        let number = |range: std::ops::Range<usize>| text.get(range)?.parse::<u64>().ok();
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        if !(1..=12).contains(&month) || year < 1970 {
            return None;
        }
        // Days from March, so that the leap day is a year's last one.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day;
        let seconds = days.checked_sub(719_469)? * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(Self(seconds)).filter(|moment| moment.to_string() == text)
    }

    /// Returns year, month and day in the proleptic Gregorian calendar.
    ///
    /// Source: the era-based conversion of days to civil dates (400-year eras of 146,097 days, years from March).
    pub fn date(self) -> (u64, u64, u64) {
        let days = self.0 / 86_400 + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        (year_of_era + era * 400 + u64::from(month <= 2), month, day)
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let second = self.0 % 86_400;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("this is no moment as RFC 3339 writes it in UTC"))
    }
}

/// A Windows FILETIME: 100 ns units since 1601-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct FileTime(pub u64);

impl FileTime {
    /// Returns the same moment in whole seconds since 1970, or `None` if it is earlier.
    pub fn moment(self) -> Option<Moment> {
        (self.0 / 10_000_000).checked_sub(UNIX_EPOCH_IN_FILETIME_SECONDS).map(Moment)
    }
}

impl fmt::Display for FileTime {
    /// Writes RFC 3339 to the second, or the bare number for a time outside 1970 to 9999.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.moment().filter(|moment| moment.date().0 < 10_000) {
            Some(moment) => moment.fmt(f),
            None => write!(f, "{:#x}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_print_as_rfc_3339_also_around_leap_days() {
        assert_eq!(Moment(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Moment(951_782_399).to_string(), "2000-02-28T23:59:59Z");
        assert_eq!(Moment(951_782_400).to_string(), "2000-02-29T00:00:00Z");
        assert_eq!(Moment(1_735_689_599).to_string(), "2024-12-31T23:59:59Z");
    }

    #[test]
    fn printed_moments_are_parsed_and_nothing_else_is() {
        for seconds in [0, 951_782_399, 951_782_400, 1_735_689_599, 1_767_225_600, 253_402_300_799] {
            assert_eq!(Moment::parse(&Moment(seconds).to_string()), Some(Moment(seconds)));
        }
        for text in [
            "",
            "2026-01-01",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01 00:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(Moment::parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_unix_epoch_has_its_documented_filetime() {
        assert_eq!(Moment(0).filetime(), FileTime(116_444_736_000_000_000));
        assert_eq!(FileTime(116_444_736_019_999_999).moment(), Some(Moment(1)));
        assert_eq!(FileTime(116_444_735_999_999_999).moment(), None);
    }
}
