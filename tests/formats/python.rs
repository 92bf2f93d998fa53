//! A reader in another language, written from the specification: it must print the texts, byte for byte.

use std::process::Command;

use super::{golden, made, path};
use afferent_tests::oracle_reader::hex;

/// Names of the files that it can read: batches and segments.
fn names() -> Vec<&'static str> {
    let batches = made::batches().into_iter().map(|(name, _)| name);
    let others = made::emptied().into_iter().chain(made::devices()).chain(made::segments());
    batches.chain(others.map(|(name, _)| name)).collect()
}

/// What it prints for a file; `None` where there is no Python.
fn read(file: &std::path::Path) -> Option<(bool, String)> {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("formats/reader.py");
    let keys = made::keys().into_iter().flat_map(|key| ["--key".to_owned(), hex(&key)]);
    let output = match Command::new("python3").arg(script).args(keys).arg(file).output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        output => output.expect("python3 starts"),
    };
    let said = if output.status.success() { output.stdout } else { output.stderr };
    Some((output.status.success(), String::from_utf8(said).expect("it prints UTF-8")))
}

#[test]
fn a_reader_made_from_the_specification_alone_prints_the_same_events() {
    for name in names() {
        let Some((is_read, said)) = read(&path(&format!("{name}.bin"))) else {
            println!("NOT CHECKED: {} golden files by reader.py, because there is no python3", names().len());
            return;
        };
        assert!(is_read, "{name}: {said}");
        assert_eq!(said, golden(name).1, "{name}");
    }
}

#[test]
fn it_refuses_a_batch_that_was_damaged() {
    let file = std::env::temp_dir().join(format!("afferent-damaged-{}.bin", std::process::id()));
    let mut bytes = golden("batch-critical-v1").0;
    bytes[300] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    if let Some((is_read, said)) = read(&file) {
        assert!(!is_read && said.contains("crc"), "{said}");
    }
    std::fs::remove_file(&file).unwrap();
}
