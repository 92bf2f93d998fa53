//! Times in text: RFC 3339.
//!
//! Written by hand, as it runs once per event and the agent's size counts; the tests hold it against `jiff`.

use std::fmt::{self, Write};
use std::str::FromStr;

use afferent_protocol::ids::Timestamp;
use serde::Deserialize;

/// Microseconds of a day.
pub const DAY_US: i64 = 86_400_000_000;

/// Minutes that local time is ahead of UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Zone(i64);

impl Zone {
    /// UTC itself.
    pub const UTC: Self = Self(0);

    /// Minutes that its local time is ahead of UTC.
    pub const fn minutes_ahead(self) -> i64 {
        self.0
    }
}

/// The text is not a zone.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the zone {0:?} is unknown; write UTC or an offset such as +02:00 (names such as Europe/Rome are not supported: \
     there is no table of them)"
)]
pub struct ZoneError(String);

impl FromStr for Zone {
    type Err = ZoneError;

    fn from_str(text: &str) -> Result<Self, ZoneError> {
        let minutes = if text == "UTC" { Some(0) } else { offset(text.as_bytes()) };
        minutes.map(Self).ok_or_else(|| ZoneError(text.to_owned()))
    }
}

impl TryFrom<String> for Zone {
    type Error = ZoneError;

    fn try_from(text: String) -> Result<Self, ZoneError> {
        text.parse()
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("UTC");
        }
        let (sign, ahead) = (if self.0 < 0 { '-' } else { '+' }, self.0.abs());
        write!(f, "{sign}{:02}:{:02}", ahead / 60, ahead % 60)
    }
}

/// Reads `2021-09-13T23:54:31.25Z` or with an offset as `+02:00` (RFC 3339, section 5.6); without either it is a time
/// of `zone`, and refused where that is none. Fractions are cut to microseconds. A leap second is the last microsecond
/// before it: so it comes behind all that it follows. `None` for anything else, and outside of 1970 to 9999.
pub fn parse(text: &str, zone: Option<Zone>) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |at: usize, digits: usize| number(bytes.get(at..at + digits)?);
    let separated = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    if !(separated(4, b'-') && separated(7, b'-') && separated(13, b':') && separated(16, b':')) {
        return None;
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let date = [number(0, 4)?, number(5, 2)?, number(8, 2)?];
    let clock = [number(11, 2)?, number(14, 2)?, number(17, 2)?];
    let (fraction_us, rest) = fraction(&bytes[19..])?;
    let ahead = if rest.is_empty() { zone?.0 } else { offset(rest)? };
    of_parts(date, clock, fraction_us, ahead)
}

/// The time of a date, a time of day and a zone so many minutes ahead of UTC; `None` where there is no such time.
pub fn of_parts(date: [i64; 3], clock: [i64; 3], fraction_us: i64, ahead: i64) -> Option<Timestamp> {
    let ([year, month, day], [hour, minute, second]) = (date, clock);
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let fraction_us = if second == 60 { 999_999 } else { fraction_us };
    let seconds = hour * 3600 + minute * 60 + second.min(59) - ahead * 60;
    Timestamp::new(days_from_civil(year, month, day) * DAY_US + seconds * 1_000_000 + fraction_us)
}

/// A time as RFC 3339 in UTC, with six decimals.
pub fn rfc3339(time: Timestamp) -> String {
    let (days, micros) = (time.micros().div_euclid(DAY_US), time.micros().rem_euclid(DAY_US));
    let (seconds, [year, month, day]) = (micros / 1_000_000, civil_from_days(days));
    let mut text = String::with_capacity(27);
    // Memory takes all text.
    let _ = write!(
        text,
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        micros % 1_000_000
    );
    text
}

/// The number that these decimal digits are; `None` where one of them is none. A caller limits their count.
pub fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// The fraction of a second in microseconds, and what follows it.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', bytes)) = bytes.split_first() else { return Some((0, bytes)) };
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 {
        return None;
    }
    let micros = (0..6).fold(0, |sum, at| sum * 10 + if at < digits { i64::from(bytes[at] - b'0') } else { 0 });
    Some((micros, &bytes[digits..]))
}

