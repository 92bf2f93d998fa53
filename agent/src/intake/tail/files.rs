//! The files of an input: which there are, and their bytes. A trait, so that tests follow files that lie on no disk.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::pattern::Pattern;
use crate::limits::MATCHES_MAX;

/// By what the system knows a file, whatever it is called.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// The file system.
    pub device: u64,
    /// The file in it. Used again when a file is gone.
    pub inode: u64,
}

/// What the system says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which one it is.
    pub id: FileId,
    /// Its length.
    pub bytes: u64,
    /// When it was last written, in microseconds since 1970.
    pub written_us: i64,
    /// How many names it has: 0 when it is deleted.
    pub links: u64,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where.
    pub path: PathBuf,
    /// What the system says of it.
    pub stat: Stat,
}

/// Bytes of a file that is open.
pub trait ReadAt {
    /// What the system says of it now.
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
        let mut seen: Vec<Seen> = Vec::new();
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
                // What is gone by now is gone.
                let Ok(metadata) = fs::metadata(entry.path()) else { continue };
                let stat = stat(&metadata);
                if metadata.is_file() && !seen.iter().any(|seen| seen.stat.id == stat.id) {
                    if seen.len() == MATCHES_MAX {
                        return Err(io::Error::other(format!("over {MATCHES_MAX} files match; narrow `paths`")));
                    }
                    seen.push(Seen { path: entry.path(), stat });
                }
            }
        }
        Ok(seen)
    }

    fn open(&mut self, path: &Path) -> io::Result<File> {
        File::open(path)
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
    let id = FileId { device: metadata.dev(), inode: metadata.ino() };
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
