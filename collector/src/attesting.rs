//! The thread that appends attestations to a file of the operator's choice: a line of hexadecimal digits each.
//!
//! The file belongs on a different machine, or on storage that only appends: the holder of the log's key can rewrite
//! the log behind the newest attestation that is kept elsewhere, and nothing before it. A file that cannot be written
//! is reported, and never stops the log.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use afferent_host::hex;
use afferent_protocol::attestation::ATTESTATION_LEN;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::intake::{AttestationBytes, Health};
use crate::limits::ATTEST_RETRY_EVERY;
use crate::supervise::{Part, Supervisor};

/// Digits and end of a line.
const LINE_LEN: usize = 2 * ATTESTATION_LEN + 1;
/// The file cannot be written.
const TARGET: &str = "attest-file";

/// Starts the thread. It ends, with the newest attestation written, once the log's writer has ended.
///
/// # Errors
/// When the system refuses a new thread.
pub fn spawn(
    path: PathBuf,
    attested: watch::Receiver<Option<AttestationBytes>>,
    supervisor: &Supervisor,
) -> io::Result<JoinHandle<()>> {
    let (runtime, health) = (Handle::current(), Arc::clone(supervisor.health()));
    supervisor.thread(Part::Attestations, move || run(&path, attested.clone(), &health, &runtime))
}

fn run(path: &Path, mut attested: watch::Receiver<Option<AttestationBytes>>, health: &Health, runtime: &Handle) {
    let mut written = None;
    loop {
        let newest = *attested.borrow_and_update();
        if let Some(statement) = newest.filter(|newest| written != Some(*newest)) {
            match append(path, &statement) {
                Ok(()) => {
                    written = Some(statement);
                    health.all_clear(TARGET);
                }
                Err(error) => {
                    let text = format!(
                        "cannot append attestations to {}: {error}; the log continues without them; correct \
                         `attest.file`",
                        path.display()
                    );
                    if health.warn(TARGET, text.clone()) {
                        tracing::error!(text, "attestations are kept only in the log");
                    }
                }
            }
        }
        let is_behind = written != *attested.borrow();
        let is_alive = runtime.block_on(async {
            tokio::select! {
                changed = attested.changed() => changed.is_ok(),
                () = tokio::time::sleep(ATTEST_RETRY_EVERY), if is_behind => true,
            }
        });
        if !is_alive {
            break;
        }
    }
    let last = *attested.borrow();
    if let Some(statement) = last.filter(|last| written != Some(*last))
        && let Err(error) = append(path, &statement)
    {
        tracing::error!(%error, path = %path.display(), "the last attestation is kept only in the log");
    }
}

/// Appends an attestation, durably, unless it is the last line already.
///
/// # Errors
/// When the disk refuses.
pub fn append(path: &Path, statement: &AttestationBytes) -> io::Result<()> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    let last = last_bytes(&mut file)?;
    let mut line = String::with_capacity(LINE_LEN + 1);
    if !last.is_empty() && !last.ends_with(b"\n") {
        // Ends a line that a crash has torn.
        line.push('\n');
    }
    let digits = hex::encode(statement);
    if last.strip_suffix(b"\n").is_some_and(|last| last.ends_with(digits.as_bytes())) {
        return Ok(());
    }
    line.push_str(&digits);
    line.push('\n');
    file.write_all(line.as_bytes())?;
    file.sync_all()
}

fn last_bytes(file: &mut File) -> io::Result<Vec<u8>> {
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(LINE_LEN as u64)))?;
    let mut bytes = Vec::new();
    Read::by_ref(file).take(LINE_LEN as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attestation_is_a_line_once_also_behind_a_torn_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("heads");
        append(&path, &[1; ATTESTATION_LEN]).unwrap();
        append(&path, &[1; ATTESTATION_LEN]).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"0202").unwrap();
        append(&path, &[3; ATTESTATION_LEN]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[0], lines[2]), (&*"01".repeat(ATTESTATION_LEN), &*"03".repeat(ATTESTATION_LEN)));
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_written_is_reported_and_the_thread_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let (path, health) = (directory.path().join("missing").join("heads"), Arc::new(Health::default()));
        let (sender, attested) = watch::channel(Some([1; ATTESTATION_LEN]));
        let supervisor = Supervisor::new(Arc::clone(&health), afferent_host::stop::channel().1);
        let thread = spawn(path.clone(), attested, &supervisor).unwrap();
        while health.warnings().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(health.warnings()[TARGET].contains("missing"), "{:?}", health.warnings());
        std::fs::create_dir(directory.path().join("missing")).unwrap();
        sender.send_replace(Some([2; ATTESTATION_LEN]));
        drop(sender);
        tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), "02".repeat(ATTESTATION_LEN) + "\n");
    }
}
