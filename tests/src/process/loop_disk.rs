//! A file system that loses its power: a loop device whose writes stop from one moment to the next.
//!
//! `xfs_io -x -c shutdown` makes the file system refuse every write from then on, without writing back what it had in
//! memory; unmounted and mounted again, it holds what a power cut would have left.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Folder;

/// A mounted file system in a file.
#[derive(Debug)]
pub struct LoopDisk {
    image: PathBuf,
    mount: PathBuf,
    mounted: bool,
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl LoopDisk {
    /// A new file system of the kind `ext4` or `xfs`, mounted. It needs root.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn new(folder: &Folder, kind: &str) -> Self {
        let (image, mount) = (folder.join("disk.img"), folder.join("disk"));
        std::fs::create_dir_all(&mount).expect("the folder can be written");
        let file = std::fs::File::create(&image).expect("the folder can be written");
        file.set_len(512 << 20).expect("the file can be made");
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        let mut disk = Self { image, mount, mounted: false };
        disk.mount();
        disk
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    fn mount(&mut self) {
        run(Command::new("mount").arg("-o").arg("loop").arg(&self.image).arg(&self.mount));
        self.mounted = true;
    }

    /// From now on nothing reaches the disk any more, and what has not yet never will.
    pub fn cut_power(&self) {
        run(Command::new("xfs_io").arg("-x").arg("-c").arg("shutdown").arg(&self.mount));
    }

    /// The power is back. Nobody may have files open on it.
    pub fn restore_power(&mut self) {
        run(Command::new("umount").arg(&self.mount));
        self.mounted = false;
        self.mount();
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
        }
    }
}
