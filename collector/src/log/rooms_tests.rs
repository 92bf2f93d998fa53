//! This module's promises to its users, checked against the sources of the collector.

use std::path::{Path, PathBuf};

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The files below a folder of the collector, with their content.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root.join(folder), &mut found);
    let texts = found.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let within = |path: &Path| path.strip_prefix(&root).unwrap().to_owned();
    texts.map(|path| (within(&path), std::fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn batches_are_decoded_in_one_file_of_the_collector() {
    let decodes = |text: &String| {
        ["codec::records", "codec::{", "codec::rows", "rows::Decoder"].iter().any(|way| text.contains(way))
    };
    let found: Vec<PathBuf> = sources("").into_iter().filter(|(_, text)| decodes(text)).map(|(path, _)| path).collect();
    let own = PathBuf::from("log/rooms_tests.rs");
    let found: Vec<&PathBuf> = found.iter().filter(|path| **path != own).collect();
    assert_eq!(found, [Path::new("log/records.rs")], "everything else walks over events, or opens a batch there");
}

#[test]
fn the_log_knows_nothing_of_those_who_read_it() {
    let above = [
        "api",
        "certificate",
        "cloud_event",
        "core",
        "forward",
        "intake",
        "models",
        "posted",
        "retention",
        "sources",
        "subscribe",
    ];
    let mut imports = 0;
    for (path, text) in sources("log") {
        let is_test = path.to_string_lossy().contains("test") || path.ends_with("memory.rs");
        // The fields of an error or a document may name them: code is what comes before a file's own tests.
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let Some((_, import)) = line.split_once("crate::") else { continue };
            let room = import.split(|character: char| !character.is_alphanumeric() && character != '_').next().unwrap();
            imports += 1;
            assert!(is_test || !above.contains(&room), "{}: {line}", path.display());
        }
    }
    assert!(imports > 50, "the control: imports are found ({imports})");
}
