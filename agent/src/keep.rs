//! What an agent keeps beside its ring log: the pin, the newest receipt, the last attestations.
//!
//! | file | content | written |
//! |---|---|---|
//! | `collector.pin` | keys of collectors, a line each | durably, before anything is believed because of it |
//! | `receipt` | the collector's newest signed ack | in the background, now and then |
//! | `attestations` | the last ones that an ack brought, in hexadecimal, a line each | in the background, when one comes |
//!
//! A receipt shows what the collector has acknowledged, should it lose it; an attestation refutes a log that was
//! rewritten (`--witness`). Losing the newest of either costs nothing but that proof.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use afferent_host::{files, hex};
use afferent_protocol::attestation::ATTESTATION_LEN;
use afferent_protocol::limits::SIGNED_BYTES_MAX;

use crate::limits::{ATTESTATIONS_MAX, KEEPER_JOBS_MAX, KEPT_BYTES_MAX, WITNESS_SYNC_MS};
use crate::supervise::{Supervisor, planted};
use crate::trouble::Troubles;
use crate::trust::{self, Pin};

/// The name of the lock's file in the data directory.
pub const LOCK_FILE: &str = "lock";
/// The name of the pin's file in the data directory.
pub const PIN_FILE: &str = "collector.pin";
/// The name of the receipt's file.
pub const RECEIPT_FILE: &str = "receipt";
/// The name of the attestations' file.
pub const ATTESTATIONS_FILE: &str = "attestations";

/// The name of the keeper's thread.
const NAME: &str = "keeper";

/// An attestation's bytes.
pub type AttestationBytes = [u8; ATTESTATION_LEN];

/// The content to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keepsake {
    /// The pin: durably, then [`crate::core::AgentCore::pinned`] is called.
    Pins(Vec<Pin>),
    /// The newest receipt.
    Receipt(Vec<u8>),
    /// The last attestations, oldest first.
    Attestations(Vec<AttestationBytes>),
}

/// What a start finds of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The pin.
    pub pins: Vec<Pin>,
    /// The receipt.
    pub receipt: Option<Vec<u8>>,
    /// The attestations, oldest first.
    pub attestations: Vec<AttestationBytes>,
}

impl Kept {
    /// Reads what the directory has. What cannot be read counts as not there; a pin that cannot be is reported.
    pub fn read(directory: &Path) -> Self {
        let pins = match text(directory, PIN_FILE) {
            None => Vec::new(),
            Some(text) => trust::read_pins(&text).unwrap_or_else(|| {
                let path = directory.join(PIN_FILE);
                tracing::error!("{} is damaged and ignored; remove it, or restore its copy", path.display());
                Vec::new()
            }),
        };
        let receipt = bytes(directory, RECEIPT_FILE).filter(|bytes| bytes.len() <= SIGNED_BYTES_MAX);
        let lines = text(directory, ATTESTATIONS_FILE).unwrap_or_default();
        let mut attestations: Vec<_> = lines.lines().filter_map(hex::decode_array).collect();
        attestations.drain(..attestations.len().saturating_sub(ATTESTATIONS_MAX));
        Self { pins, receipt, attestations }
    }
}

/// Writes the files, on a separate thread where the caller need not wait.
#[derive(Debug)]
pub struct Keeper {
    directory: PathBuf,
    jobs: SyncSender<Keepsake>,
    thread: JoinHandle<()>,
    troubles: Troubles,
}

