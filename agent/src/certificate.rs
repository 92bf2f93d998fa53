//! The parts of an X.509 certificate (RFC 5280) that checks report: its validity and its common name.

use afferent_host::time::days_from_civil;

/// What is in a certificate.
#[derive(Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Seconds since 1970 from which on it is good.
    pub not_before_s: i64,
    /// Seconds since 1970 after which it is not good any more.
    pub not_after_s: i64,
    /// The common name of its subject.
    pub common_name: Option<String>,
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0] EXPLICIT`, the version's.
const VERSION: u8 = 0xA0;
/// `id-at-commonName`, 2.5.4.3 (RFC 4519).
const COMMON_NAME: [u8; 3] = [0x55, 4, 3];

/// The elements of a DER structure, one after the other.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// The tag and the content of the next element.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7F => (usize::from(first), rest),
            0x81..=0x83 => {
                let (len, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
                (len.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), rest)
            }
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some((tag, content))
    }

    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(found, _)| *found == tag).map(|(_, content)| content)
    }
}

impl Certificate {
    /// Reads it; none when it is no certificate.
    pub fn read(der: &[u8]) -> Option<Self> {
        let mut fields = Der(Der(Der(der).expect(SEQUENCE)?).expect(SEQUENCE)?);
        // Version where it is given, serial number, algorithm, issuer.
        if fields.next()?.0 == VERSION {
            fields.next()?;
        }
        fields.expect(SEQUENCE)?;
        fields.expect(SEQUENCE)?;
        let mut validity = Der(fields.expect(SEQUENCE)?);
        let (not_before_s, not_after_s) = (seconds(validity.next()?)?, seconds(validity.next()?)?);
        let mut subject = Der(fields.expect(SEQUENCE)?);
        let mut common_name = None;
        while let Some(set) = subject.expect(SET) {
            let mut pair = Der(Der(set).expect(SEQUENCE)?);
            if pair.expect(OBJECT_IDENTIFIER)? == COMMON_NAME {
                common_name = Some(String::from_utf8_lossy(pair.next()?.1).into_owned());
            }
        }
        Some(Self { not_before_s, not_after_s, common_name })
    }
}

/// A time as seconds since 1970: `YYMMDDHHMMSSZ` until 2049, `YYYYMMDDHHMMSSZ` from then on.
fn seconds((tag, text): (u8, &[u8])) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |at: usize| text.get(at..at + 2)?.parse::<i64>().ok();
    let (year, at) = match tag {
        UTC_TIME => (number(0).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        GENERALIZED_TIME => (number(0)? * 100 + number(2)?, 4),
        _ => return None,
    };
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|offset| number(at + offset));
    Some(days_from_civil(year, month?, day?) * 86_400 + hour? * 3600 + minute? * 60 + second?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_since_1970() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "000229123456Z", Some(951_827_696)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (UTC_TIME, "7001010000Z", None),
            (SET, "700101000000Z", None),
        ] {
            assert_eq!(seconds((tag, text.as_bytes())), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_none_and_does_no_harm() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x84, 1, 1, 1, 1], &[0x30, 0x03, 0x30, 0x01, 0x02], &[0xFF; 64]] {
            assert_eq!(Certificate::read(bytes), None);
        }
    }
}
