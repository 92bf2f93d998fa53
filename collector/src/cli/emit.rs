//! `emit`: add events to the log, from the command line or a pipe.

use std::io::{BufRead, Write};

use anyhow::Context;
use serde_json::{Map, Value};

use super::client::Client;
use super::{Collector, Output};

/// Events of one request.
const EVENTS: usize = 500;

/// Add an event to the log, or CloudEvents from standard input; ends once they are on disk.
#[derive(Debug, clap::Args)]
pub struct Emit {
    #[command(flatten)]
    collector: Collector,
    /// Read CloudEvents from standard input, one JSON object a line.
    #[arg(long, conflicts_with_all = ["kind", "subject", "data", "id", "time", "severitynumber"])]
    stdin: bool,
    /// The type, as com.example.wear.v1
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "stdin")]
    kind: Option<String>,
    /// What it is about, as 88-C
    #[arg(long, required_unless_present = "stdin")]
    subject: Option<String>,
    /// Who says so.
    #[arg(long, default_value = "/command-line")]
    source: String,
    /// The source's name for it: the same one is appended once. Drawn by default.
    #[arg(long)]
    id: Option<String>,
    /// When it happened (RFC 3339); now by default.
    #[arg(long)]
    time: Option<String>,
    /// How severe it is, 1 to 24 on OpenTelemetry's scale.
    #[arg(long)]
    severitynumber: Option<u8>,
    /// What there is to say, a JSON document.
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// How the offsets are written.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Posts the events, and writes where they stand.
pub fn emit(args: &Emit) -> anyhow::Result<()> {
    let client = Client::new(&args.collector.http);
    if !args.stdin {
        let event = Value::Object(event(args)?).to_string();
        return post(&client, &[event], args.output);
    }
    let mut waiting = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line.context("reading standard input failed")?;
        if !line.trim().is_empty() {
            waiting.push(line);
        }
        if waiting.len() == EVENTS {
            post(&client, &waiting, args.output)?;
            waiting.clear();
        }
    }
    if waiting.is_empty() { Ok(()) } else { post(&client, &waiting, args.output) }
}

fn event(args: &Emit) -> anyhow::Result<Map<String, Value>> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => format!("{:016x}", getrandom::u64().context("the system gives no random numbers")?),
    };
    let mut event = Map::new();
    let texts = [
        ("specversion", Some("1.0".to_owned())),
        ("id", Some(id)),
        ("source", Some(args.source.clone())),
        ("type", args.kind.clone()),
        ("subject", args.subject.clone()),
        ("time", args.time.clone()),
    ];
    event.extend(texts.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text?.into()))));
    if let Some(severity) = args.severitynumber {
        event.insert("severitynumber".to_owned(), severity.into());
    }
    if let Some(data) = &args.data {
        let data = serde_json::from_str(data).context("--data is no JSON; a text needs its quotes, as '\"text\"'")?;
        event.insert("data".to_owned(), data);
    }
    Ok(event)
}

fn post(client: &Client, events: &[String], output: Output) -> anyhow::Result<()> {
    let placed = client.emit(&events.join("\n"))?;
    let mut out = anstream::stdout().lock();
    for event in placed["events"].as_array().into_iter().flatten() {
        let offset = event["offset"].as_str().unwrap_or_default();
        let note = if event["duplicate"] == true { "  (it was there)" } else { "" };
        let written = match output {
            Output::Json => writeln!(out, "{event}"),
            Output::Table => writeln!(out, "{offset}{note}"),
        };
        written.context("writing to standard output failed")?;
    }
    Ok(())
}
