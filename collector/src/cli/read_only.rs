//! A log's directory that nothing here can write to, and whose reading is watched.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::rc::Rc;

use afferent_host::disk::{Disk, DiskFile, FsDisk};

use super::progress::ProgressLine;

/// Files of a directory, opened for reading only.
pub struct ReadOnlyDisk {
    disk: FsDisk,
    progress: Rc<ProgressLine>,
}

/// One of them.
pub struct ReadOnlyFile {
    file: File,
    progress: Rc<ProgressLine>,
}

impl ReadOnlyDisk {
    /// Takes a directory that exists.
    pub fn new(directory: PathBuf, progress: Rc<ProgressLine>) -> io::Result<Self> {
        let disk = FsDisk::read_only(directory);
        let bytes = disk.list()?.iter().map(|(_, bytes)| bytes).sum();
        progress.expect(bytes);
        Ok(Self { disk, progress })
    }

    fn watched(&self, file: File) -> ReadOnlyFile {
        ReadOnlyFile { file, progress: Rc::clone(&self.progress) }
    }
}

impl Disk for ReadOnlyDisk {
    type File = ReadOnlyFile;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<ReadOnlyFile> {
        self.disk.open(name).map(|file| self.watched(file))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<ReadOnlyFile> {
        self.disk.create(name, len).map(|file| self.watched(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.disk.sync_directory()
    }
}

impl DiskFile for ReadOnlyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_at(buffer, position)?;
        self.progress.came_on(buffer.len() as u64);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.file.write_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
