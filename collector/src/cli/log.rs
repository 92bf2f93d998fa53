//! `log info|verify|dump|export`: look at a log's files. The log is not changed, and a collector may be running.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;

use afferent_collector::certificate::LogFindings;
use afferent_collector::certificate::text::passed;
use afferent_collector::certificate::verify::{Verified, verify_by};
use afferent_collector::cloud_event::put_rfc3339;
use afferent_collector::line::{LineRenderer, Side, plain, table};
use afferent_collector::log::KeyOrigin;
use afferent_collector::log::address::Partition;
use afferent_collector::log::events::Entry;
use afferent_collector::log::inspect::{self, InspectReport};
use afferent_collector::subscribe::{Filter, Format, Reading};
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use anyhow::Context;

use super::Output;
use super::means::MeansArgs;
use super::progress::{ProgressLine, size};
use super::read_only::ReadOnlyDisk;

/// Inspect the log's files, with or without a running collector.
#[derive(Debug, clap::Subcommand)]
pub enum Log {
    /// Show segments, offsets, and damage that checksums reveal.
    Info(DataArgs),
    /// Verify checksums, and the signature, chain, order and content of every batch; compare the log with attestations,
    /// witnesses and ring logs.
    Verify {
        #[command(flatten)]
        place: DataArgs,
        /// The collector's own name as a source; the log records the keys that it trusts under this name.
        #[arg(long, default_value = "collector")]
        name: SourceId,
        #[command(flatten)]
        means: MeansArgs,
    },
    /// Print events.
    Dump {
        #[command(flatten)]
        place: DataArgs,
        /// The first offset to print.
        #[arg(long)]
        from: Option<u64>,
        /// Largest number of events to print.
        #[arg(long)]
        limit: Option<u64>,
        /// Output format: a line for people, or the CloudEvent.
        #[arg(long, value_enum, default_value_t = Output::Json)]
        output: Output,
    },
    /// Write events as parquet files, a table by day and type.
    #[cfg(feature = "parquet")]
    Export(super::export::ExportArgs),
}

/// Where the log is.
#[derive(Debug, clap::Args)]
pub struct DataArgs {
    /// The collector's data directory.
    #[arg(long, default_value = "./afferent-data")]
    pub data: PathBuf,
}

/// Does it; the exit code is 1 when the log is not as it was written.
pub fn log(command: &Log) -> anyhow::Result<ExitCode> {
    let report = match command {
        Log::Info(place) => {
            let (disk, progress) = place.open("reading")?;
            shown(&inspect::info(&disk)?, None, &progress)?
        }
        Log::Verify { place, name, means } => {
            let (disk, progress) = place.open("verifying")?;
            let Verified { report, findings } = verify_by(&disk, name, means.read(&place.data)?)?;
            shown(&report, Some(&findings), &progress)?
        }
        #[cfg(feature = "parquet")]
        Log::Export(args) => super::export::export(args)?,
        Log::Dump { place, from, limit, output } => dump(place, *from, limit.unwrap_or(u64::MAX), *output)?,
    };
    Ok(report)
}

impl DataArgs {
    pub(super) fn open(&self, what: &'static str) -> anyhow::Result<(ReadOnlyDisk, Rc<ProgressLine>)> {
        let directory = log_directory(&self.data);
        let progress = Rc::new(ProgressLine::new(what));
        let disk = ReadOnlyDisk::new(directory.clone(), Rc::clone(&progress)).with_context(|| {
            format!("there is no log at {}; give the collector's data directory with --data", directory.display())
        })?;
        Ok((disk, progress))
    }
}

pub(super) fn log_directory(data: &Path) -> PathBuf {
    data.join("log").join("0")
}

