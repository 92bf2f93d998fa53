//! `tap`: look at what comes, without leaving a trace.

use std::collections::VecDeque;
use std::ops::Range;

use afferent_collector::limits::EVENTS_PAGED_MAX;
use anyhow::Context;

use super::Collector;
use super::client::Client;
use super::event_output::EventOutput;
use super::sub::{Which, follow};

/// Events of one page.
const PAGE: u64 = EVENTS_PAGED_MAX;

/// Watch new events as they arrive, until Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Tap {
    #[command(flatten)]
    collector: Collector,
    #[command(flatten)]
    which: Which,
    /// Start with the last N matching events.
    #[arg(long, value_name = "N", default_value_t = 0)]
    last: u64,
    /// Exit after this many events.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Output format.
    #[arg(long, value_enum, default_value_t)]
    output: EventOutput,
}

/// Follows the log from its end on.
pub fn tap(args: &Tap) -> anyhow::Result<()> {
    let client = Client::new(&args.collector.http);
    let from = match args.last {
        0 => "end".to_owned(),
        last => begin_of_last(&client, &args.which, last)?.to_string(),
    };
    follow(&client, &args.which.wanted(Some(from)), args.limit.unwrap_or(u64::MAX), args.output)
}

/// The offset of the last but so many events that are asked for. It is looked for in a part of the log that grows until
/// it holds enough of them, so that what comes often is found at the end, and what is rare takes no more than twice the
/// log.
fn begin_of_last(client: &Client, which: &Which, last: u64) -> anyhow::Result<u64> {
    let kept = client.kept(which.partition())?;
    let wanted = usize::try_from(last).unwrap_or(usize::MAX);
    let mut part = last.saturating_mul(2);
    loop {
        let from = kept.end.saturating_sub(part).max(kept.start);
        let found = newest(client, which, from..kept.end, wanted)?;
        if found.len() >= wanted || from == kept.start {
            return Ok(found.front().copied().unwrap_or(kept.end));
        }
        part = part.saturating_mul(4);
    }
}

/// The offsets of the newest events that are asked for in a part of the log, at most so many.
fn newest(client: &Client, which: &Which, part: Range<u64>, count_max: usize) -> anyhow::Result<VecDeque<u64>> {
    let mut found = VecDeque::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut query: Vec<_> = which.pairs().collect();
        query.extend([("from", part.start.to_string()), ("until", part.end.to_string()), ("limit", PAGE.to_string())]);
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let page = client.events(&query)?;
        for line in page.lines.lines() {
            let event: TappedEvent =
                serde_json::from_str(line).context("the collector returned an event without an offset")?;
            // It is a number, written as text.
            found.push_back(event.offset.parse().context("the collector returned an offset that is not a number")?);
            if found.len() > count_max {
                found.pop_front();
            }
        }
        cursor = page.cursor;
        if cursor.is_none() || page.next >= part.end {
            return Ok(found);
        }
    }
}

/// The part of an event that is looked at.
#[derive(serde::Deserialize)]
struct TappedEvent {
    offset: String,
}
