//! Memory and swap (`/proc/meminfo`); see proc(5).

use super::reading::{Readings, percent};

pub fn look(meminfo: &str, out: &mut Readings) {
    let bytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    };
    let mut usage = |name: &str, total: Option<u64>, free: Option<u64>| {
        if let (Some(total), Some(free)) = (total, free)
            && total > 0
        {
            let used = total.saturating_sub(free);
            out.count(format!("{name}/used"), used, "By");
            out.number(format!("{name}/usage"), percent(used, total), "%");
        }
    };
    usage("memory", bytes("MemTotal"), bytes("MemAvailable"));
    usage("swap", bytes("SwapTotal"), bytes("SwapFree"));
}

#[cfg(test)]
mod tests {
    use super::super::reading::Found;
    use super::*;

    #[test]
    fn used_is_what_is_not_available() {
        let mut out = Readings::default();
        look(
            "MemTotal:       8000 kB\nMemFree:  1 kB\nMemAvailable:   2000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
            &mut out,
        );
        let found: Vec<_> = out.into_vec().into_iter().map(|reading| (reading.subject, reading.found)).collect();
        assert_eq!(
            found,
            [
                ("memory/used".to_owned(), Found::Count { value: 6000 * 1024, unit: "By" }),
                ("memory/usage".to_owned(), Found::Number { value: 75.0, unit: "%" }),
            ]
        );
    }
}
