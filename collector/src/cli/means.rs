//! By what a log is judged beside itself: keys, witnesses, ring logs.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use afferent_collector::certificate::{CheckMaterial, Rings};
use afferent_collector::data_directory::{first_public_key, parse_public_key};
use afferent_collector::limits::WITNESS_FILE_BYTES_MAX;
use afferent_collector::log::{Trust, Witnesses};
use afferent_host::disk::FsDisk;
use afferent_protocol::sign::PublicKey;
use anyhow::Context;

/// By what a log is judged beside itself.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct MeansArgs {
    /// The collector's public key: 64 hexadecimal digits, or a file that contains them. After `key rotate`, give the
    /// log's first key. Repeat the option for each key that the log had without an endorsement. Without the option, the
    /// key found with the log is used, and the answer says so.
    #[arg(long = "key", value_name = "HEX|FILE")]
    pub keys: Vec<String>,
    /// A file with attestations that were kept elsewhere, one per line in hexadecimal digits: `attestations` in an
    /// agent's data directory, or the file that `[attest]` names.
    #[arg(long = "witness", value_name = "FILE")]
    pub witnesses: Vec<PathBuf>,
    /// The ring log of an agent: the folder `ring` of its data directory. Its events must be in the log, or still to be
    /// sent.
    #[arg(long = "ring", value_name = "DIRECTORY")]
    pub rings: Vec<PathBuf>,
}

impl MeansArgs {
    /// Reads all that is named. `data` is the collector's data directory.
    pub fn read(&self, data: &Path) -> anyhow::Result<CheckMaterial> {
        let trust = match (self.keys.is_empty(), first_public_key(data)) {
            (false, _) => Trust::Named(self.public_keys()?),
            (true, Some(key)) => Trust::Beside(key),
            (true, None) => Trust::Found,
        };
        let (mut witnesses, mut rings) = (Witnesses::default(), Rings::default());
        for path in &self.witnesses {
            let text = read_text(path, WITNESS_FILE_BYTES_MAX)?;
            witnesses.read(&text).with_context(|| format!("--witness {}", path.display()))?;
        }
        for path in &self.rings {
            rings.read(&FsDisk::read_only(path)).with_context(|| format!("--ring {}", path.display()))?;
        }
        Ok(CheckMaterial { trust, witnesses, rings })
    }

    /// The keys that are named.
    pub fn public_keys(&self) -> anyhow::Result<Vec<PublicKey>> {
        self.keys.iter().map(|named| key(named)).collect()
    }
}

/// A key by its digits, or by the file that holds them.
pub fn key(named: &str) -> anyhow::Result<PublicKey> {
    if let Ok(key) = parse_public_key(named) {
        return Ok(key);
    }
    let path = Path::new(named);
    let text = read_text(path, WITNESS_FILE_BYTES_MAX)
        .with_context(|| format!("--key {named}: neither a public key of 64 hexadecimal digits nor a readable file"))?;
    parse_public_key(text.trim()).with_context(|| format!("--key {named}"))
}

fn read_text(path: &Path, bytes_max: u64) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_string(&mut text));
    read.with_context(|| format!("reading {} failed", path.display()))?;
    anyhow::ensure!(text.len() as u64 <= bytes_max, "{} has more than {bytes_max} bytes", path.display());
    Ok(text)
}