fn shown(report: &InspectReport, findings: Option<&LogFindings>, progress: &ProgressLine) -> anyhow::Result<ExitCode> {
    progress.clear();
    let text = rendered(report, findings);
    anstream::stdout().write_all(text.as_bytes()).context("writing to standard output failed")?;
    Ok(if is_damaged(report, findings) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// An unfinished write at the end is no damage: a collector may be writing it now, or a power cut has left it, and
/// nothing of it was acknowledged.
pub(super) fn is_damaged(report: &InspectReport, findings: Option<&LogFindings>) -> bool {
    let is_refuted = findings.is_some_and(|findings| !findings.refuted.is_empty());
    is_refuted || !InspectReport { torn: false, ..report.clone() }.is_sound()
}

fn rendered(report: &InspectReport, findings: Option<&LogFindings>) -> String {
    let heading = [
        ("SEGMENT", Side::Left),
        ("FIRST", Side::Right),
        ("END", Side::Right),
        ("BATCHES", Side::Right),
        ("USED", Side::Right),
        ("BEGUN", Side::Left),
    ];
    let rows: Vec<Vec<String>> = (report.segments.iter())
        .map(|segment| {
            vec![
                segment.file.clone(),
                segment.first.to_string(),
                segment.end.to_string(),
                segment.batches.to_string(),
                size(segment.used_bytes),
                segment.begun.map_or_else(|| "unknown".to_owned(), time),
            ]
        })
        .collect();
    let mut text = table(&heading, &rows);
    let first = report.segments.first().map_or(report.end, |segment| segment.first);
    text += &format!("\noffsets {first} up to {}, {} batches\n", report.end, report.batches);
    if report.emptied() > 0 {
        text += &format!("retention has removed the samples of {} batches\n", report.emptied());
    }
    if report.torn {
        text += "an unfinished write at the end: in progress, or cut off; nothing of it was acknowledged\n";
    }
    for hole in &report.holes {
        text += &format!("lost: offsets {} up to {}\n", hole.first, hole.end);
    }
    for damage in &report.damage {
        text += &format!("damage: {} from byte {} to {}: {}\n", damage.file, damage.from, damage.to, damage.what);
    }
    for suspect in &report.suspects {
        text += &format!("suspect: offset {} of {}: {}\n", suspect.offset, suspect.source, suspect.why);
    }
    for uncounted in &report.uncounted {
        let why = if uncounted.was_durable { "they had been durable" } else { "a failed write left them" };
        text += &format!("not counted: {} batches in {}: {why}\n", uncounted.batches, uncounted.file);
    }
    if let Some(findings) = findings {
        findings.refuted.iter().for_each(|refuted| text += &format!("refuted: {}\n", plain(refuted)));
        findings.open.iter().for_each(|open| text += &format!("open: {}\n", plain(open)));
    }
    text + &conclusion(report, findings)
}

/// What was found out, and what cannot be.
fn conclusion(report: &InspectReport, findings: Option<&LogFindings>) -> String {
    let Some(findings) = findings else {
        let damaged = "the log is NOT as it was written\n";
        return if is_damaged(report, None) {
            damaged
        } else {
            "all checksums are correct; `log verify` checks signatures, chains and order too\n"
        }
        .to_owned();
    };
    if is_damaged(report, Some(findings)) {
        return "the log is NOT as it was written\n".to_owned();
    }
    let log = &findings.log;
    let key = match (log.key_origin, log.keys.first()) {
        (_, None) => "without a key, because none was found".to_owned(),
        (KeyOrigin::Named, Some(key)) => format!("with the given key {key}"),
        (_, Some(key)) => {
            format!("with the key {key} found there, which whoever wrote the log has chosen (give one with --key)")
        }
    };
    let bound = match &log.attested {
        Some(bound) => format!(
            "{} attestations bind it up to offset {} ({}), and nothing binds what follows",
            log.attestations,
            bound.end,
            time(bound.time)
        ),
        None => "no attestation binds it".to_owned(),
    };
    let witnessed = match &log.witnessed {
        Some(bound) => format!(
            "Witness {} from outside agrees up to offset {} ({}); what follows may have been cut off, or rewritten by \
             someone who has the collector's key; this check cannot tell.",
            bound.number,
            bound.end,
            time(bound.time)
        ),
        None => {
            "Without a witness from outside (--witness) this check cannot tell whether the log's tail was cut off, \
                 or rewritten by someone who has the collector's key."
                .to_owned()
        }
    };
    let rings = match findings.ring_batches {
        0 => String::new(),
        batches => format!(" {batches} batches of ring logs agree with it."),
    };
    let passed = passed(log.witnesses_passed);
    format!(
        "all {} batches are as they were signed, chained and numbered, {key}; {bound}. {witnessed}{passed}{rings}\n",
        findings.entries
    )
}

fn time(time: Timestamp) -> String {
    let mut text = Vec::new();
    put_rfc3339(&mut text, time);
    String::from_utf8(text).expect("a time is ASCII")
}

/// Writes events from `from` (default: the first) on.
fn dump(place: &DataArgs, from: Option<u64>, limit: u64, output: Output) -> anyhow::Result<ExitCode> {
    let (disk, progress) = place.open("reading")?;
    let mut out = io::BufWriter::new(anstream::stdout().lock());
    let mut lines = LineRenderer::default();
    let mut reading: Option<Reading> = None;
    let mut written = Ok(());
    let mut rendered = Vec::new();
    let report = inspect::dump(&disk, &mut |head, batch| {
        let first = Offset::new(from.unwrap_or(head.ordinal));
        let reading = reading.get_or_insert_with(|| {
            Reading::part(first, Offset::new(u64::MAX), limit, Filter::default(), Format::Lines)
        });
        if written.is_err() || reading.is_done() || head.end_ordinal() <= reading.next().get() {
            return;
        }
        rendered.clear();
        reading.one_entry(Entry::new(Partition::EMBEDDED, head, batch), &mut rendered);
        written = match output {
            Output::Json => out.write_all(&rendered),
            Output::Table => write_lines(&mut out, &mut lines, &rendered),
        };
    })?;
    progress.clear();
    written.and_then(|()| out.flush()).context("writing to standard output failed")?;
    if is_damaged(&report, None) {
        eprintln!("afferent-collector: the log is damaged; `afferent-collector log verify` shows where");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn write_lines(out: &mut impl Write, lines: &mut LineRenderer, rendered: &[u8]) -> io::Result<()> {
    for json in rendered.split(|byte| *byte == b'\n').filter(|json| !json.is_empty()) {
        writeln!(out, "{}", lines.line(&String::from_utf8_lossy(json)))?;
    }
    Ok(())
}
