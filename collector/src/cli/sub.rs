//! `sub`: follow the log, from anywhere, or by a place that the collector keeps.

use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Duration;

use afferent_collector::limits::KEEP_ALIVE_TIME;
use anyhow::Context;

use super::client::{Client, ClientError, Selection};
use super::event_output::{EventOutput, EventWriter};
use super::{Collector, named};

/// First and longest wait before a lost connection is made again.
const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(15));
/// Events between the connection and the screen.
const AHEAD: usize = 256;

/// Follow the log: history from a given place on, then live events, until Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Sub {
    #[command(flatten)]
    collector: Collector,
    /// Start: an offset, a time (RFC 3339), `first` or `end`.
    #[arg(long, default_value = "end")]
    from: String,
    #[command(flatten)]
    which: Which,
    /// Follow this named subscription; the collector keeps its position. --from applies when the subscription is
    /// created.
    #[arg(long)]
    name: Option<String>,
    /// Name of this member among those that share the named subscription.
    #[arg(long, requires = "name")]
    member: Option<String>,
    /// Exit after this many events.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    output: EventOutput,
}

/// Which events.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    /// Only these subjects: `*` matches one level, `**` any number, as 88-C/**
    #[arg(long, value_name = "PATTERN")]
    subject: Option<String>,
    /// Only these types, as breakdown,alarm
    #[arg(long = "type", value_name = "TYPES")]
    kind: Option<String>,
    /// Only these sources, as press-88,press-89
    #[arg(long, value_name = "SOURCES")]
    source: Option<String>,
    /// Only these severities, as error or warning..
    #[arg(long, value_name = "SEVERITY")]
    severity: Option<String>,
    /// Number of the log's partition [default: the first one]
    #[arg(long, value_name = "NUMBER")]
    partition: Option<u32>,
}

impl Which {
    /// These events, from somewhere on.
    pub fn wanted(&self, from: Option<String>) -> Selection {
        Selection {
            from,
            subject: self.subject.clone(),
            kind: self.kind.clone(),
            source: self.source.clone(),
            severity: self.severity.clone(),
            partition: self.partition,
        }
    }

    /// The partition, where one is named.
    pub fn partition(&self) -> Option<u32> {
        self.partition
    }

    /// As a query.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        self.wanted(None).pairs()
    }
}

/// Follows the log, over lost connections, without a gap and without a repetition.
pub fn sub(args: &Sub) -> anyhow::Result<()> {
    let client = Client::new(&args.collector.http);
    let wanted = args.which.wanted(Some(args.from.clone()));
    let limit = args.limit.unwrap_or(u64::MAX);
    let Some(name) = &args.name else { return follow(&client, &wanted, limit, args.output) };
    let member = args.member.clone().unwrap_or_else(|| format!("command-line-{}", std::process::id()));
    named::follow(&client, name, &member, &wanted, limit, args.output)
}

/// Follows the log by the live stream.
pub fn follow(client: &Client, wanted: &Selection, limit: u64, output: EventOutput) -> anyhow::Result<()> {
    let mut writer = EventPrinter { events: EventWriter::new(output), left: limit };
    let mut last: Option<String> = None;
    let mut wait = WAITS.0;
    let mut stream = client.stream(wanted, None)?;
    loop {
        let before = last.clone();
        if writer.copy(&listen(stream), &mut last)? == Ended::Enough {
            return writer.events.finish(&mut anstream::stdout().lock()).context("writing to standard output failed");
        }
        if last != before {
            wait = WAITS.0;
        }
        eprintln!("afferent-collector: lost the connection to {}; retrying", client.base());
        stream = loop {
            std::thread::sleep(wait);
            wait = (2 * wait).min(WAITS.1);
            match client.stream(wanted, last.as_deref()) {
                Ok(stream) => break stream,
                Err(ClientError::Unreachable { .. } | ClientError::Refused { status: 500.., .. }) => {}
                Err(error) => return Err(error.into()),
            }
        };
    }
}

/// An event of the stream, or a sign that the stream is alive.
enum StreamLine {
    Event { id: Option<String>, json: String },
    Alive,
}

/// Why a copy ended.
#[derive(PartialEq, Eq)]
enum Ended {
    Enough,
    Lost,
}

/// Reads the stream on a thread of its own, so that silence can be told from waiting.
fn listen(stream: impl BufRead + Send + 'static) -> Receiver<StreamLine> {
    let (to, heard) = sync_channel(AHEAD);
    std::thread::spawn(move || {
        let mut id = None;
        for line in stream.lines().map_while(Result::ok) {
            let word = if let Some(place) = line.strip_prefix("id: ") {
                id = Some(place.to_owned());
                continue;
            } else if let Some(json) = line.strip_prefix("data: ") {
                StreamLine::Event { id: id.clone(), json: json.to_owned() }
            } else if line.starts_with(':') {
                StreamLine::Alive
            } else {
                continue;
            };
            if to.send(word).is_err() {
                return;
            }
        }
    });
    heard
}

struct EventPrinter {
    events: EventWriter,
    left: u64,
}

impl EventPrinter {
    /// Writes what is heard; `last` is the id of the last event that was written.
    fn copy(&mut self, heard: &Receiver<StreamLine>, last: &mut Option<String>) -> anyhow::Result<Ended> {
        let mut out = std::io::BufWriter::new(anstream::stdout().lock());
        loop {
            let word = match heard.try_recv() {
                Err(TryRecvError::Empty) => {
                    out.flush().context("writing to standard output failed")?;
                    heard.recv_timeout(3 * KEEP_ALIVE_TIME)
                }
                word => word.map_err(|_| RecvTimeoutError::Disconnected),
            };
            let Ok(word) = word else {
                out.flush().context("writing to standard output failed")?;
                return Ok(Ended::Lost);
            };
            let StreamLine::Event { id, json } = word else { continue };
            if self.left == 0 {
                return Ok(Ended::Enough);
            }
            self.events.write(&mut out, &json).context("writing to standard output failed")?;
            *last = id.or(last.take());
            self.left -= 1;
            if self.left == 0 {
                out.flush().context("writing to standard output failed")?;
                return Ok(Ended::Enough);
            }
        }
    }
}
