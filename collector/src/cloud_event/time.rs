//! Times as RFC 3339: UTC, six decimals, as `2021-09-13T23:54:31.000000Z`.
//!
//! Written here because it is done three times an event, and because event times reach to the end of the year 9999, a day
//! further than the libraries' instants.

use afferent_protocol::ids::Timestamp;

const SECOND_US: u64 = 1_000_000;
const DAY_S: u64 = 86_400;

/// Appends a time.
pub fn put_rfc3339(out: &mut Vec<u8>, time: Timestamp) {
    let micros = time.micros().unsigned_abs();
    let seconds = micros / SECOND_US;
    let (year, month, day) = civil(seconds / DAY_S);
    let of_day = seconds % DAY_S;
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    put(&mut text[0..4], year);
    put(&mut text[5..7], month);
    put(&mut text[8..10], day);
    put(&mut text[11..13], of_day / 3600);
    put(&mut text[14..16], of_day / 60 % 60);
    put(&mut text[17..19], of_day % 60);
    put(&mut text[20..26], micros % SECOND_US);
    out.extend_from_slice(&text);
}

fn put(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
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

#[cfg(test)]
mod tests {
    use afferent_protocol::limits::TIME_MAX;

    use super::*;

    fn text(micros: i64) -> String {
        let mut out = Vec::new();
        put_rfc3339(&mut out, Timestamp::new(micros).unwrap());
        String::from_utf8(out).unwrap()
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
