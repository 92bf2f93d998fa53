//! `log export`: the events of a log's files as parquet files.

use std::path::PathBuf;
use std::process::ExitCode;

use afferent_collector::forward::parquet::export::{Export, ExportReport, Wanted};
use afferent_collector::log::address::Partition;
use afferent_collector::log::events::Entry;
use afferent_collector::log::inspect;
use afferent_collector::subscribe::{Filter, Start};
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use anyhow::{Context, bail};

use super::log::{DataArgs, is_damaged};
use super::progress::size;

/// What is exported, and where to.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    #[command(flatten)]
    place: DataArgs,
    /// The directory of the files: new or empty.
    #[arg(long, value_name = "DIR")]
    parquet: PathBuf,
    /// The first event: an offset, or a time of ingest (RFC 3339).
    #[arg(long)]
    from: Option<Start>,
    /// The end, which is not exported: an offset, or a time of ingest (RFC 3339).
    #[arg(long)]
    until: Option<Start>,
    /// Subjects, as `88-C/**`.
    #[arg(long)]
    subject: Option<String>,
    /// Types, separated by commas, as `breakdown,recovery`.
    #[arg(long = "type", value_name = "TYPES")]
    types: Option<String>,
    /// Sources, separated by commas.
    #[arg(long, value_name = "SOURCES")]
    source: Option<String>,
    /// The collector's own name as a source.
    #[arg(long, default_value = "collector")]
    name: SourceId,
}

/// Does it; the exit code is 1 when the log is not as it was written.
pub fn export(args: &ExportArgs) -> anyhow::Result<ExitCode> {
    let wanted = args.wanted()?;
    let (disk, progress) = args.place.open("exporting")?;
    let mut export = Export::new(&args.parquet, wanted)?;
    let mut failed = None;
    let report = inspect::dump(&disk, &mut |head, batch| {
        if failed.is_none() && !export.is_done() {
            failed = export.entry(Entry::new(Partition::EMBEDDED, head, batch)).err();
        }
    })?;
    progress.clear();
    failed.map_or(Ok(()), Err)?;
    let ExportReport { events, files, bytes } = export.finish()?;
    println!("{events} events in {files} files ({}) under {}", size(bytes), args.parquet.display());
    if is_damaged(&report, None) {
        eprintln!("afferent-collector: the log is damaged; `afferent-collector log verify` shows where");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// An offset, or a time.
enum Bound {
    At(Offset),
    Ingested(Timestamp),
}

fn bound(key: &str, given: Option<Start>, default: Bound) -> anyhow::Result<Bound> {
    match given {
        None => Ok(default),
        Some(Start::Offset(offset)) => Ok(Bound::At(offset)),
        Some(Start::Time(time)) => Ok(Bound::Ingested(time)),
        Some(_) => bail!("--{key} is neither an offset nor a time; leave it out for the whole log"),
    }
}

impl ExportArgs {
    fn wanted(&self) -> anyhow::Result<Wanted> {
        let (first, last) = (Timestamp::clamped(i64::MIN), Timestamp::clamped(i64::MAX));
        let (from, after) = match bound("from", self.from, Bound::At(Offset::ZERO))? {
            Bound::At(offset) => (offset, first),
            Bound::Ingested(time) => (Offset::ZERO, time),
        };
        let (until, before) = match bound("until", self.until, Bound::At(Offset::new(u64::MAX)))? {
            Bound::At(offset) => (offset, last),
            Bound::Ingested(time) => (Offset::new(u64::MAX), time),
        };
        let is_timed = after > first || before < last;
        let filter = Filter::new(self.subject.as_deref(), self.types.as_deref(), self.source.as_deref());
        let filter = filter.context("the filter cannot be read")?;
        let ingested = is_timed.then_some((after, before));
        Ok(Wanted { from, until, ingested, filter, own: self.name })
    }
}
