//! Times in text: RFC 3339, and the looser forms that recorded files have.
//!
//! Written by hand, as it runs once per event and the agent's size counts; the tests hold it against `jiff`.

use afferent_protocol::ids::Timestamp;

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// Whether a form without a zone is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// It must end with `Z` or an offset.
    Needed,
    /// Without one it is UTC.
    UtcWithout,
}

/// Reads `2021-09-13T23:54:31.25Z` or with an offset as `+02:00` (RFC 3339, section 5.6). Fractions are cut to
/// microseconds. A leap second is the last microsecond before it: so it comes behind all that it follows. `None` for anything
/// else, and outside of 1970 to 9999.
pub fn parse(text: &str, zone: Zone) -> Option<Timestamp> {
    let bytes = text.as_bytes();
    let number = |at: usize, digits: usize| number(bytes.get(at..at + digits)?);
    let separated = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    if !(separated(4, b'-') && separated(7, b'-') && separated(13, b':') && separated(16, b':')) {
        return None;
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_us, rest) = fraction(&bytes[19..])?;
    let offset_minutes = match rest {
        [] if zone == Zone::UtcWithout => 0,
        _ => offset(rest)?,
    };
    let fraction_us = if second == 60 { 999_999 } else { fraction_us };
    let seconds = hour * 3600 + minute * 60 + second.min(59) - offset_minutes * 60;
    Timestamp::new(days_from_civil(year, month, day) * DAY_US + seconds * 1_000_000 + fraction_us)
}

/// Reads a Unix time as `1386018900.25`, in seconds up to the year 5138, then in milliseconds up to that year, and so on: told
/// apart by its size. Fractions are cut to microseconds. `None` for what is no plain decimal number, and outside of 1970 to
/// 9999.
pub fn parse_unix(text: &str) -> Option<Timestamp> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || (text.contains('.') && !digits(rest)) {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    // So many decimal digits stand before the microsecond.
    let shift = match whole {
        0..100_000_000_000 => 6,
        100_000_000_000..100_000_000_000_000 => 3,
        100_000_000_000_000..100_000_000_000_000_000 => 0,
        _ => return Timestamp::new(i64::try_from(whole / 1000).ok()?),
    };
    let fraction =
        (0..shift).fold(0, |sum, at| sum * 10 + rest.as_bytes().get(at).map_or(0, |byte| i64::from(byte - b'0')));
    let micros = whole.checked_mul(10_i128.pow(shift as u32))? + i128::from(fraction);
    Timestamp::new(i64::try_from(micros).ok()?)
}

fn number(digits: &[u8]) -> Option<i64> {
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

/// The minutes that local time is ahead of UTC.
fn offset(bytes: &[u8]) -> Option<i64> {
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
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(text: &str) -> Option<i64> {
        parse(text, Zone::Needed).map(Timestamp::micros)
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
        assert_eq!(parse(zoneless, Zone::UtcWithout).map(Timestamp::micros), micros("2013-12-02T21:15:00Z"));
    }

    #[test]
    fn unix_times_are_told_apart_by_their_size_and_cut() {
        let whole = ["1386018900", "1386018900000", "1386018900000000", "1386018900000000000", "1386018900.0"];
        for text in whole {
            assert_eq!(parse_unix(text).unwrap().micros(), 1_386_018_900_000_000, "{text}");
        }
        for (text, micros) in [
            ("1386018900.1", 1_386_018_900_100_000),
            ("1386018900.1234567", 1_386_018_900_123_456),
            ("1386018900123.4569", 1_386_018_900_123_456),
            ("1386018900123456999", 1_386_018_900_123_456),
            ("0.9999999", 999_999),
        ] {
            assert_eq!(parse_unix(text).unwrap().micros(), micros, "{text}");
        }
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-5",
            "+5",
            "1e9",
            "nan",
            "inf",
            "1 ",
            "0x10",
            "99999999999999999999999999999999999999999",
        ] {
            assert_eq!(parse_unix(text), None, "{text:?}");
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
            }
            let _ = parse(&text, Zone::UtcWithout);
        }
    }
}
