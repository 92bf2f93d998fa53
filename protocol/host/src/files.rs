//! Files of one owner: no other user can read what both programs keep, and a name that another user has prepared, a
//! symbolic link above all, leads nowhere.

use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What others may do with a directory that is made here: nothing.
const DIRECTORY_MODE: u32 = 0o700;
/// The same of files.
const FILE_MODE: u32 = 0o600;

/// Makes a directory, with those above it, where it does not exist. Its name is durable when this returns.
pub fn make_directory(path: &Path) -> io::Result<()> {
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing = path.ancestors().take_while(is_missing).count();
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
    // One that is there already may have been made just before a power cut.
    path.ancestors().skip(1).take(missing.max(1)).try_for_each(sync_directory)
}

/// How a new file is opened: it must not exist, under whatever kind of name.
pub fn new_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(FILE_MODE);
    options
}

/// Puts a file with this content in the place of the one that has the name, if any. It is durable when this returns; a
/// power cut in between leaves the one or the other as a whole.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    put_in_place(path, content, File::sync_all)?;
    sync_directory(path.parent().unwrap_or(Path::new("")))
}

/// As [`replace`], but durable only some time later. A stop of the process leaves the one or the other as a whole, a
/// power cut perhaps neither.
pub fn replace_unsynced(path: &Path, content: &[u8]) -> io::Result<()> {
    put_in_place(path, content, |_| Ok(()))
}

fn put_in_place(path: &Path, content: &[u8], sync: fn(&File) -> io::Result<()>) -> io::Result<()> {
    let unfinished = unfinished(path);
    // A file that a stop in the middle left behind is not in use.
    remove(&unfinished)?;
    let mut file = new_file().open(&unfinished)?;
    file.write_all(content)?;
    sync(&file)?;
    std::fs::rename(&unfinished, path)
}

/// Removes a file that need not exist.
pub fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Opens the file of a lock, which is made where there is none. What it holds stays.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE).custom_flags(no_follow);
    let file = options.open(path).map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => not_ours("a symbolic link"),
        _ => error,
    })?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(not_ours("no regular file"));
    }
    if metadata.nlink() > 1 {
        return Err(not_ours("another file's second name"));
    }
    Ok(file)
}

fn not_ours(what: &str) -> io::Error {
    io::Error::other(format!("it is {what}, and would be written to; find out who made it, and remove it"))
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    // A relative path of one part begins where the process is.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    File::open(path)?.sync_all()
}

/// Says whether everybody on the machine can look into a directory, as with one that was made by hand.
pub fn is_open_to_all(directory: &Path) -> bool {
    std::fs::metadata(directory).is_ok_and(|metadata| metadata.mode() & 0o007 != 0)
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".new");
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("afferent-files-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        make_directory(&directory).unwrap();
        directory
    }

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn what_is_made_is_for_its_owner_alone() {
        let directory = directory("owner");
        make_directory(&directory.join("a/b")).unwrap();
        replace(&directory.join("a/b/c"), b"first").unwrap();
        open_lock(&directory.join("lock")).unwrap();
        let modes = ["", "a", "a/b", "a/b/c", "lock"].map(|path| mode(&directory.join(path)));
        assert_eq!(modes, [0o700, 0o700, 0o700, 0o600, 0o600]);
        assert!(!is_open_to_all(&directory));
        // The control: what the system makes without being asked is open to all.
        let open = directory.join("open");
        DirBuilder::new().mode(0o755).create(&open).unwrap();
        assert!(is_open_to_all(&open));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_what_a_stop_left_behind_is_no_hindrance() {
        let directory = directory("replace");
        let path = directory.join("place");
        std::fs::write(directory.join("place.new"), b"half").unwrap();
        for content in ["first and longer", "second"] {
            replace(&path, content.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1);
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn names_that_somebody_has_prepared_lead_nowhere() {
        let directory = directory("links");
        let victim = directory.join("victim");
        let untouched = || std::fs::read(&victim).unwrap() == b"dear";
        std::fs::write(&victim, b"dear").unwrap();
        let lock = directory.join("lock");
        symlink(&victim, &lock).unwrap();
        // The control: opened without a second thought, it is the victim.
        assert_eq!(std::fs::read(&lock).unwrap(), b"dear");
        assert!(open_lock(&lock).unwrap_err().to_string().contains("symbolic link"));
        std::fs::remove_file(&lock).unwrap();
        std::fs::hard_link(&victim, &lock).unwrap();
        assert!(open_lock(&lock).unwrap_err().to_string().contains("second name"));
        symlink(&victim, directory.join("place.new")).unwrap();
        symlink(&victim, directory.join("place")).unwrap();
        replace(&directory.join("place"), b"mine").unwrap();
        assert_eq!(std::fs::read(directory.join("place")).unwrap(), b"mine");
        assert!(untouched());
        // One that leads to no file would make it elsewhere.
        let elsewhere = directory.join("elsewhere");
        symlink(&elsewhere, directory.join("other-lock")).unwrap();
        assert!(open_lock(&directory.join("other-lock")).is_err() && !elsewhere.exists());
        std::fs::remove_dir_all(directory).unwrap();
    }
}
