//! `tap`: look at what comes, without leaving a trace.

use super::Collector;
use super::client::Client;
use super::event_output::EventOutput;
use super::sub::{Which, follow};

/// Look at what comes from now on, until Ctrl-C.
#[derive(Debug, clap::Args)]
pub struct Tap {
    #[command(flatten)]
    collector: Collector,
    #[command(flatten)]
    which: Which,
    /// Begin so many offsets before the end.
    #[arg(long, value_name = "N", default_value_t = 0)]
    last: u64,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How events are written.
    #[arg(long, value_enum, default_value_t)]
    output: EventOutput,
}

/// Follows the log from its end on.
pub fn tap(args: &Tap) -> anyhow::Result<()> {
    let client = Client::new(&args.collector.http);
    let from = match args.last {
        0 => "end".to_owned(),
        last => {
            let kept = client.kept()?;
            kept.end.saturating_sub(last).max(kept.start).to_string()
        }
    };
    follow(&client, &args.which.wanted(Some(from)), args.limit.unwrap_or(u64::MAX), args.output)
}