/// The minutes that local time is ahead of UTC, of `Z` or an offset as `+02:00`.
pub fn offset(bytes: &[u8]) -> Option<i64> {
    match *bytes {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
            let ahead = (hours <= 23 && minutes <= 59).then_some(hours * 60 + minutes)?;
            Some(if sign == b'+' { ahead } else { -ahead })
        }
        _ => None,
    }
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar (`days_from_civil` of H. Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms").
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The date so many days after 1970-01-01 (`civil_from_days` of the same source).
fn civil_from_days(days: i64) -> [i64; 3] {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    [year_of_era + era * 400 + i64::from(month <= 2), month, day]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(text: &str) -> Option<i64> {
        parse(text, None).map(Timestamp::micros)
    }

    #[test]
    fn the_forms_of_rfc_3339_are_read() {
        assert_eq!(micros("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(micros("2021-09-13T23:54:31Z"), Some(1_631_577_271_000_000));
        assert_eq!(micros("2021-09-13 23:54:31.5z"), Some(1_631_577_271_500_000));
        assert_eq!(micros("2021-09-14T01:54:31.1234567+02:00"), Some(1_631_577_271_123_456));
        assert_eq!(micros("2021-09-13T20:24:31-03:30"), Some(1_631_577_271_000_000));
        for leap in ["2016-12-31T23:59:60Z", "2016-12-31T23:59:60.2Z", "2017-01-01T01:59:60.9+02:00"] {
            assert_eq!(micros(leap), micros("2016-12-31T23:59:59.999999Z"), "never behind what it follows");
        }
        assert_eq!(micros("9999-12-31T23:59:59.999999Z"), Some(afferent_protocol::limits::TIME_MAX));
        let zoneless = "2013-12-02 21:15:00";
        assert_eq!(parse(zoneless, Some(Zone::UTC)).map(Timestamp::micros), micros("2013-12-02T21:15:00Z"));
        let summer = "+02:00".parse().unwrap();
        assert_eq!(parse(zoneless, Some(summer)).map(Timestamp::micros), micros("2013-12-02T19:15:00Z"));
        let own = "2013-12-02T21:15:00Z";
        assert_eq!(parse(own, Some(summer)).map(Timestamp::micros), micros(own), "what it says itself holds");
    }

    #[test]
    fn a_zone_is_utc_or_an_offset() {
        for (text, minutes) in [("UTC", 0), ("Z", 0), ("+02:00", 120), ("-03:30", -210), ("+00:00", 0)] {
            assert_eq!(text.parse(), Ok(Zone(minutes)), "{text}");
        }
        assert_eq!(Zone(-210).to_string(), "-03:30");
        for text in ["", "utc", "CET", "Europe/Rome", "+2", "+0200", "02:00", "+24:00"] {
            assert!(text.parse::<Zone>().unwrap_err().to_string().contains("+02:00"), "{text:?}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "now",
            "2021-09-13",
            "2021-09-13T23:54:31",
            "2021-02-29T00:00:00Z",
            "2021-13-01T00:00:00Z",
            "2021-00-01T00:00:00Z",
            "2021-09-31T00:00:00Z",
            "2021-09-13T24:00:00Z",
            "2021-09-13T23:60:00Z",
            "2021-09-13T23:54:61Z",
            "2021-09-13T23:54:31.Z",
            "2021-09-13T23:54:31+2:00",
            "2021-09-13T23:54:31+24:00",
            "2021-09-13T23:54:31ZZ",
            "1969-12-31T23:59:59Z",
            "10000-01-01T00:00:00Z",
            "9999-12-31T23:59:59-01:00",
            "+021-09-13T23:54:31Z",
            "2021-09-13T23:54:3\u{ff11}Z",
        ] {
            assert_eq!(micros(text), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_jiff(micros_in in 0_i64..=afferent_protocol::limits::TIME_MAX, text in "[0-9:TZ .+-]{0,30}") {
            if let Ok(time) = jiff::Timestamp::from_microsecond(micros_in) {
                prop_assert_eq!(micros(&time.to_string()), Some(micros_in));
                prop_assert_eq!(rfc3339(Timestamp::new(micros_in).unwrap()), format!("{time:.6}"));
            }
            let _ = parse(&text, Some(Zone::UTC));
        }
    }
}
