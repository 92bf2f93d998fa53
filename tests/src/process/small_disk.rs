//! A file system in memory that is quickly full. It needs root.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Folder;

/// A mounted tmpfs.
#[derive(Debug)]
pub struct SmallDisk {
    mount: PathBuf,
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl SmallDisk {
    /// A new one of this size, mounted.
    ///
    /// # Panics
    /// When it cannot be mounted.
    pub fn new(folder: &Folder, bytes: u64) -> Self {
        let mount = folder.join("small-disk");
        std::fs::create_dir_all(&mount).expect("the folder can be written");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"]).arg(&mount));
        Self { mount }
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Gives it another size.
    pub fn resize(&self, bytes: u64) {
        self.remount(&format!("size={bytes}"));
    }

    /// From now on it refuses every write; fails while a file is open for writing.
    pub fn make_read_only(&self) {
        self.remount("ro");
    }

    /// From now on it takes writes.
    pub fn make_writable(&self) {
        self.remount("rw");
    }

    fn remount(&self, option: &str) {
        run(Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.mount));
    }

    /// Fills what room it has with a file.
    pub fn fill(&self) {
        let file = std::fs::File::create(self.mount.join("filling")).expect("a file can be made");
        let block = vec![1; 4096];
        while std::io::Write::write_all(&mut &file, &block).is_ok() {}
    }

    /// Removes that file again.
    pub fn clear(&self) {
        std::fs::remove_file(self.mount.join("filling")).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).status();
    }
}
