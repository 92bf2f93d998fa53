//! The disk under both logs: a small trait, and the real file system behind it.
//!
//! Both logs keep all their state in files of one directory and touch them through this trait only, so that a
//! simulated disk can lose, tear and rot what was not synced.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::files;

#[cfg(feature = "simulated")]
pub mod simulated;

/// A directory of files.
pub trait Disk {
    /// An open file of the disk.
    type File: DiskFile;

    /// Names and lengths of all files.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// Opens a file that exists, for reading and writing.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// Makes a file that must not exist, with `len` bytes of zeros whose space is taken from the disk now.
    ///
    /// The name survives a power cut only after [`Disk::sync_directory`].
    fn create(&self, name: &str, len: u64) -> io::Result<Self::File>;
    /// Removes a file; final only after [`Disk::sync_directory`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Renames a file; a file that had the new name is removed. Both at once: who opens the name finds the one
    /// or the other, after a power cut as well. Which of the two a power cut leaves is open until
    /// [`Disk::sync_directory`], and what was not synced of the file is as open as before. Handles stay with their
    /// file.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes all names that were made, removed or given so far durable.
    fn sync_directory(&self) -> io::Result<()>;
}

/// One open file of a [`Disk`].
pub trait DiskFile {
    /// Reads exactly `buffer.len()` bytes at `position`.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `position`. After an error what the file holds there is not known.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;
    /// Makes everything written so far durable. After an error nothing that was written since the last success is known
    /// to be on disk, now or later: the file must not be written any more.
    fn sync(&self) -> io::Result<()>;
    /// Length of the file, in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A directory of the real file system.
#[derive(Clone, Debug)]
pub struct FsDisk {
    directory: PathBuf,
    is_read_only: bool,
}

impl FsDisk {
    /// Takes `directory`, which is made (with those above it) when it does not exist.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        files::make_directory(&directory)?;
        Ok(Self { directory, is_read_only: false })
    }

    /// Takes `directory` to look at: nothing in it can be changed, and no permission to is needed.
    pub fn read_only(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), is_read_only: true }
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.is_read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    /// The path of one of its files.
    fn path(&self, name: &str) -> PathBuf {
        assert!(
            !name.is_empty() && !name.contains('/'),
            "a file of the disk lies in its directory, and not at {name:?}"
        );
        self.directory.join(name)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Disk for FsDisk {
    type File = File;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        files.sort();
        Ok(files)
    }

    fn open(&self, name: &str) -> io::Result<File> {
        OpenOptions::new().read(true).write(!self.is_read_only).open(self.path(name))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<File> {
        self.check_writable()?;
        let path = self.path(name);
        let file = files::new_file().read(true).open(&path)?;
        if len > 0 {
            let taken = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len);
            if let Err(error) = taken {
                // A half-made file must not stay behind and be taken for one of the log.
                let _ = std::fs::remove_file(&path);
                return Err(error.into());
            }
            file.sync_all()?;
        }
        Ok(file)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_writable()?;
        std::fs::remove_file(self.path(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        assert_ne!(from, to, "a file takes the place of a different one");
        self.check_writable()?;
        std::fs::rename(self.path(from), self.path(to))
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.check_writable()?;
        files::sync_directory(&self.directory)
    }
}

impl DiskFile for File {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.read_exact_at(buffer, position)
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.write_all_at(bytes, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}
