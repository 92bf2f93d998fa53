//! Who knows whom among the crates.

use std::process::Command;

/// The crates of this workspace that a crate is built with, itself included.
fn ours(package: &str, features: &[&str]) -> Vec<String> {
    let tree = ["tree", "--offline", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", package];
    let output = Command::new(env!("CARGO"))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .args(tree)
        .args(features)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are text");
    let mut names: Vec<String> = text
        .lines()
        .filter_map(|line| line.split(' ').next())
        .filter(|name| name.starts_with("afferent-"))
        .map(str::to_owned)
        .collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn the_collector_is_built_without_the_agent_but_for_up() {
    let without = ours("afferent-collector", &["--no-default-features"]);
    assert_eq!(without, ["afferent-collector", "afferent-host", "afferent-protocol"]);
    // The control: `up` runs an agent.
    let with = ours("afferent-collector", &["--no-default-features", "--features", "up"]);
    assert!(with.contains(&"afferent-agent".to_owned()), "{with:?}");
    assert_eq!(ours("afferent-collector", &[]), with, "`cargo run --release -- up` works");
}

#[test]
fn the_protocol_knows_nobody_and_the_others_know_only_what_is_below_them() {
    assert_eq!(ours("afferent-protocol", &["--all-features"]), ["afferent-protocol"]);
    assert_eq!(ours("afferent-host", &["--all-features"]), ["afferent-host", "afferent-protocol"]);
    assert_eq!(ours("afferent-firmware", &["--all-features"]), ["afferent-firmware", "afferent-protocol"]);
    assert_eq!(ours("afferent-agent", &["--all-features"]), ["afferent-agent", "afferent-host", "afferent-protocol"]);
}
