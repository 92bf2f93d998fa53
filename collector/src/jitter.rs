//! Jitter of waits, so that many do not come back at once.

use std::time::Duration;

/// Between half of it and all of it.
pub(crate) fn jittered(wait: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or_default();
    wait / 2 + (wait / 2).mul_f64(f64::from(random) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_from_half_of_it_up_to_all_of_it() {
        let wait = Duration::from_secs(8);
        let waits: Vec<Duration> = (0..1000).map(|_| jittered(wait)).collect();
        assert!(waits.iter().all(|some| (wait / 2..=wait).contains(some)));
        assert!(waits.iter().max().unwrap().saturating_sub(*waits.iter().min().unwrap()) > wait / 4, "{waits:?}");
    }
}
