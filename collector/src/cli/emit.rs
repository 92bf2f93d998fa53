//! `emit`: add events to the log, from the command line or a pipe.

use std::io::{BufRead, BufReader, Read, Write};

use afferent_collector::limits::{POST_BYTES_MAX, POST_EVENTS_MAX};
use anyhow::{Context, anyhow};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::client::{Client, ClientError};
use super::{Collector, Output};

/// Events of one request.
const EVENTS: usize = POST_EVENTS_MAX / 2;
/// Bytes that are read at a time: as many lines of a file as go into one request.
const READ_BYTES: usize = 1 << 20;

/// Append an event to the log, or CloudEvents from standard input; exits 0 once they are on disk.
#[derive(Debug, clap::Args)]
pub struct Emit {
    #[command(flatten)]
    collector: Collector,
    /// Read CloudEvents from standard input, one JSON object per line.
    #[arg(long, conflicts_with_all = ["kind", "subject", "data", "id", "time", "severitynumber"])]
    stdin: bool,
    /// Type of the event, as com.example.wear.v1
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "stdin")]
    kind: Option<String>,
    /// Subject of the event, as 88-C
    #[arg(long, required_unless_present = "stdin")]
    subject: Option<String>,
    /// Source of the event: the name of the program that reports it.
    #[arg(long, default_value = "/command-line")]
    source: String,
    /// Identifier of the event; the log keeps one event for each source and identifier [default: random].
    #[arg(long)]
    id: Option<String>,
    /// Time at which it happened (RFC 3339) [default: now].
    #[arg(long)]
    time: Option<String>,
    /// Severity, 1 to 24 on OpenTelemetry's scale.
    #[arg(long)]
    severitynumber: Option<u8>,
    /// Content of the event, a JSON document.
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// Output format of the offsets.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// Posts the events, and writes where they stand.
pub fn emit(args: &Emit) -> anyhow::Result<()> {
    let client = Client::new(&args.collector.http);
    if !args.stdin {
        return post(&client, &[event(args)?], args.output);
    }
    let input = BufReader::with_capacity(READ_BYTES, std::io::stdin());
    post_lines(input, &mut |part| part.post(&client, args.output))
}

/// The lines of standard input that one request carries.
#[derive(Debug, Default)]
struct RequestLines {
    lines: Vec<String>,
    /// Which line of standard input each of them is, from 1 on.
    numbers: Vec<u64>,
    bytes: usize,
}

impl RequestLines {
    fn has_room_for(&self, line: &str) -> bool {
        self.lines.is_empty() || (self.lines.len() < EVENTS && self.bytes + line.len() < POST_BYTES_MAX)
    }

    fn push(&mut self, number: u64, line: &str) {
        self.lines.push(line.to_owned());
        self.numbers.push(number);
        self.bytes += line.len() + 1;
    }

    fn post(&self, client: &Client, output: Output) -> anyhow::Result<()> {
        post(client, &self.lines, output).map_err(|error| self.with_line(error))
    }

    /// The collector counts the events of a request; whoever mends one looks for its line.
    fn with_line(&self, error: anyhow::Error) -> anyhow::Error {
        let Some(ClientError::Refused { detail, event: Some(event), .. }) = error.downcast_ref() else { return error };
        let Some(line) = event.checked_sub(1).and_then(|at| self.numbers.get(usize::try_from(at).ok()?)) else {
            return error;
        };
        let why = detail.strip_prefix(&format!("event {event}: ")).unwrap_or(detail);
        anyhow!(
            "the collector refused line {line} of standard input: {why}; correct it and send everything again: events \
             that are already in the log are not appended a second time"
        )
    }
}

/// Has lines posted: many at a time, and none waits for others that have not come.
fn post_lines(
    mut input: BufReader<impl Read>,
    post: &mut impl FnMut(&RequestLines) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (mut part, mut line) = (RequestLines::default(), String::new());
    for number in 1.. {
        line.clear();
        let read =
            input.read_line(&mut line).with_context(|| format!("cannot read line {number} of standard input"))?;
        // Some editors put a mark of the byte order before the first line.
        let event = line.trim_start_matches('\u{feff}').trim();
        if !event.is_empty() {
            serde_json::from_str::<Value>(event)
                .with_context(|| format!("line {number} of standard input is not JSON"))?;
            if !part.has_room_for(event) {
                post(&std::mem::take(&mut part))?;
            }
            part.push(number, event);
        }
        if !part.lines.is_empty() && !input.buffer().contains(&b'\n') {
            post(&std::mem::take(&mut part))?;
        }
        if read == 0 {
            break;
        }
    }
    Ok(())
}

fn event(args: &Emit) -> anyhow::Result<String> {
    let id = match &args.id {
        Some(id) => id.clone(),
        None => format!("{:016x}", getrandom::u64().context("the system returned no random numbers")?),
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
    let mut event = Value::Object(event).to_string();
    if let Some(data) = &args.data {
        let no_json = "--data is not JSON; a text needs its quotes, as '\"text\"'";
        let data: &RawValue = serde_json::from_str(data).context(no_json)?;
        // As it was written, save for line ends, which in JSON stand between tokens only, where a blank does as well.
        let data = data.get().replace(|character: char| character.is_ascii_control(), " ");
        event.insert_str(event.len() - 1, &format!(",\"data\":{data}"));
    }
    Ok(event)
}

fn post(client: &Client, events: &[String], output: Output) -> anyhow::Result<()> {
    let placed = client.emit(&events.join("\n"))?;
    let mut out = anstream::stdout().lock();
    for event in placed["events"].as_array().into_iter().flatten() {
        let offset = event["offset"].as_str().unwrap_or_default();
        let note = if event["duplicate"] == true { "  (already in the log)" } else { "" };
        let written = match output {
            Output::Json => writeln!(out, "{event}"),
            Output::Table => writeln!(out, "{offset}{note}"),
        };
        written.context("writing to standard output failed")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(input: &[u8]) -> anyhow::Result<Vec<Vec<u64>>> {
        let mut parts = Vec::new();
        let input = BufReader::with_capacity(READ_BYTES, input);
        post_lines(input, &mut |part| {
            assert!(part.lines.join("\n").len() <= POST_BYTES_MAX && part.lines.len() <= POST_EVENTS_MAX);
            parts.push(part.numbers.clone());
            Ok(())
        })?;
        Ok(parts)
    }

    #[test]
    fn lines_are_counted_as_an_editor_does_and_requests_are_no_larger_than_is_taken() {
        assert_eq!(parts(b"").unwrap(), Vec::<Vec<u64>>::new());
        assert_eq!(parts(b"{}\n\n \n{}\r\n{}").unwrap(), [vec![1, 4], vec![5]]);
        assert_eq!(parts(b"\xEF\xBB\xBF{}\n").unwrap(), [vec![1]]);
        let many = parts("{}\n".repeat(2 * EVENTS + 1).as_bytes()).unwrap();
        assert_eq!(many.iter().map(Vec::len).collect::<Vec<_>>(), [EVENTS, EVENTS, 1]);
        let large = format!("\"{}\"\n", "x".repeat(40 << 10)).repeat(EVENTS);
        assert_eq!(parts(large.as_bytes()).unwrap().concat(), (1..=EVENTS as u64).collect::<Vec<_>>());
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named() {
        for input in [&b"{}\n\n{\n{}\n"[..], b"{}\n\n\xff\n"] {
            let error = format!("{:#}", parts(input).unwrap_err());
            assert!(error.contains("line 3 of standard input"), "{error}");
        }
    }
}
