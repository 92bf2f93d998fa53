//! Files to one configuration: each is checked for itself, with its lines, then all are merged.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use afferent_host::secret::SecretError;
use toml::de::{DeTable, DeValue};

use super::Config;
use super::keys::sections;
use crate::limits::{CONFIG_BYTES_MAX, CONFIG_FILES_MAX};
use crate::section::Value;

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", .path.display())]
    Read {
        /// Path of the file or directory.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// A key that does not exist.
    #[error(
        "{location}: there is no key `{key}`{}",
        .nearest.as_ref().map(|key| format!("; did you mean `{key}`?")).unwrap_or_default()
    )]
    Unknown {
        /// File and line of the key.
        location: Location,
        /// The key as it is written there.
        key: String,
        /// The known key with the most similar name.
        nearest: Option<String>,
    },
    /// Not TOML, or a value with a wrong type.
    #[error("{location}: {message}")]
    Value {
        /// File and line of the value.
        location: Location,
        /// What is wrong with the value.
        message: String,
    },
    /// A key in two files.
    #[error("`{key}` is set in {first} and in {second}; remove one")]
    Twice {
        /// The key.
        key: String,
        /// Where it is set first.
        first: Location,
        /// Where it is set again.
        second: Location,
    },
    /// Values that contradict each other or are out of range.
    #[error("{}: {message}", .path.display())]
    Invalid {
        /// The main file.
        path: PathBuf,
        /// What is wrong, with the name of the key.
        message: String,
    },
    /// A secret that is not there.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// Path of the file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, line {}", self.path.display(), self.line)
    }
}

/// The text of one configuration file.
struct Source<'t> {
    path: &'t Path,
    text: &'t str,
}

impl Source<'_> {
    fn location(&self, span: &Range<usize>) -> Location {
        let before = &self.text.as_bytes()[..span.start.min(self.text.len())];
        Location { path: self.path.to_owned(), line: 1 + memchr::memchr_iter(b'\n', before).count() }
    }

    /// A fault that toml found; its own text would show the line, which may contain a secret by mistake.
    fn fault(&self, error: &toml::de::Error) -> ConfigError {
        let location = self.location(&error.span().unwrap_or(0..0));
        ConfigError::Value { location, message: error.message().to_owned() }
    }

    /// A value that its type refuses: names its key, unless the message does.
    fn wrong_value(&self, error: &toml::de::Error, values: &[(Range<usize>, String)]) -> ConfigError {
        let at = error.span().unwrap_or(0..0).start;
        let key = values.iter().find(|(span, _)| span.contains(&at)).map(|(_, key)| key);
        match (self.fault(error), key) {
            (ConfigError::Value { location, message }, Some(key)) if !message.contains(key) => {
                ConfigError::Value { location, message: format!("`{key}`: {message}") }
            }
            (fault, _) => fault,
        }
    }
}

/// Reads `path` and `conf.d/*.toml` beside it, in the order of their names.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let mut files = vec![path.to_owned()];
    files.extend(files_beside(path)?);
    let texts = files.iter().map(|path| read(path)).collect::<Result<Vec<_>, _>>()?;
    let sources: Vec<_> = files.iter().zip(&texts).map(|(path, text)| Source { path, text }).collect();
    merged(&sources)
}

/// Reads one text as if it stood in a file at `path`.
pub fn load_text(path: &Path, text: &str) -> Result<Config, ConfigError> {
    merged(&[Source { path, text }])
}

pub(super) fn files_beside(path: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let directory = path.parent().unwrap_or(Path::new("")).join("conf.d");
    let failed = |error| ConfigError::Read { path: directory.clone(), error };
    let mut files = Vec::new();
    match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(failed(error)),
        Ok(entries) => {
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                if path.extension().is_some_and(|ending| ending == "toml") {
                    files.push(path);
                }
            }
        }
    }
    if files.len() > CONFIG_FILES_MAX {
        return Err(failed(io::Error::other(format!("it holds over {CONFIG_FILES_MAX} files"))));
    }
    files.sort();
    Ok(files)
}

pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let mut text = String::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(CONFIG_BYTES_MAX + 1).read_to_string(&mut text));
    let read = read.and_then(|len| match len as u64 > CONFIG_BYTES_MAX {
        true => Err(io::Error::other(format!("it has over {CONFIG_BYTES_MAX} bytes"))),
        false => Ok(()),
    });
    read.map(|()| text).map_err(|error| ConfigError::Read { path: path.to_owned(), error })
}