impl Keeper {
    /// Starts the thread. It calls `sync_witness` about once a second.
    pub fn start(
        supervisor: &Supervisor,
        directory: PathBuf,
        mut sync_witness: impl FnMut() + Send + 'static,
    ) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(KEEPER_JOBS_MAX);
        let (at, interval) = (directory.clone(), Duration::from_millis(WITNESS_SYNC_MS));
        let (troubles, told) = (supervisor.registry().troubles().clone(), supervisor.registry().troubles().clone());
        let run = move || {
            let mut synced_at = Instant::now();
            loop {
                planted(NAME);
                match waiting.recv_timeout(interval.saturating_sub(synced_at.elapsed())) {
                    Ok(keepsake) => {
                        if let Err(error) = write(&at, &keepsake, false) {
                            let text = "the collector's signed messages cannot be stored there";
                            told.happened(NAME, format!("{}: {error}; {text}", at.display()));
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        sync_witness();
                        synced_at = Instant::now();
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let thread = supervisor.thread(NAME, run)?;
        Ok(Self { directory, jobs, thread, troubles })
    }

    /// Keeps it. A pin is durable when this returns; the others are written in a while. `false` when there is no room
    /// for it now, or the disk did not take it: try again later.
    pub fn keep(&self, keepsake: Keepsake) -> bool {
        if !matches!(keepsake, Keepsake::Pins(_)) {
            return self.jobs.try_send(keepsake).is_ok();
        }
        let written = write(&self.directory, &keepsake, true);
        match &written {
            Ok(()) => self.troubles.ends(PIN_FILE),
            Err(error) => {
                let path = self.directory.join(PIN_FILE);
                let text = format!("{}: {error}; no collector is trusted until its key is on disk", path.display());
                self.troubles.begins(PIN_FILE, text);
            }
        }
        written.is_ok()
    }

    /// Writes the last ones and ends the thread.
    pub fn stop(self, last: Vec<Keepsake>) {
        drop(self.jobs);
        if self.thread.join().is_err() {
            tracing::error!("the keeper's thread had panicked");
        }
        for keepsake in last {
            if let Err(error) = write(&self.directory, &keepsake, true) {
                tracing::debug!("{}: {error}", self.directory.display());
            }
        }
    }
}

fn write(directory: &Path, keepsake: &Keepsake, durably: bool) -> io::Result<()> {
    let (name, content) = match keepsake {
        Keepsake::Pins(pins) => (PIN_FILE, trust::write_pins(pins).into_bytes()),
        Keepsake::Receipt(receipt) => (RECEIPT_FILE, receipt.clone()),
        Keepsake::Attestations(list) => {
            (ATTESTATIONS_FILE, list.iter().flat_map(|one| (hex::encode(one) + "\n").into_bytes()).collect())
        }
    };
    let replace = if durably { files::replace } else { files::replace_unsynced };
    replace(&directory.join(name), &content)
}

fn bytes(directory: &Path, name: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(directory.join(name)).ok()?;
    file.take(KEPT_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn text(directory: &Path, name: &str) -> Option<String> {
    bytes(directory, name).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Registry;

    #[test]
    fn what_is_kept_is_found_again_and_what_is_damaged_counts_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Kept::read(directory.path()), Kept::default());
        let key = afferent_protocol::sign::Identity::from_seed(&[5; 32]).public_key();
        let pins = vec![Pin { key, by: None }, Pin { key, by: Some(key) }];
        let attestations: Vec<_> = (0..ATTESTATIONS_MAX as u8).map(|mark| [mark; ATTESTATION_LEN]).collect();
        let keeper = Keeper::start(&Supervisor::new(Registry::default()), directory.path().to_owned(), || {}).unwrap();
        assert!(keeper.keep(Keepsake::Pins(pins.clone())));
        assert_eq!(Kept::read(directory.path()).pins, pins, "durable at once");
        assert!(keeper.keep(Keepsake::Attestations(attestations.clone())));
        keeper.stop(vec![Keepsake::Receipt(vec![1, 2, 3])]);
        let kept = Kept { pins, receipt: Some(vec![1, 2, 3]), attestations };
        assert_eq!(Kept::read(directory.path()), kept);
        for damaged in ["", "x\n", "00\n", "0123 by\n"] {
            std::fs::write(directory.path().join(PIN_FILE), damaged).unwrap();
            assert_eq!(Kept::read(directory.path()).pins, []);
        }
    }

    #[test]
    fn a_pin_that_the_disk_does_not_take_is_not_kept() {
        let directory = tempfile::tempdir().unwrap();
        let gone = directory.path().join("gone");
        let keeper = Keeper::start(&Supervisor::new(Registry::default()), gone, || {}).unwrap();
        let key = afferent_protocol::sign::Identity::from_seed(&[5; 32]).public_key();
        assert!(!keeper.keep(Keepsake::Pins(vec![Pin { key, by: None }])));
        keeper.stop(Vec::new());
    }
}
