//! Kills for lack of memory and I/O errors, out of the kernel's log (`/dev/kmsg`, see the kernel's
//! `ABI/testing/dev-kmsg`).
//!
//! It reports only records that come while the agent watches: older ones would be reported again at each start.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::reading::{Found, Readings, level};
use crate::limits::{HOST_THINGS_MAX, KERNEL_RECORDS_MAX, KERNEL_REPEAT_MS};

/// The log from where the last look ended.
#[derive(Debug)]
pub struct KernelLog {
    file: Option<File>,
    /// When each trouble was last reported, so that a dying disk does not flood the log.
    told_ms: BTreeMap<String, u64>,
}

/// The trouble that a record reports.
#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    subject: String,
    condition: &'static str,
    priority: u16,
}

impl KernelLog {
    /// A log that cannot be read, as only root may, counts as none.
    pub fn open(path: &Path) -> Self {
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let opened = File::options().read(true).custom_flags(nonblocking).open(path);
        let at_end = opened.and_then(|mut file| file.seek(SeekFrom::End(0)).map(|_| file));
        if let Err(error) = &at_end {
            tracing::info!(%error, "the kernel's log cannot be read: I/O errors and kills for lack of memory are not \
                                    seen");
        }
        Self { file: at_end.ok(), told_ms: BTreeMap::new() }
    }

    pub fn look(&mut self, monotonic_ms: u64, out: &mut Readings) {
        let mut record = [0; 8192];
        for _ in 0..KERNEL_RECORDS_MAX {
            let Some(file) = &mut self.file else { return };
            // One read gives one record.
            match file.read(&mut record) {
                Ok(0) => return,
                Ok(len) => self.take(&String::from_utf8_lossy(&record[..len]), monotonic_ms, out),
                // EPIPE: records were overwritten before they could be read; the next read continues behind them.
                Err(error) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::Interrupted) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::warn!(%error, "the kernel's log cannot be read any more");
                    self.file = None;
                }
            }
        }
    }

    fn take(&mut self, record: &str, monotonic_ms: u64, out: &mut Readings) {
        let Some(message) = kernel_message(record) else { return };
        let Some(trouble) = trouble(message) else { return };
        self.told_ms.retain(|_, told| monotonic_ms.saturating_sub(*told) < KERNEL_REPEAT_MS);
        let known = self.told_ms.contains_key(&trouble.subject) || self.told_ms.len() >= HOST_THINGS_MAX;
        if !known {
            self.told_ms.insert(trouble.subject.clone(), monotonic_ms);
            let Trouble { subject, condition, priority } = trouble;
            out.push(subject, Found::Raised { condition, priority, message: message.to_owned() });
        }
    }
}

/// The text of `prefix,sequence,time,flags;text`, where the prefix names the kernel (facility 0): others can write here
/// too.
fn kernel_message(record: &str) -> Option<&str> {
    let (head, text) = record.split_once(';')?;
    let prefix: u32 = head.split(',').next()?.parse().ok()?;
    (prefix >> 3 == 0).then(|| text.lines().next().unwrap_or(""))
}

fn trouble(message: &str) -> Option<Trouble> {
    if message.contains("ut of memory: Killed process") || message.contains("ut of memory: Kill process") {
        let name =
            message.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("unknown", |(name, _)| name);
        let subject = format!("process/{}", level(name));
        return Some(Trouble { subject, condition: "out-of-memory-kill", priority: 800 });
    }
    let device = if message.contains("I/O error") || message.contains("critical medium error") {
        word_after(message, "dev ").or_else(|| word_after(message, "on dev "))
    } else if message.starts_with("EXT4-fs error") || message.starts_with("BTRFS error") {
        word_after(message, "(device ")
    } else if message.starts_with("XFS (") && message.contains("orruption") {
        word_after(message, "XFS (")
    } else {
        None
    }?;
    Some(Trouble { subject: format!("disk/{}", level(device)), condition: "io-error", priority: 900 })
}

fn word_after<'a>(message: &'a str, mark: &str) -> Option<&'a str> {
    let (_, rest) = message.split_once(mark)?;
    rest.split([',', ' ', ')', ':']).next().filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(message: &str) -> Option<String> {
        trouble(message).map(|trouble| format!("{} {}", trouble.subject, trouble.condition))
    }

    #[test]
    fn kills_and_io_errors_are_recognised() {
        for (message, meant) in [
            ("Out of memory: Killed process 4711 (python3) total-vm:9kB", "process/python3 out-of-memory-kill"),
            ("Memory cgroup out of memory: Killed process 5 (a/b)", "process/a-b out-of-memory-kill"),
            ("I/O error, dev sda, sector 2048 op 0x0:(READ) flags 0x0", "disk/sda io-error"),
            ("blk_update_request: I/O error, dev mmcblk0, sector 8", "disk/mmcblk0 io-error"),
            ("Buffer I/O error on dev sdb1, logical block 0, async page read", "disk/sdb1 io-error"),
            ("critical medium error, dev sdc, sector 1", "disk/sdc io-error"),
            ("EXT4-fs error (device dm-0): ext4_find_entry:1455: inode #2", "disk/dm-0 io-error"),
            ("XFS (nvme0n1p2): Metadata corruption detected", "disk/nvme0n1p2 io-error"),
        ] {
            assert_eq!(found(message).as_deref(), Some(meant), "{message}");
        }
        assert_eq!(found("usb 1-1: new device"), None);
    }

    #[test]
    fn only_the_kernel_itself_is_believed() {
        assert_eq!(kernel_message("3,100,5000,-;I/O error, dev sda\n KEY=value\n"), Some("I/O error, dev sda"));
        assert_eq!(kernel_message("14,100,5000,-;I/O error, dev sda"), None);
        assert_eq!(kernel_message("nonsense"), None);
    }

    #[test]
    fn the_same_trouble_is_told_once_a_minute() {
        let mut log = KernelLog { file: None, told_ms: BTreeMap::new() };
        let mut told = |monotonic_ms| {
            let mut out = Readings::default();
            log.take("3,1,1,-;I/O error, dev sda, sector 1", monotonic_ms, &mut out);
            out.into_vec().len()
        };
        assert_eq!([told(0), told(1), told(KERNEL_REPEAT_MS - 1), told(KERNEL_REPEAT_MS)], [1, 0, 0, 1]);
    }
}
