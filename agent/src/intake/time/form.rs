//! The forms in which recorded files write times, each read only where it is stated.

use std::fmt;
use std::str::FromStr;

use afferent_host::time::{DAY_US, Zone, number, of_parts, offset, parse};
use afferent_protocol::ids::Timestamp;
use serde::Deserialize;

use crate::intake::line::cut;

/// The form of the times of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Form {
    /// `2013-12-02T21:15:00Z`; with a blank for the T, and without a zone where one is stated, as well.
    #[default]
    Rfc3339,
    /// A decimal number of parts of a second since 1970, of which ten to this power are one second.
    Unix(u32),
    /// Days since 1899-12-30, as spreadsheets count them, to the nearest millisecond.
    Excel,
    /// What `strptime` would take of `%Y %m %d %H %M %S %f %z %%` and of characters that stand for themselves.
    Pattern(String),
}

/// A text that is no form of times.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a time format; write rfc3339, unix, unix_ms, unix_us, unix_ns, excel, or a pattern such as \
     %Y%m%d%H%M%S with each of %Y, %m and %d once and perhaps %H, %M, %S, %f (decimals of the second), %% and, at its \
     end, %z (the offset)"
)]
pub struct FormError(String);

impl FromStr for Form {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        Ok(match text {
            "rfc3339" => Self::Rfc3339,
            "unix" => Self::Unix(0),
            "unix_ms" => Self::Unix(3),
            "unix_us" => Self::Unix(6),
            "unix_ns" => Self::Unix(9),
            "excel" => Self::Excel,
            _ if is_pattern(text) => Self::Pattern(text.to_owned()),
            _ => return Err(FormError(text.to_owned())),
        })
    }
}

impl TryFrom<String> for Form {
    type Error = FormError;

    fn try_from(text: String) -> Result<Self, FormError> {
        text.parse()
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rfc3339 => "RFC 3339",
            Self::Unix(0) => "unix",
            Self::Unix(3) => "unix_ms",
            Self::Unix(6) => "unix_us",
            Self::Unix(_) => "unix_ns",
            Self::Excel => "excel",
            Self::Pattern(pattern) => pattern,
        })
    }
}

/// How the times of a file are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Their form.
    pub form: Form,
    /// The zone of times without one.
    pub zone: Option<Zone>,
}

impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.form.fmt(f)?;
        self.zone.map_or(Ok(()), |zone| write!(f, ", {zone} where it has no zone"))
    }
}

impl Reading {
    /// Refuses a form and a zone that do not go together; the text states why.
    pub fn check(&self) -> Result<(), &'static str> {
        let says_none = matches!(self.form, Form::Excel) || matches!(&self.form, Form::Pattern(it) if !has(it, b'z'));
        match (&self.form, self.zone) {
            (Form::Unix(_), Some(_)) => Err("Unix times are UTC; remove the time zone"),
            (_, None) if says_none => {
                Err("times of this format have no zone; set it: --time-zone UTC, or an offset such as +02:00")
            }
            _ => Ok(()),
        }
    }

    /// Reads one time; the error states why it is none.
    pub fn read(&self, text: &str) -> Result<Timestamp, String> {
        let time = match &self.form {
            Form::Rfc3339 => parse(text, self.zone),
            Form::Unix(digits) => unix(text, *digits),
            Form::Excel => excel(text, self.zone.unwrap_or_default()),
            Form::Pattern(pattern) => by_pattern(pattern, text, self.zone.unwrap_or_default()),
        };
        time.ok_or_else(|| {
            let shown = cut(text.to_owned(), 64);
            match self.form {
                Form::Rfc3339 if parse(text, Some(Zone::UTC)).is_some() => {
                    format!("the time {shown:?} has no zone; set it: --time-zone UTC, or an offset such as +02:00")
                }
                _ => format!("{shown:?} is not a time of the format {}; --time-format sets a different one", self.form),
            }
        })
    }
}

/// Whether a pattern has this letter.
fn has(pattern: &str, letter: u8) -> bool {
    letters(pattern).is_some_and(|letters| letters.contains(&letter))
}

