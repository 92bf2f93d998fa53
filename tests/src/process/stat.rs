//! What the kernel says of a process: proc(5).

/// User and system time of a process so far, in seconds, from `/proc/PID/stat` (fields 14 and 15, in ticks of 1/100 s).
///
/// # Panics
/// When there is no such process.
pub fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
    // The name in parentheses may hold blanks; what follows it does not.
    let after_name = stat.rsplit_once(')').expect("the name is in parentheses").1;
    let ticks = |field: usize| -> f64 {
        after_name.split_whitespace().nth(field - 3).and_then(|text| text.parse().ok()).expect("the field is a number")
    };
    (ticks(14) + ticks(15)) / 100.0
}

/// Resident memory of a process now, in KiB.
///
/// # Panics
/// When there is no such process.
pub fn rss_kib(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// Resident memory of a process that is no file's, in KiB: what it has allocated, and its stacks.
///
/// # Panics
/// When there is no such process.
pub fn anon_kib(pid: u32) -> u64 {
    status(pid, "RssAnon:")
}

/// The most resident memory that a process ever had, in KiB.
///
/// # Panics
/// When there is no such process.
pub fn peak_rss_kib(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// Bytes that a process has had read from disks so far, those read ahead for it included.
///
/// # Panics
/// When there is no such process, or it is somebody else's.
pub fn disk_read_bytes(pid: u32) -> u64 {
    number(pid, "io", "read_bytes:")
}

fn status(pid: u32, key: &str) -> u64 {
    number(pid, "status", key)
}

fn number(pid: u32, file: &str, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("the kernel tells it");
    line.split_whitespace().next().and_then(|text| text.parse().ok()).expect("a number")
}
