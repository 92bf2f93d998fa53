//! How full the file systems are: the local ones of `/proc/self/mounts` (see fstab(5)), asked with statvfs.

use std::collections::BTreeSet;

use super::reading::{Readings, level, percent};
use crate::limits::HOST_THINGS_MAX;

/// File systems on disks of this machine. Network file systems are left out, as asking them can hang.
const LOCAL: [&str; 11] = ["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "vfat", "zfs", "jfs", "ubifs", "bcachefs"];

pub fn look(mounts: &str, out: &mut Readings) {
    for path in local_mounts(mounts) {
        let Ok(stat) = rustix::fs::statvfs(path.as_str()) else { continue };
        let used = stat.f_blocks.saturating_sub(stat.f_bfree);
        // As df does it: what is kept for root counts neither as used nor as free.
        let usable = used.saturating_add(stat.f_bavail);
        let name = if path == "/" { "root".to_owned() } else { level(&path) };
        out.count(format!("filesystem/{name}/used"), used.saturating_mul(stat.f_frsize), "By");
        out.number(format!("filesystem/{name}/usage"), percent(used, usable), "%");
    }
}

/// The mount points, one for each device, so that bind mounts are not reported again.
fn local_mounts(mounts: &str) -> Vec<String> {
    let mut devices = BTreeSet::new();
    let mut paths = Vec::new();
    for line in mounts.lines() {
        let mut words = line.split(' ');
        let (Some(device), Some(path), Some(kind)) = (words.next(), words.next(), words.next()) else { continue };
        if LOCAL.contains(&kind) && devices.insert(device) && paths.len() < HOST_THINGS_MAX {
            paths.push(unescaped(path));
        }
    }
    paths
}

/// Undoes the octal escapes of spaces, tabs, line ends and backslashes.
fn unescaped(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_file_systems_count_and_each_device_once() {
        let mounts = "proc /proc proc rw 0 0\n/dev/sda1 / ext4 rw 0 0\n/dev/sda1 /bind ext4 rw 0 0\n\
                      server:/x /net nfs4 rw 0 0\n/dev/sdb1 /my\\040disk xfs rw 0 0\n";
        assert_eq!(local_mounts(mounts), ["/", "/my disk"]);
    }

    #[test]
    fn the_root_of_this_machine_has_a_usage() {
        let mut out = Readings::default();
        look("/dev/x / ext4 rw 0 0\n/dev/y /nonexistent ext4 rw 0 0\n", &mut out);
        let subjects: Vec<_> = out.into_vec().into_iter().map(|reading| reading.subject).collect();
        assert_eq!(subjects, ["filesystem/root/used", "filesystem/root/usage"]);
    }
}
