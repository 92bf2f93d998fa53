//! Paths of files to follow: a directory, and a name in which `*` stands for any characters and `?` for one.

use std::path::{Path, PathBuf};

/// One of an input's `paths`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    directory: PathBuf,
    name: String,
}

impl Pattern {
    /// Reads a path; the error states what is wrong with it.
    pub fn new(path: &str) -> Result<Self, String> {
        let (directory, name) = match path.rsplit_once('/') {
            Some(("", name)) => ("/", name),
            Some((directory, name)) => (directory, name),
            None => (".", path),
        };
        if name.is_empty() {
            return Err(format!("{path:?} names no file; write a name behind the last slash, such as press*.log"));
        }
        if directory.contains(['*', '?', '[']) {
            return Err(format!("{path:?} has a wildcard in its directory; list the directories one by one"));
        }
        if name.contains(['[', ']', '{', '}']) {
            return Err(format!("{path:?} has a wildcard other than * and ?; list the files one by one"));
        }
        Ok(Self { directory: PathBuf::from(directory), name: name.to_owned() })
    }

    /// The directory of the files.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether a name in that directory is meant.
    pub fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.name.as_bytes(), name.as_bytes());
        let (mut at, mut of_name) = (0, 0);
        // Behind the last `*`, and how much of the name that one has taken so far.
        let mut star: Option<(usize, usize)> = None;
        while of_name < name.len() {
            match pattern.get(at) {
                Some(b'*') => {
                    at += 1;
                    star = Some((at, of_name));
                }
                Some(byte) if *byte == b'?' || *byte == name[of_name] => {
                    at += 1;
                    of_name += 1;
                }
                _ => match &mut star {
                    Some((behind, taken)) => {
                        *taken += 1;
                        (at, of_name) = (*behind, *taken);
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|byte| *byte == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_whole() {
        let matches = |pattern: &str, name: &str| Pattern::new(pattern).unwrap().matches(name);
        for (pattern, name) in
            [("/a/b.log", "b.log"), ("*.log", "b.log"), ("b*", "b"), ("?.l*g*", "b.log.1"), ("**g", "g")]
        {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("b.log", "b.log.1"), ("*.log", "b.log.1"), ("?", ""), ("?", "ab"), ("a*b", "ac")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert_eq!(Pattern::new("/a/b*").unwrap().directory(), Path::new("/a"));
        assert_eq!(Pattern::new("/b*").unwrap().directory(), Path::new("/"));
        assert_eq!(Pattern::new("b*").unwrap().directory(), Path::new("."));
        for wrong in ["/a/", "/a*/b", "/a/[ab]", ""] {
            assert!(Pattern::new(wrong).is_err(), "{wrong}");
        }
    }
}
