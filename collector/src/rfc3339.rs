//! Times as RFC 3339: UTC, six decimals, as `2021-09-13T23:54:31.000000Z`.
//!
//! Own code, because it runs three times an event, and because event times reach to the end of the year 9999, a day
//! further than the libraries' instants.

use afferent_protocol::ids::Timestamp;

const SECOND_US: u64 = 1_000_000;
const DAY_S: u64 = 86_400;
/// Bytes of a time as a text.
const TEXT_LEN: usize = 27;

/// The numbers from 0 to 99, two digits each.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0;
    while number < 100 {
        pairs[number] = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        number += 1;
    }
    pairs
};

/// Appends a time.
pub fn put_rfc3339(out: &mut Vec<u8>, time: Timestamp) {
    out.extend_from_slice(Times::default().text(time));
}

/// A time as a text.
pub(crate) fn time_text(time: Timestamp) -> String {
    String::from_utf8(Times::default().text(time).to_vec()).expect("a time is ASCII")
}

/// Renders times. Consecutive times of a log are mostly of one second and differ only in their last digits.
#[derive(Clone, Debug)]
pub(crate) struct Times {
    second: u64,
    text: [u8; TEXT_LEN],
}

impl Default for Times {
    fn default() -> Self {
        Self { second: 0, text: *b"1970-01-01T00:00:00.000000Z" }
    }
}

impl Times {
    /// A time as a text.
    #[inline]
    pub fn text(&mut self, time: Timestamp) -> &[u8; TEXT_LEN] {
        let micros = time.micros().unsigned_abs();
        let second = micros / SECOND_US;
        if second != self.second {
            self.turn_to(second);
        }
        let of_second = micros % SECOND_US;
        self.put(20, of_second / 10_000);
        self.put(22, of_second / 100 % 100);
        self.put(24, of_second % 100);
        &self.text
    }

    fn turn_to(&mut self, second: u64) {
        self.second = second;
        let (year, month, day) = civil(second / DAY_S);
        let of_day = second % DAY_S;
        let numbers = [year / 100, year % 100, month, day, of_day / 3600, of_day / 60 % 60, of_day % 60];
        for (at, number) in [0, 2, 5, 8, 11, 14, 17].into_iter().zip(numbers) {
            self.put(at, number);
        }
    }

    fn put(&mut self, at: usize, number: u64) {
        self.text[at..at + 2].copy_from_slice(&pair(number));
    }
}

/// Year, month and day of the `days`-th day since 1970-01-01, in the proleptic Gregorian calendar: whole eras of 400
/// years that begin on 1 March, so that the leap day is the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    let since_march_0 = days + 719_468;
    let era = since_march_0 / 146_097;
    let of_era = since_march_0 % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// A number below 100 in two digits.
pub(crate) fn pair(value: u64) -> [u8; 2] {
    PAIRS[value as usize]
}

#[cfg(test)]
mod tests {
    use afferent_protocol::limits::TIME_MAX;
    use proptest::prelude::*;

    use super::*;

    fn text(micros: i64) -> String {
        let mut out = Vec::new();
        put_rfc3339(&mut out, Timestamp::new(micros).unwrap());
        String::from_utf8(out).unwrap()
    }

    proptest! {
        #[test]
        fn a_time_is_written_the_same_whatever_was_written_before(micros in prop::collection::vec(0..=TIME_MAX, 1..20), step in 0..3_000_000_i64) {
            let mut times = Times::default();
            for micros in micros.into_iter().flat_map(|micros| [micros, (micros + step).min(TIME_MAX), micros]) {
                let written = String::from_utf8(times.text(Timestamp::new(micros).unwrap()).to_vec()).unwrap();
                prop_assert_eq!(written, text(micros));
            }
        }
    }

    #[test]
    fn the_first_and_the_last_time_that_can_be_told_are_written_right() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000000Z");
        assert_eq!(text(TIME_MAX), "9999-12-31T23:59:59.999999Z");
        assert_eq!(text(1_631_577_271_000_042), "2021-09-13T23:54:31.000042Z");
    }

    #[test]
    fn every_day_of_eight_hundred_years_is_the_one_that_the_library_names() {
        for day in 0..292_194 {
            let second = day * DAY_S as i64 + (day * 7919) % DAY_S as i64;
            let expected = jiff::Timestamp::from_second(second).unwrap().to_string();
            assert_eq!(text(second * 1_000_000), expected.replace('Z', ".000000Z"));
        }
    }
}
