//! `ring status|verify|dump`: looking at a ring log without opening it for writing, also while the agent runs.

use std::io::Write;
use std::path::{Path, PathBuf};

use afferent_protocol::codec;
use afferent_protocol::disk::FsDisk;
use afferent_protocol::sign::PublicKey;
use clap::{Args, Subcommand};

use crate::identity;
use crate::ring_log::inspect::{self, Content};

/// Where the ring log is.
#[derive(Clone, Debug, Args)]
pub struct RingArgs {
    /// The agent's data directory
    #[arg(long, value_name = "DIRECTORY", default_value = "afferent-data/agent", global = true)]
    pub data: PathBuf,
    /// What to do
    #[command(subcommand)]
    pub command: RingCommand,
}

/// What to do with the ring log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum RingCommand {
    /// A line for each file: what it holds
    Status,
    /// Check every byte: checksums, sequence, chain, signatures; fails when anything is wrong
    Verify,
    /// Every event in it, a line each
    Dump,
}

/// Why looking at a ring log failed.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// There is no ring log.
    #[error("{0}: there is no ring log there; name the agent's data directory with --data")]
    Missing(PathBuf),
    /// The files or the terminal do not work.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// Something is wrong with it.
    #[error("the ring log is damaged; the agent mends it when it starts, and declares what is lost")]
    Damaged,
}

impl RingArgs {
    /// Does it, and prints to `out`.
    pub fn run(&self, out: &mut dyn Write) -> Result<(), RingError> {
        let directory = self.data.join("ring");
        if !directory.is_dir() {
            return Err(RingError::Missing(directory));
        }
        let disk = FsDisk::new(&directory)?;
        match self.command {
            RingCommand::Status => status(&disk, out),
            RingCommand::Verify => verify(&disk, &self.data, out),
            RingCommand::Dump => dump(&disk, out),
        }
    }
}

fn status(disk: &FsDisk, out: &mut dyn Write) -> Result<(), RingError> {
    for file in inspect::status(disk)? {
        let content = match file.content {
            Content::Blank => "free".to_owned(),
            Content::Unreadable => "its header is damaged".to_owned(),
            Content::Segment { header, events, end, acked_end, used_bytes, .. } => format!(
                "{} {}  {} to {end}, {events} events, acked to {acked_end}  {used_bytes} bytes in use",
                header.stream, header.epoch, header.first_ordinal
            ),
        };
        writeln!(out, "{}  {} bytes  {content}", file.name, file.bytes)?;
    }
    Ok(())
}

fn verify(disk: &FsDisk, data: &Path, out: &mut dyn Write) -> Result<(), RingError> {
    // Without the key everything but the signatures is checked.
    let key: Option<PublicKey> = identity::load_existing(data).ok().flatten().map(|identity| identity.public_key());
    let verified = inspect::verify(disk, key.as_ref())?;
    for problem in &verified.problems {
        writeln!(out, "{} at byte {}: {}", problem.name, problem.position, problem.fault)?;
    }
    let signatures = if key.is_some() { "" } else { " (without the key, signatures were not checked)" };
    writeln!(
        out,
        "{} segments, {} batches, {} events{signatures}",
        verified.segments, verified.batches, verified.events
    )?;
    if verified.problems.is_empty() { Ok(()) } else { Err(RingError::Damaged) }
}

fn dump(disk: &FsDisk, out: &mut dyn Write) -> Result<(), RingError> {
    let mut scratch = Vec::new();
    let mut result = Ok(());
    inspect::dump(disk, &mut |_, _, batch| {
        if result.is_err() {
            return;
        }
        let header = batch.header();
        scratch.resize(header.decoded_len as usize, 0);
        let place = format!("{}-{}", header.stream, header.epoch);
        result = match codec::records(batch, &mut scratch) {
            Err(error) => writeln!(out, "{place}-{}: {error}", header.first),
            Ok(records) => records.into_iter().try_for_each(|record| match record {
                Ok(record) => {
                    let event = record.event;
                    let time = event.time.micros();
                    writeln!(out, "{place}-{} {time} {} {:?}", record.sequence, event.subject, event.body)
                }
                Err(error) => writeln!(out, "{place}: {error}"),
            }),
        };
    })?;
    Ok(result?)
}
