//! `certificate`: prove what of a source or a machine is in the log, from its files or by a running collector.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use afferent_collector::certificate::{About, Span, Verdict, certify, text};
use afferent_protocol::ids::{SourceId, Timestamp};
use anyhow::Context;

use super::Output;
use super::client::Client;
use super::means::MeansArgs;
use super::progress::ProgressLine;
use super::read_only::ReadOnlyDisk;

/// Prove that every event of a source or a machine is in the log, or report what is missing. Exits 0 if the span is
/// complete, 1 if something is missing or open, 3 if the log is refuted, and 2 if the command line is wrong or no log
/// can be read. Reads the log's files, also beside a running collector; with --http it asks a running collector, which
/// also knows what the agents have reported of their ring logs.
#[derive(Debug, clap::Args)]
pub struct Certify {
    /// Name of the agent.
    #[arg(long, conflicts_with = "machine", required_unless_present = "machine")]
    source: Option<SourceId>,
    /// Name of the machine: the first level of its subjects, as 88-C.
    #[arg(long)]
    machine: Option<String>,
    /// Start of the span, inclusive, by the source's clock (RFC 3339).
    #[arg(long)]
    from: jiff::Timestamp,
    /// End of the span, exclusive (RFC 3339).
    #[arg(long)]
    until: jiff::Timestamp,
    /// The collector's data directory.
    #[arg(long, default_value = "./afferent-data")]
    data: PathBuf,
    /// Ask the running collector at this HTTP address instead of reading files.
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["data", "name"])]
    http: Option<String>,
    /// The collector's own name as a source of events.
    #[arg(long, default_value = "collector")]
    name: SourceId,
    #[command(flatten)]
    means: MeansArgs,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Does it. What keeps a certificate from being made is no certificate: it exits as a wrong command line does.
pub fn certificate(args: &Certify) -> anyhow::Result<ExitCode> {
    let made = match &args.http {
        Some(http) => from_collector(args, http),
        None => from_files(args),
    };
    let (text, verdict) = match made {
        Ok(made) => made,
        Err(error) => {
            eprintln!("afferent-collector: {error:#}");
            return Ok(ExitCode::from(NONE_MADE));
        }
    };
    anstream::stdout().write_all(text.as_bytes()).context("writing to standard output failed")?;
    Ok(ExitCode::from(verdict.exit_code()))
}

/// The exit code of a command line that leads to no certificate.
const NONE_MADE: u8 = 2;

/// Requests the certificate from a running collector.
fn from_collector(args: &Certify, http: &str) -> anyhow::Result<(String, Verdict)> {
    let given = !args.means.witnesses.is_empty() || !args.means.rings.is_empty();
    anyhow::ensure!(!given, "--witness and --ring are compared with the log's files: give --data instead of --http");
    let about = match (&args.source, &args.machine) {
        (Some(source), _) => ("source", source.as_str()),
        (None, machine) => ("machine", machine.as_deref().unwrap_or_default()),
    };
    let (from, until) = (args.from.to_string(), args.until.to_string());
    let keys: Vec<String> = args.means.public_keys()?.iter().map(ToString::to_string).collect();
    let mut query = vec![about, ("from", &*from), ("until", &*until)];
    query.extend(keys.iter().map(|key| ("key", &**key)));
    let (client, accept) =
        (Client::new(http), if args.output == Output::Json { "application/json" } else { "text/plain" });
    let (text, verdict) = client.certificate(&query, accept)?;
    if args.output == Output::Table {
        return Ok((text, verdict));
    }
    let json: serde_json::Value =
        serde_json::from_str(&text).context("the collector returned a certificate that is not JSON")?;
    Ok((serde_json::to_string_pretty(&json)? + "\n", verdict))
}

/// Makes the certificate from the log's files.
fn from_files(args: &Certify) -> anyhow::Result<(String, Verdict)> {
    let about = match (&args.source, &args.machine) {
        (Some(source), _) => About::Source(*source),
        (None, machine) => About::Machine(machine.clone().unwrap_or_default()),
    };
    let time = |time: jiff::Timestamp| Timestamp::clamped(time.as_microsecond());
    let span = Span { from: time(args.from), until: time(args.until) };
    let means = args.means.read(&args.data)?;
    let directory = args.data.join("log").join("0");
    let progress = Rc::new(ProgressLine::new("proving"));
    let disk = ReadOnlyDisk::new(directory.clone(), Rc::clone(&progress)).with_context(|| {
        format!("there is no log at {}; give the collector's data directory with --data", directory.display())
    })?;
    let certificate = certify(&disk, &about, span, args.name, &means);
    progress.clear();
    let certificate = certificate?;
    let text = match args.output {
        Output::Json => serde_json::to_string_pretty(&certificate)? + "\n",
        Output::Table => text::text(&certificate),
    };
    Ok((text, certificate.verdict))
}
