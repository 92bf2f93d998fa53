//! `key`: the key that the log is signed with.

use std::path::PathBuf;

use afferent_collector::data_directory::{DataDirectory, first_public_key, public_key};
use anyhow::Context;

/// Look at the key that the log is signed with, or replace it.
#[derive(Debug, clap::Subcommand)]
pub enum Key {
    /// Print the public key: for `[ship] collector_keys` of agents, and for those who verify. After a rotation these name
    /// the log's first key, which is told on standard error.
    Show {
        /// The collector's data directory.
        #[arg(long, value_name = "DIR", default_value = "afferent-data")]
        data: PathBuf,
    },
    /// Draw a new key and let the old one endorse it; agents that trust the old one trust the new one. The collector must
    /// not run. The old private key is gone afterwards.
    Rotate {
        /// The collector's data directory.
        #[arg(long, value_name = "DIR", default_value = "afferent-data")]
        data: PathBuf,
    },
}

/// Runs the command.
pub fn key(command: &Key) -> anyhow::Result<()> {
    match command {
        Key::Show { data } => {
            let missing =
                || format!("there is no collector.pub in {}; the collector writes it at its start", data.display());
            let key = public_key(data).with_context(missing)?;
            println!("{key}");
            if let Some(first) = first_public_key(data).filter(|first| *first != key) {
                eprintln!("the log began with the key {first}, which leads to it: verify the log by that one");
            }
        }
        Key::Rotate { data } => {
            let rotated = DataDirectory::open(data)?.rotate_key()?;
            println!("{}", rotated.key);
            eprintln!("the key {} endorses it; agents learn of it when the collector runs again", rotated.by);
        }
    }
    Ok(())
}
