//! A collector says what has died, what was refused and what it cannot do.

mod checked;
mod doors;
mod parts;
mod refused;
mod shown;

use std::process::Command;

use afferent_tests::process::{Rig, binary, get_text};

/// A command of the collector's program.
fn collector(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary("afferent-collector"));
    command.args(arguments);
    command
}

/// One figure of the collector with exactly these labels.
fn figure(rig: &Rig, name: &str) -> Option<u64> {
    let metrics = get_text(rig.http, "/metrics")?;
    metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}
