//! `replay`: a part of the log once more, as fast as it came, faster, or as fast as it goes.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Collector;
use super::client::Client;
use super::event_output::{EventOutput, EventWriter};
use super::sub::Which;

/// Events of one request.
const EVENTS: &str = "2000";
/// No pause between two events is longer: what is replayed is to be watched.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Replay a part of the log: as fast as it came, faster, or as fast as it goes.
#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    collector: Collector,
    #[command(flatten)]
    which: Which,
    /// Where to begin: an offset, a time (RFC 3339), or `first`.
    #[arg(long, default_value = "first")]
    from: String,
    /// Where to end: an offset, or a time. The log's end of this moment by default.
    #[arg(long)]
    until: Option<String>,
    /// Which time --from and --until mean: `ingest`, when the collector appended it, or `event`, when it happened.
    #[arg(long, default_value = "ingest")]
    time: String,
    /// How much faster than it came: 1, 10, 0.5, or `max` for as fast as it goes.
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// How events are written.
    #[arg(long, value_enum, default_value_t)]
    output: EventOutput,
}

/// How much faster than it came.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    Max,
    Times(f64),
}

impl std::str::FromStr for Speed {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "max" {
            return Ok(Self::Max);
        }
        let times = text.parse().ok().filter(|times: &f64| times.is_finite() && *times > 0.0);
        times.map(Self::Times).ok_or_else(|| format!("{text:?} is neither a factor, as 1 or 10, nor `max`"))
    }
}

/// Writes a part of the log.
pub fn replay(args: &Replay) -> anyhow::Result<()> {
    let client = Client::new(&args.collector.http);
    let mut query = vec![("from", args.from.clone()), ("time", args.time.clone()), ("limit", EVENTS.to_owned())];
    // The end of this moment is the end: a replay of a log that grows is to end.
    let end = client.kept()?.end;
    query.push(("until", args.until.clone().unwrap_or_else(|| end.to_string())));
    query.extend(args.which.pairs());
    let (mut writer, mut pace) = (EventWriter::new(args.output), Pace { speed: args.speed, begun: None });
    let mut out = std::io::BufWriter::new(anstream::stdout().lock());
    loop {
        let page = client.events(&query)?;
        for line in page.lines.lines() {
            if let Some(pause) = pace.pause(line) {
                out.flush().context("writing to standard output failed")?;
                std::thread::sleep(pause);
            }
            writer.write(&mut out, line).context("writing to standard output failed")?;
        }
        let Some(cursor) = page.cursor.filter(|_| page.next < end) else { break };
        query.retain(|(name, _)| *name != "cursor");
        query.push(("cursor", cursor));
    }
    writer.finish(&mut out).context("writing to standard output failed")
}

/// When the first event came, and when it was written.
struct Pace {
    speed: Speed,
    begun: Option<(jiff::Timestamp, Instant)>,
}

impl Pace {
    /// How long to wait before this event is written.
    fn pause(&mut self, json: &str) -> Option<Duration> {
        let Speed::Times(times) = self.speed else { return None };
        let event: serde_json::Value = serde_json::from_str(json).ok()?;
        let came: jiff::Timestamp = event["ingesttime"].as_str()?.parse().ok()?;
        let (first, begun) = *self.begun.get_or_insert_with(|| (came, Instant::now()));
        let after = Duration::try_from(came.duration_since(first)).unwrap_or_default();
        let due = begun + after.div_f64(times).min(PAUSE_MAX * 24);
        let pause = due.saturating_duration_since(Instant::now()).min(PAUSE_MAX);
        (!pause.is_zero()).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_factor_or_max() {
        assert_eq!("max".parse(), Ok(Speed::Max));
        assert_eq!("10".parse(), Ok(Speed::Times(10.0)));
        for wrong in ["", "0", "-1", "fast", "NaN", "inf"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_pause_before_an_event_is_what_it_was_divided_by_the_speed() {
        let mut pace = Pace { speed: Speed::Times(10.0), begun: None };
        assert_eq!(pace.pause(r#"{"ingesttime":"2021-09-13T23:54:31.000000Z"}"#), None);
        let pause = pace.pause(r#"{"ingesttime":"2021-09-13T23:55:31.000000Z"}"#).unwrap();
        assert!(pause <= Duration::from_secs(6) && pause > Duration::from_secs(1), "{pause:?}");
        assert_eq!(pace.pause(r#"{"ingesttime":"2021-09-13T23:50:00.000000Z"}"#), None, "a clock that was set back");
        assert_eq!(Pace { speed: Speed::Max, begun: None }.pause("{}"), None);
    }
}
