//! What README shows is so: its configurations are valid, its links lead somewhere, machine 88-C breaks down, and every
//! command does what is told of it.

mod breakdown;
mod commands;
mod states;

use std::path::{Path, PathBuf};
use std::process::Command;

use afferent_tests::process::{Folder, binary, run_to_end};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).expect("there is a README")
}

/// The TOML blocks of this kind.
fn configurations(kind: &str) -> Vec<String> {
    let text = readme();
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
    std::fs::write(&path, text).expect("the folder can be written");
    let mut command = Command::new(binary(program));
    command.arg("check").arg("--config").arg(&path).env("AFFERENT_PASSWORD", "a password");
    let (status, said) = run_to_end(&mut command);
    if status.success() { Ok(said) } else { Err(said) }
}

#[test]
fn every_configuration_is_valid_and_one_with_another_key_is_not() {
    for (kind, count) in [("agent", 1), ("collector", 4)] {
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

#[test]
fn every_link_leads_to_a_file() {
    let text = readme();
    let targets: Vec<_> = text.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect();
    let files = targets.iter().filter(|target| !target.contains("://"));
    let missing: Vec<_> = files.filter(|target| !root().join(target).exists()).collect();
    assert!(missing.is_empty(), "README links to what is not there: {missing:?}");
    assert!(targets.len() > 20, "the links were found: {targets:?}");
}
