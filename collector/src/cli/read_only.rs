//! A log's directory that nothing here can write to, and whose reading is watched.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;

use afferent_protocol::disk::{Disk, DiskFile};

use super::progress::Progress;

/// Files of a directory, opened for reading only.
pub struct ReadOnlyDisk {
    directory: PathBuf,
    progress: Rc<Progress>,
}

/// One of them.
pub struct ReadOnlyFile {
    file: File,
    progress: Rc<Progress>,
}

impl ReadOnlyDisk {
    /// Takes a directory that exists.
    pub fn new(directory: PathBuf, progress: Rc<Progress>) -> io::Result<Self> {
        let disk = Self { directory, progress };
        let bytes = disk.list()?.iter().map(|(_, bytes)| bytes).sum();
        disk.progress.expect(bytes);
        Ok(disk)
    }
}

impl Disk for ReadOnlyDisk {
    type File = ReadOnlyFile;

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

    fn open(&self, name: &str) -> io::Result<ReadOnlyFile> {
        let file = File::open(self.directory.join(name))?;
        Ok(ReadOnlyFile { file, progress: Rc::clone(&self.progress) })
    }

    fn create(&self, _: &str, _: u64) -> io::Result<ReadOnlyFile> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }
}

impl DiskFile for ReadOnlyFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, position)?;
        self.progress.came_on(buffer.len() as u64);
        Ok(())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }
}
