//! `ring status|verify|dump`: looking at a ring log without opening it for writing, also while the agent runs.

use std::io::{self, Write};
use std::path::PathBuf;

use afferent_host::disk::FsDisk;
use afferent_protocol::batch::Batch;
use afferent_protocol::codec;
use clap::{Args, Subcommand};

use crate::identity;
use crate::limits::VERIFY_PAUSE;
use crate::ring_log::inspect::{self, Content, FileStatus, Verified};

/// Arguments of `ring`.
#[derive(Clone, Debug, Args)]
pub struct RingArgs {
    /// The agent's data directory, which holds the ring log
    #[arg(long, value_name = "DIRECTORY", default_value = "afferent-data/agent", global = true)]
    pub data: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub command: RingCommand,
}

/// The subcommands of `ring`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum RingCommand {
    /// List the files: one line each, with what it holds
    Status,
    /// Verify checksums, sequences, chain and signatures; exits 1 if anything is wrong
    Verify,
    /// Print all events, one a line
    Dump,
}

/// Why `ring` failed.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// There is no ring log.
    #[error("{0}: there is no ring log there; name the agent's data directory with --data")]
    Missing(PathBuf),
    /// The files of the ring log cannot be read, mostly because they belong to a different user.
    #[error("{path}: {error}; the files belong to the agent's user: run this as that user")]
    Unreadable {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        error: io::Error,
    },
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] io::Error),
    /// `verify` has found damage.
    #[error("the ring log is damaged; the agent repairs it when it starts, and declares what is lost")]
    Damaged,
}

impl RingArgs {
    /// Runs the subcommand and prints to `out`.
    pub fn run(&self, out: &mut dyn Write) -> Result<(), RingError> {
        let directory = self.data.join("ring");
        if !directory.is_dir() {
            return Err(RingError::Missing(directory));
        }
        let unreadable = |error| RingError::Unreadable { path: directory.clone(), error };
        let disk = FsDisk::read_only(&directory);
        match self.command {
            RingCommand::Status => status(&inspect::status(&disk).map_err(unreadable)?, out),
            RingCommand::Verify => {
                // Without the key it checks everything but the signatures.
                let identity = identity::load_existing(&self.data).ok().flatten();
                let key = identity.map(|identity| identity.public_key());
                let verified = inspect::verify_at_work(&disk, key.as_ref(), || std::thread::sleep(VERIFY_PAUSE))
                    .map_err(unreadable)?;
                verify(&verified, key.is_some(), out)
            }
            RingCommand::Dump => {
                let mut printed = Ok(());
                inspect::dump(&disk, &mut |_, _, batch| {
                    if printed.is_ok() {
                        printed = dump(batch, out);
                    }
                })
                .map_err(unreadable)?;
                Ok(printed?)
            }
        }
    }
}

fn status(files: &[FileStatus], out: &mut dyn Write) -> Result<(), RingError> {
    for file in files {
        let content = match &file.content {
            Content::Blank => "free".to_owned(),
            Content::Unreadable => "the header is damaged".to_owned(),
            Content::Segment { header, events, end, acked_end, used_bytes, .. } => format!(
                "{} {}  {} to {end}, {events} events, acked to {acked_end}  {used_bytes} bytes in use",
                header.stream, header.epoch, header.first_ordinal
            ),
        };
        writeln!(out, "{}  {} bytes  {content}", file.name, file.bytes)?;
    }
    Ok(())
}

fn verify(verified: &Verified, signatures: bool, out: &mut dyn Write) -> Result<(), RingError> {
    for problem in &verified.problems {
        writeln!(out, "{} at byte {}: {}", problem.name, problem.position, problem.fault)?;
    }
    let Verified { segments, batches, events, .. } = verified;
    let signatures = if signatures { "" } else { " (without the key, signatures were not checked)" };
    writeln!(out, "{segments} segments, {batches} batches, {events} events{signatures}")?;
    if verified.problems.is_empty() { Ok(()) } else { Err(RingError::Damaged) }
}

fn dump(batch: &Batch<'_>, out: &mut dyn Write) -> io::Result<()> {
    let header = batch.header();
    let mut scratch = vec![0; header.decoded_len as usize];
    let lane = format!("{}-{}", header.stream, header.epoch);
    match codec::records(batch, &mut scratch) {
        Err(error) => writeln!(out, "{lane}-{}: {error}", header.first),
        Ok(mut records) => records.try_for_each(|record| match record {
            Ok(record) => {
                let event = record.event;
                let time = event.time.micros();
                writeln!(out, "{lane}-{} {time} {} {:?}", record.sequence, event.subject, event.body)
            }
            Err(error) => writeln!(out, "{lane}: {error}"),
        }),
    }
}
