//! A copy of the last configuration with which the agent has reached a collector: should the one that it is started
//! with be wrong, it continues with that.
//!
//! The copy is `config.proven/` in the data directory: the main file as `agent.toml`, and its `conf.d`.

use std::io;
use std::path::{Path, PathBuf};

use afferent_host::files;

use super::load::{files_beside, load};
use super::{Config, ConfigError};

/// The copy's directory in the data directory.
pub const PROVEN: &str = "config.proven";
/// A copy of a configuration that has not worked yet.
const STAGED: &str = "config.new";
/// The one before, while the two are exchanged.
const BEFORE: &str = "config.before";
const MAIN: &str = "agent.toml";

/// Why the agent uses the last working configuration instead of the given one.
#[derive(Debug, thiserror::Error)]
#[error(
    "the configuration cannot be used ({error}); the agent runs with the last one that has worked, {}: correct it and \
     send SIGHUP", .last_working.display()
)]
pub struct FellBack {
    /// What is wrong with the given one.
    pub error: ConfigError,
    /// The main file of the configuration in use.
    pub last_working: PathBuf,
}

/// Reads the configuration. If that fails, reads the last one that has worked.
pub fn load_or_last_working(path: &Path) -> Result<(Config, Option<FellBack>), ConfigError> {
    let error = match load(path) {
        Ok(config) => return Ok((config, None)),
        Err(error) => error,
    };
    for data in data_directories(path) {
        for directory in [PROVEN, BEFORE] {
            let last_working = data.join(directory).join(MAIN);
            if let Ok(config) = load(&last_working)
                && config.agent.data_dir == data
            {
                return Ok((config, Some(FellBack { error, last_working })));
            }
        }
    }
    Err(error)
}

/// Copies the configuration to the data directory, for [`promote`].
pub fn stage(path: &Path, data: &Path) -> io::Result<()> {
    let staged = data.join(STAGED);
    remove(&staged)?;
    let beside = staged.join("conf.d");
    files::make_directory(&beside)?;
    copy(path, &staged.join(MAIN))?;
    for file in files_beside(path).map_err(|error| io::Error::other(error.to_string()))? {
        copy(&file, &beside.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// After a power cut the copy is there as a whole, or is not used.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    files::replace(to, &std::fs::read(from)?)
}

/// Marks the staged copy as working.
pub fn promote(data: &Path) -> io::Result<()> {
    let (last_working, before) = (data.join(PROVEN), data.join(BEFORE));
    if last_working.exists() {
        remove(&before)?;
        std::fs::rename(&last_working, &before)?;
    }
    std::fs::rename(data.join(STAGED), &last_working)?;
    std::fs::File::open(data)?.sync_all()?;
    remove(&before)
}

fn remove(directory: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Candidates for the data directory when the file is wrong: a line that sets it, or the default.
fn data_directories(path: &Path) -> Vec<PathBuf> {
    let mut files = vec![path.to_owned()];
    files.extend(files_beside(path).unwrap_or_default());
    let texts = files.iter().filter_map(|file| super::load::read(file).ok());
    let named = |text: String| {
        let value = |line: &str| {
            let value = line.trim().strip_prefix("data_dir")?.trim_start().strip_prefix('=')?.trim();
            Some(PathBuf::from(value.strip_prefix(['"', '\''])?.split(['"', '\'']).next()?))
        };
        text.lines().filter_map(value).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = texts.flat_map(named).collect();
    if all.is_empty() {
        all.push(Config::default().agent.data_dir);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_configuration_gives_way_to_the_last_that_has_worked() {
        let directory = tempfile::tempdir().unwrap();
        let (path, data) = (directory.path().join("press.toml"), directory.path().join("data"));
        std::fs::create_dir_all(directory.path().join("conf.d")).unwrap();
        std::fs::create_dir(&data).unwrap();
        let good = format!("[agent]\nname = \"press-1\"\ndata_dir = {data:?}\n");
        std::fs::write(&path, &good).unwrap();
        std::fs::write(directory.path().join("conf.d/1.toml"), "[http]\naddress = \"127.0.0.1:9188\"\n").unwrap();
        let (config, fell_back) = load_or_last_working(&path).unwrap();
        assert!(fell_back.is_none());
        stage(&path, &data).unwrap();
        for wrong in ["[ship]\nurll = \"x\"\n", "[[[", "[ship]\nurl = \"http://x\"\n"] {
            std::fs::write(&path, format!("{good}{wrong}")).unwrap();
            // The control: a copy that is only staged does not count.
            assert!(load_or_last_working(&path).is_err() || data.join(PROVEN).exists());
            if !data.join(PROVEN).exists() {
                promote(&data).unwrap();
            }
            let (used, fell_back) = load_or_last_working(&path).unwrap();
            assert_eq!(used, config);
            assert!(fell_back.unwrap().to_string().contains("press.toml"));
        }
        // Of two working ones the newest counts; a stop in the middle leaves the previous one.
        std::fs::write(&path, good.replace("press-1", "press-2")).unwrap();
        stage(&path, &data).unwrap();
        promote(&data).unwrap();
        std::fs::rename(data.join(PROVEN), data.join(BEFORE)).unwrap();
        std::fs::write(&path, format!("{good}x")).unwrap();
        assert_eq!(load_or_last_working(&path).unwrap().0.agent.name.as_str(), "press-2");
    }
}
