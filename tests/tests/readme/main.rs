//! What the documents show is so: their configurations are valid, their links lead somewhere, machine 88-C breaks down, and
//! every command prints what is shown below it.

mod commands;
mod keys;
mod reader;
mod shown;
mod story;

use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_tests::process::{Folder, binary, run_to_end};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The documents with commands, in the order in which a newcomer reads them.
const GUIDES: [&str; 3] = ["README.md", "agent/README.md", "collector/README.md"];

/// All other documents that link to each other.
const OTHERS: [&str; 11] = [
    "tests/README.md",
    "protocol/ARCHITECTURE.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
    "collector/src/certificate/README.md",
    "collector/src/forward/influx/README.md",
    "collector/src/forward/kafka/README.md",
    "collector/src/forward/mqtt/README.md",
    "collector/src/forward/parquet/README.md",
    "collector/src/forward/postgres/README.md",
    "collector/src/forward/webhook/README.md",
];

/// A document of the repository.
fn document(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All guides, one after the other.
fn guides() -> String {
    GUIDES.map(document).concat()
}

/// The TOML blocks of this kind.
fn configurations(kind: &str) -> Vec<String> {
    let text = guides();
    let fence = format!("```toml {kind}\n");
    text.split(&fence)
        .skip(1)
        .map(|rest| rest.split("```").next().expect("split gives at least one").to_owned())
        .collect()
}

/// Has the program check the text as its configuration; gives what it says, or what is wrong.
fn check(program: &str, text: &str) -> Result<String, String> {
    let folder = Folder::new("readme-config");
    let path = folder.join("config.toml");
    // What the examples name on a machine is not on this one.
    let data = folder.path().display().to_string();
    let text = [
        ("/usr/local/bin/read-plc", "/bin/true"),
        ("/dev/ttyUSB0", "/dev/null"),
        ("/var/lib/afferent\"", &format!("{data}\"")),
    ]
    .into_iter()
    .fold(text.to_owned(), |text, (named, here)| text.replace(named, here));
    std::fs::write(&path, text).expect("the folder can be written");
    let mut command = Command::new(binary(program));
    command.arg("check").arg("--config").arg(&path).env("AFFERENT_PASSWORD", "a password");
    if program == "afferent-collector" {
        // What is checked is the text: this machine has neither the service's folder nor its ports to give.
        command.args(["--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0"]).arg("--data").arg(folder.join("data"));
    }
    let (status, said) = run_to_end(&mut command);
    if status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn every_configuration_is_valid_and_one_with_another_key_is_not() {
    for (kind, count) in [("agent", 1), ("collector", 5)] {
        let found = configurations(kind);
        assert_eq!(found.len(), count, "configurations of the {kind}");
        for text in found {
            let program = format!("afferent-{kind}");
            check(&program, &text).unwrap_or_else(|said| panic!("{said}\n{text}"));
            let wrong = text.replacen("data", "dada", 1);
            assert!(check(&program, &wrong).is_err(), "an unknown key was taken: {wrong}");
        }
    }
}

/// The headings of a document, as links name them.
fn anchors(text: &str) -> Vec<String> {
    let heading = |line: &str| {
        let kept = line.trim_start_matches('#').trim().to_lowercase();
        kept.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter)).collect::<String>()
    };
    text.lines().filter(|line| line.starts_with('#')).map(|line| heading(line).replace(' ', "-")).collect()
}

/// Links of a document that lead nowhere, and how many links it has.
fn broken(path: &str, text: &str) -> (Vec<String>, usize) {
    let folder = root().join(path).parent().expect("a document lies in a folder").to_owned();
    let targets: Vec<_> = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let leads_nowhere = |target: &&&str| {
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let linked = if file.is_empty() { root().join(path) } else { folder.join(file) };
        let has_anchor =
            || std::fs::read_to_string(&linked).is_ok_and(|text| anchors(&text).contains(&anchor.to_owned()));
        !linked.exists() || !(anchor.is_empty() || has_anchor())
    };
    let files = targets.iter().filter(|target| !target.contains("://"));
    (files.filter(leads_nowhere).map(|target| (*target).to_owned()).collect(), targets.len())
}

#[test]
fn every_link_leads_to_a_file_and_its_heading() {
    let mut links = 0;
    for path in GUIDES.into_iter().chain(OTHERS) {
        let (broken, count) = broken(path, &document(path));
        assert!(broken.is_empty(), "{path} links to what is not there: {broken:?}");
        links += count;
    }
    assert!(links > 60, "the links were found: {links}");
    let control = "[a](README.md#what-it-promises) [b](nowhere.md) [c](README.md#nowhere)";
    assert_eq!(broken("README.md", control), (vec!["nowhere.md".to_owned(), "README.md#nowhere".to_owned()], 3));
}

#[test]
fn readme_is_short_and_shows_the_page() {
    let text = document("README.md");
    assert!(text.lines().count() <= 150, "README has {} lines", text.lines().count());
    let picture = std::fs::read(root().join(".github/page.png")).expect("README shows a picture");
    assert!(text.contains("](.github/page.png)") && picture.starts_with(b"\x89PNG"));
}

/// The files that a table of `tests/README.md` links to, each with the names that stand behind the link.
fn linked(text: &str) -> Vec<(String, Vec<String>)> {
    let links = text.lines().filter(|line| line.starts_with("| **")).flat_map(|line| line.split("](").skip(1));
    let names = |behind: &str| {
        let quoted = behind.split('[').next().expect("split gives at least one").split('`').skip(1).step_by(2);
        quoted.map(str::to_owned).collect()
    };
    links.filter_map(|link| link.split_once(')')).map(|(file, behind)| (file.to_owned(), names(behind))).collect()
}

#[test]
fn every_test_that_stands_behind_an_attack_exists_by_its_name() {
    let folder = root().join("tests");
    let linked = linked(&std::fs::read_to_string(folder.join("README.md")).expect("there is a README of the tests"));
    let mut tests = 0;
    for (file, names) in &linked {
        let text = std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        for name in names {
            assert!(text.contains(&format!("fn {name}()")), "{file} has no test {name}");
            tests += 1;
        }
    }
    let scripts = linked.iter().filter(|(file, _)| file.starts_with("attacks/")).count();
    let attacks = std::fs::read_dir(folder.join("attacks")).expect("there are attacks");
    let is_attack = |name: &str| name.ends_with(".py") && name.as_bytes()[0].is_ascii_digit();
    let there = attacks.filter(|file| is_attack(&file.as_ref().expect("a file").file_name().to_string_lossy())).count();
    assert_eq!(scripts, there, "every script has its row");
    assert!(tests > 20, "the names were found: {linked:?}");
}