fn merged(sources: &[Source<'_>]) -> Result<Config, ConfigError> {
    let mut locations = BTreeMap::new();
    let mut all = toml::Table::new();
    for source in sources {
        let table = DeTable::parse(source.text).map_err(|error| source.fault(&error))?;
        let mut values = Vec::new();
        walk(source, "", table.get_ref(), &mut locations, &mut values)?;
        // Every section has defaults, so that each file is a whole configuration by itself.
        toml::from_str::<Config>(source.text).map_err(|error| source.wrong_value(&error, &values))?;
        merge(&mut all, source.text.parse().map_err(|error| source.fault(&error))?);
    }
    let path = sources.first().map_or(Path::new(""), |source| source.path);
    let invalid = |message| ConfigError::Invalid { path: path.to_owned(), message };
    // As text once more: reading from values would be all of the reading code a second time in the program.
    let config: Config = toml::from_str(&all.to_string()).map_err(|error| invalid(error.message().to_owned()))?;
    config.check().map_err(invalid)?;
    Ok(config)
}

/// Refuses unknown keys, and keys that an earlier file has; records the location and key of each value.
fn walk(
    source: &Source<'_>,
    prefix: &str,
    table: &DeTable<'_>,
    locations: &mut BTreeMap<String, Location>,
    values: &mut Vec<(Range<usize>, String)>,
) -> Result<(), ConfigError> {
    let known = children(prefix);
    for (key, value) in table {
        let path = joined(prefix, key.get_ref());
        let location = source.location(&key.span());
        if !known.contains(&**key.get_ref()) {
            return Err(ConfigError::Unknown { location, nearest: nearest(prefix, key.get_ref(), &known), key: path });
        }
        match value.get_ref() {
            DeValue::Table(inner) if !children(&path).is_empty() => walk(source, &path, inner, locations, values)?,
            inner => {
                if let DeValue::Array(items) = inner {
                    let mut tables = items.iter().filter_map(|item| item.get_ref().as_table());
                    tables.try_for_each(|inner| walk(source, &path, inner, &mut BTreeMap::new(), values))?;
                }
                in_range(prefix, key.get_ref(), inner)
                    .map_err(|message| ConfigError::Value { location: source.location(&value.span()), message })?;
                values.push((value.span(), path.clone()));
                if let Some(first) = locations.get(&path) {
                    return Err(ConfigError::Twice { key: path, first: first.clone(), second: location });
                }
                locations.insert(path, location);
            }
        }
    }
    Ok(())
}

/// Refuses a whole number beyond the range that the table states for its key.
fn in_range(prefix: &str, name: &str, value: &DeValue<'_>) -> Result<(), String> {
    let DeValue::Integer(written) = value else { return Ok(()) };
    let keys = sections().filter(|section| section.path == prefix).flat_map(|section| section.keys);
    let Some(Value::Whole(least, most)) = keys.into_iter().find(|key| key.name == name).map(|key| key.value) else {
        return Ok(());
    };
    let number = i128::from_str_radix(written.as_str(), written.radix());
    match number.is_ok_and(|number| (i128::from(least)..=i128::from(most)).contains(&number)) {
        true => Ok(()),
        false => Err(format!("`{prefix}.{name}` is {written}; set it from {least} to {most}")),
    }
}

fn joined(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// The known keys of the table at this path.
fn children(prefix: &str) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    for section in sections() {
        if section.path == prefix {
            names.extend(section.keys.iter().map(|key| key.name));
        } else if let Some(rest) = section.path.strip_prefix(prefix)
            && let Some(rest) = if prefix.is_empty() { Some(rest) } else { rest.strip_prefix('.') }
        {
            names.insert(rest.split('.').next().unwrap_or(rest));
        }
    }
    names
}

/// The key of this table with the most similar name, or the same key in a different table.
fn nearest(prefix: &str, key: &str, known: &BTreeSet<&str>) -> Option<String> {
    let close = known.iter().map(|name| (strsim::damerau_levenshtein(name, key), *name)).min();
    let longest = (key.len() / 3).max(1);
    match close {
        Some((distance, name)) if distance <= longest => Some(joined(prefix, name)),
        _ => sections().find_map(|section| {
            let same = section.keys.iter().find(|other| other.name == key)?;
            Some(section.path_of(same))
        }),
    }
}

/// Takes `from` into `into`; no key is in both, as [`walk`] has checked.
fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge(into, from),
            (_, value) => {
                into.insert(key, value);
            }
        }
    }
}
