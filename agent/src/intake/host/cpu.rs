//! Processor usage (`/proc/stat`) and load (`/proc/loadavg`); see proc(5).

use super::reading::{Readings, percent};

/// Jiffies since boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    busy: u64,
    total: u64,
}

/// What the last look saw.
#[derive(Debug, Default)]
pub struct Cpu {
    last: Option<Times>,
}

impl Cpu {
    pub fn look(&mut self, stat: &str, out: &mut Readings) {
        let Some(now) = parse(stat) else { return };
        if let Some(last) = self.last
            && let (Some(busy), Some(total)) = (now.busy.checked_sub(last.busy), now.total.checked_sub(last.total))
            && total > 0
        {
            out.number("cpu/usage", percent(busy, total), "%");
        }
        self.last = Some(now);
    }
}

/// The line `cpu  user nice system idle iowait irq softirq steal guest guest_nice`; guest times are within user's.
fn parse(stat: &str) -> Option<Times> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let times: Vec<u64> = line.split_ascii_whitespace().take(8).map_while(|word| word.parse().ok()).collect();
    let idle = times.get(3)?.saturating_add(times.get(4).copied().unwrap_or(0));
    let total = times.iter().fold(0, |sum: u64, time| sum.saturating_add(*time));
    Some(Times { busy: total.saturating_sub(idle), total })
}

/// `0.20 0.18 0.12 1/80 11206`: the first is the mean of one minute.
pub fn load(loadavg: &str, out: &mut Readings) {
    if let Some(load) = loadavg.split_ascii_whitespace().next().and_then(|word| word.parse().ok()) {
        out.number("cpu/load", load, "1");
    }
}

#[cfg(test)]
mod tests {
    use super::super::reading::{Found, Reading};
    use super::*;

    #[test]
    fn usage_is_the_busy_share_between_two_looks() {
        let mut cpu = Cpu::default();
        let mut out = Readings::default();
        cpu.look("cpu  100 0 100 700 100 0 0 0 50 0\ncpu0 1 2 3 4\nintr 5\n", &mut out);
        cpu.look("cpu  130 0 120 740 110 0 0 0 90 0\n", &mut out);
        load("0.25 0.18 0.12 1/80 11206\n", &mut out);
        let readings = out.into_vec();
        let usage = Reading { subject: "cpu/usage".to_owned(), found: Found::Number { value: 50.0, unit: "%" } };
        assert_eq!(readings[0], usage);
        assert_eq!(readings[1].found, Found::Number { value: 0.25, unit: "1" });
    }

    #[test]
    fn a_counter_that_went_back_gives_nothing() {
        let mut cpu = Cpu::default();
        let mut out = Readings::default();
        cpu.look("cpu  100 0 100 700\n", &mut out);
        cpu.look("cpu  1 0 1 7\n", &mut out);
        assert!(out.into_vec().is_empty());
    }
}