/// The letters of a pattern; none when a % stands at its end.
fn letters(pattern: &str) -> Option<Vec<u8>> {
    let mut bytes = pattern.bytes();
    let mut letters = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            letters.push(bytes.next()?);
        }
    }
    Some(letters)
}

fn is_pattern(text: &str) -> bool {
    let Some(letters) = letters(text) else { return false };
    let count = |letter: &u8| letters.iter().filter(|other| *other == letter).count();
    let known = letters.iter().all(|letter| *letter == b'%' || (b"YmdHMSfz".contains(letter) && count(letter) == 1));
    let zone_ends_it = !letters.contains(&b'z') || text.ends_with("%z");
    known && zone_ends_it && b"Ymd".iter().all(|letter| count(letter) == 1)
}

/// A plain decimal number: what is before the point, and the digits behind it.
fn decimal(text: &str) -> Option<(i64, &[u8])> {
    let (whole, rest) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let plain = digits(whole) && rest.is_none_or(digits);
    Some((plain.then(|| whole.parse().ok())??, rest.unwrap_or_default().as_bytes()))
}

/// The first `count` of these digits as a number, with zeros where there are fewer.
fn leading(digits: &[u8], count: u32) -> i64 {
    (0..count as usize).fold(0, |sum, at| sum * 10 + digits.get(at).map_or(0, |byte| i64::from(byte - b'0')))
}

/// What is finer than a microsecond is cut.
fn unix(text: &str, digits: u32) -> Option<Timestamp> {
    let (whole, rest) = decimal(text)?;
    Timestamp::new(match 6_u32.checked_sub(digits) {
        Some(finer) => whole.checked_mul(10_i64.pow(finer))?.checked_add(leading(rest, finer))?,
        None => whole / 10_i64.pow(digits - 6),
    })
}

/// A double has days of this size to about a microsecond, and spreadsheets show milliseconds: the nearest of these is
/// meant.
fn excel(text: &str, zone: Zone) -> Option<Timestamp> {
    const DAYS_TO_1970: i64 = 25_569;
    let (days, rest) = decimal(text)?;
    // A day has 864 × 10^5 milliseconds; eleven digits of it are finer than a double.
    let millis = (leading(rest, 11) * 864 + 500_000) / 1_000_000;
    let days = days.checked_sub(DAYS_TO_1970)?.checked_mul(DAY_US)?;
    Timestamp::new(days.checked_add(millis * 1000)? - zone.minutes_ahead() * 60_000_000)
}

