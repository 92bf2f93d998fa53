//! Bytes and errors a second of the network's interfaces (`/proc/net/dev`).

use std::collections::BTreeMap;

use super::reading::{Readings, level, rounded};
use crate::limits::HOST_THINGS_MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    received: u64,
    sent: u64,
    errors: u64,
}

/// What the last look saw.
#[derive(Debug, Default)]
pub struct Network {
    last: Option<(u64, BTreeMap<String, Counts>)>,
}

impl Network {
    pub fn look(&mut self, text: &str, monotonic_ms: u64, out: &mut Readings) {
        let now = parse(text);
        if let Some((last_ms, last)) = &self.last
            && let Some(passed) = monotonic_ms.checked_sub(*last_ms).filter(|passed| *passed > 0)
        {
            for (name, counts) in &now {
                let Some(before) = last.get(name) else { continue };
                let mut rate = |what: &str, now: u64, before: u64, unit| {
                    if let Some(count) = now.checked_sub(before) {
                        let per_second = rounded(count as f64 * 1000.0 / passed as f64);
                        out.number(format!("network/{}/{what}", level(name)), per_second, unit);
                    }
                };
                rate("received", counts.received, before.received, "By/s");
                rate("sent", counts.sent, before.sent, "By/s");
                rate("errors", counts.errors, before.errors, "/s");
            }
        }
        self.last = Some((monotonic_ms, now));
    }
}

/// Lines `eth0: bytes packets errs drop fifo frame compressed multicast bytes packets errs …`, without the loopback.
fn parse(text: &str) -> BTreeMap<String, Counts> {
    let interfaces = text.lines().filter_map(|line| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
        let at = |at: usize| numbers.get(at).copied();
        let counts = Counts { received: at(0)?, sent: at(8)?, errors: at(2)?.saturating_add(at(10)?) };
        (name.trim() != "lo").then(|| (name.trim().to_owned(), counts))
    });
    interfaces.take(HOST_THINGS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::super::reading::Found;
    use super::*;

    const HEAD: &str = "Inter-|   Receive  |  Transmit\n face |bytes packets errs drop|bytes packets\n";

    #[test]
    fn rates_are_differences_over_time() {
        let mut network = Network::default();
        let mut out = Readings::default();
        let first =
            format!("{HEAD}    lo: 9 9 0 0 0 0 0 0 9 9 0 0 0 0 0 0\n  eth0: 1000 9 0 0 0 0 0 0 500 9 1 0 0 0 0 0\n");
        network.look(&first, 0, &mut out);
        network.look("  eth0:6000 9 2 0 0 0 0 0 700 9 1 0 0 0 0 0\n wlan0: 1 2 3\n", 2000, &mut out);
        let found: Vec<_> = out.into_vec().into_iter().map(|reading| (reading.subject, reading.found)).collect();
        assert_eq!(
            found,
            [
                ("network/eth0/received".to_owned(), Found::Number { value: 2500.0, unit: "By/s" }),
                ("network/eth0/sent".to_owned(), Found::Number { value: 100.0, unit: "By/s" }),
                ("network/eth0/errors".to_owned(), Found::Number { value: 1.0, unit: "/s" }),
            ]
        );
    }
}
