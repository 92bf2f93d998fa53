//! The files of an input: which there are, and their bytes. A trait, so that tests follow files that lie on no disk.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::pattern::Pattern;
use crate::limits::MATCHES_MAX;

/// By what the system knows a file, whatever it is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// The device number of the file system.
    pub device: u64,
    /// The file in it. Used again when a file is gone.
    pub inode: u64,
    /// When it was created, in microseconds since 1970; 0 where the file system has no such time.
    pub born_us: u64,
}

/// The file system's metadata of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The identity of the file.
    pub id: FileId,
    /// Length of the file, in bytes.
    pub bytes: u64,
    /// When it was last written, in microseconds since 1970.
    pub written_us: i64,
    /// How many names it has: 0 when it is deleted.
    pub links: u64,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Path of the file.
    pub path: PathBuf,
    /// The metadata of the file.
    pub stat: Stat,
}

/// Bytes of a file that is open.
pub trait ReadAt {
    /// Reads the metadata of the open file.
    fn stat(&self) -> io::Result<Stat>;
    /// Reads at this byte; 0 at the end.
    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize>;
}

/// The files that an input's patterns match.
pub trait Files {
    /// An open file.
    type File: ReadAt;
    /// All of them, as they are now.
    fn list(&mut self) -> io::Result<Vec<Seen>>;
    /// Opens one of them.
    fn open(&mut self, path: &Path) -> io::Result<Self::File>;
}

/// Files on disk.
#[derive(Debug)]
pub struct OnDisk {
    patterns: Vec<Pattern>,
}

impl OnDisk {
    /// Those that one of the patterns matches.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Self { patterns }
    }
}

impl Files for OnDisk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<Seen>> {
        // Files are renamed while they are listed; where that goes on and on, what is seen must do.
        for _ in 0..LISTS_MAX {
            let (seen, is_whole) = self.list_once()?;
            if is_whole {
                return Ok(seen);
            }
        }
        Ok(self.list_once()?.0)
    }

    fn open(&mut self, path: &Path) -> io::Result<File> {
        File::open(path)
    }
}

/// Lists that are made before one counts although a file has gone during it.
const LISTS_MAX: usize = 3;

impl OnDisk {
    /// What is there, and whether all that was listed was still there when it was looked at.
    fn list_once(&self) -> io::Result<(Vec<Seen>, bool)> {
        let (mut seen, mut is_whole): (Vec<Seen>, bool) = (Vec::new(), true);
        for pattern in &self.patterns {
            let entries = match fs::read_dir(pattern.directory()) {
                Ok(entries) => entries,
                // It may come later.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                if !entry.file_name().to_str().is_some_and(|name| pattern.matches(name)) {
                    continue;
                }
                let Ok(metadata) = fs::metadata(entry.path()) else {
                    is_whole = false;
                    continue;
                };
                let stat = stat(&metadata);
                if metadata.is_file() && !seen.iter().any(|seen| seen.stat.id == stat.id) {
                    if seen.len() == MATCHES_MAX {
                        return Err(io::Error::other(format!("over {MATCHES_MAX} files match; narrow `paths`")));
                    }
                    seen.push(Seen { path: entry.path(), stat });
                }
            }
        }
        Ok((seen, is_whole))
    }
}

impl ReadAt for File {
    fn stat(&self) -> io::Result<Stat> {
        self.metadata().map(|metadata| stat(&metadata))
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, out, at)
    }
}

fn stat(metadata: &Metadata) -> Stat {
    let born = metadata.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let born_us = born.map_or(0, |since| since.as_micros() as u64);
    let id = FileId { device: metadata.dev(), inode: metadata.ino(), born_us };
    let written_us = metadata.mtime().saturating_mul(1_000_000).saturating_add(metadata.mtime_nsec() / 1000);
    Stat { id, bytes: metadata.len(), written_us, links: metadata.nlink() }
}

#[cfg(test)]
impl ReadAt for Vec<u8> {
    fn stat(&self) -> io::Result<Stat> {
        Ok(Stat { id: FileId::default(), bytes: self.len() as u64, written_us: 0, links: 1 })
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        let rest = self.get(at as usize..).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}