fn by_pattern(pattern: &str, text: &str, zone: Zone) -> Option<Timestamp> {
    let (mut parts, mut fraction_us, mut ahead) = ([0; 6], 0, zone.minutes_ahead());
    let (mut pattern, mut rest, mut after_digits) = (pattern.as_bytes(), text.as_bytes(), false);
    while let [first, after @ ..] = pattern {
        let [b'%', letter, after @ ..] = pattern else {
            rest = rest.strip_prefix(&[*first])?;
            (pattern, after_digits) = (after, false);
            continue;
        };
        pattern = after;
        match letter {
            b'%' => rest = rest.strip_prefix(b"%")?,
            b'f' => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                (digits > 0).then_some(())?;
                fraction_us = leading(&rest[..digits], 6);
                rest = &rest[digits..];
            }
            b'z' => {
                ahead = match *rest {
                    [sign, h1, h2, m1, m2] => offset(&[sign, h1, h2, b':', m1, m2])?,
                    _ => offset(rest)?,
                };
                rest = &[];
            }
            _ => {
                let at = b"YmdHMS".iter().position(|known| known == letter)?;
                let most = if at == 0 { 4 } else { 2 };
                let digits = rest.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
                // One digit alone is taken only where no other digits are beside it.
                let whole = digits == most || (digits == 1 && at > 0 && !after_digits && !matches!(after, [b'%', ..]));
                whole.then_some(())?;
                parts[at] = number(&rest[..digits])?;
                (rest, after_digits) = (&rest[digits..], true);
            }
        }
    }
    let [year, month, day, hour, minute, second] = parts;
    rest.is_empty().then(|| of_parts([year, month, day], [hour, minute, second], fraction_us, ahead))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(form: &str, zone: &str, text: &str) -> Result<i64, String> {
        let zone = (!zone.is_empty()).then(|| zone.parse().unwrap());
        let reading = Reading { form: form.parse().unwrap(), zone };
        reading.check().map_err(str::to_owned)?;
        reading.read(text).map(Timestamp::micros)
    }

    fn micros(text: &str) -> Result<i64, String> {
        Ok(parse(text, None).unwrap().micros())
    }

    #[test]
    fn times_are_read_in_the_form_that_is_stated() {
        for (form, zone, text, expected) in [
            ("unix", "", "1386018900.1234567", "2013-12-02T21:15:00.123456Z"),
            ("unix_ms", "", "1386018900123.4569", "2013-12-02T21:15:00.123456Z"),
            ("unix_us", "", "1386018900123456.9", "2013-12-02T21:15:00.123456Z"),
            ("unix_ns", "", "1386018900123456999", "2013-12-02T21:15:00.123456Z"),
            ("unix_us", "", "1386018900", "1970-01-01T00:23:06.0189Z"),
            ("excel", "UTC", "45292.5", "2024-01-01T12:00:00Z"),
            ("excel", "+01:00", "45292", "2023-12-31T23:00:00Z"),
            ("excel", "UTC", "45292.5000115741", "2024-01-01T12:00:01Z"),
            ("%Y%m%d%H%M%S", "UTC", "20240101120000", "2024-01-01T12:00:00Z"),
            ("%Y%m%d", "+02:00", "20240102", "2024-01-01T22:00:00Z"),
            ("%d.%m.%Y %H:%M:%S.%f", "UTC", "2.1.2024 8:05:09.1234567", "2024-01-02T08:05:09.123456Z"),
            ("%Y-%m-%dT%H%M%z", "", "2024-01-02T0805+0200", "2024-01-02T06:05:00Z"),
            ("%Y-%m-%d %z", "UTC", "2024-01-02 -03:30", "2024-01-02T03:30:00Z"),
            ("%d%%%m%%%Y", "UTC", "02%01%2024", "2024-01-02T00:00:00Z"),
            ("rfc3339", "+01:00", "2024-01-02 08:05:00", "2024-01-02T07:05:00Z"),
        ] {
            assert_eq!(read(form, zone, text), micros(expected), "{form} {zone} {text}");
        }
    }

    #[test]
    fn what_has_another_form_is_refused_and_so_is_what_is_ambiguous() {
        for (form, zone, text) in [
            ("rfc3339", "", "2024-01-02 08:05:00"),
            ("rfc3339", "UTC", "20240101120000"),
            ("rfc3339", "UTC", "1386018900"),
            ("unix", "", "2024-01-02T08:05:00Z"),
            ("unix", "", "253402300800"),
            ("unix_ms", "", "-1"),
            ("unix", "", "1e9"),
            ("unix", "", "1."),
            ("unix", "", ".5"),
            ("unix", "", "9223372036854775808"),
            ("unix", "", "99999999999999999"),
            ("excel", "UTC", "25568"),
            ("excel", "UTC", "999999999999999999"),
            ("%Y%m%d", "UTC", "2024111"),
            ("%Y%m%d", "UTC", "20241301"),
            ("%Y%m%d", "UTC", "202401011"),
            ("%Y-%m-%d", "UTC", "24-01-01"),
            ("%Y-%m-%d %z", "UTC", "2024-01-02 "),
            ("%Y-%m-%d.%f", "UTC", "2024-01-02."),
        ] {
            assert!(read(form, zone, text).is_err(), "{form} {zone} {text}");
        }
        for (form, zone) in [("unix", "UTC"), ("excel", ""), ("%Y%m%d", "")] {
            assert!(read(form, zone, "1").unwrap_err().contains("zone"), "{form} {zone}");
        }
        for form in ["", "iso", "%Y", "%Y%m", "%Y%m%d%", "%Y%m%d%d", "%Y%m%d%j", "%z%Y%m%d"] {
            assert!(form.parse::<Form>().unwrap_err().to_string().contains("unix_ms"), "{form}");
        }
    }
}
