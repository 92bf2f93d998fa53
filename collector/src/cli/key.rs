//! `key`: the key that the log is signed with.

use std::path::PathBuf;

use afferent_collector::data_directory::{DataDirectory, first_public_key, public_key};
use anyhow::Context;

/// Show or rotate the key that signs the log.
#[derive(Debug, clap::Subcommand)]
pub enum Key {
    /// Print the public key, for `[ship] collector_keys` of agents and for verifying the log. After a rotation both
    /// need the log's first key, which is printed to standard error.
    Show {
        /// The collector's data directory.
        #[arg(long, value_name = "DIR", default_value = "afferent-data")]
        data: PathBuf,
    },
    /// Generate a new key and endorse it with the old one; agents that trust the old key trust the new one. Stop the
    /// collector first. The old private key is deleted.
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
                || format!("there is no collector.pub in {}; the collector writes it when it starts", data.display());
            let key = public_key(data).with_context(missing)?;
            println!("{key}");
            if let Some(first) = first_public_key(data).filter(|first| *first != key) {
                eprintln!(
                    "the log began with the key {first}, which endorsed it directly or through others: verify the log \
                     with that key"
                );
            }
        }
        Key::Rotate { data } => {
            let rotated = DataDirectory::open(data)?.rotate_key()?;
            println!("{}", rotated.key);
            eprintln!("the key {} endorses it; agents learn the new key when the collector runs again", rotated.by);
        }
    }
    Ok(())
}
