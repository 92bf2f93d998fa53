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
/// No pause between two events is longer: what is replayed is to be watched. What is cut off is not made up for later.
const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Replay a part of the log at its original speed, faster, or as fast as possible.
#[derive(Debug, clap::Args)]
pub struct Replay {
    #[command(flatten)]
    collector: Collector,
    #[command(flatten)]
    which: Which,
    /// Start: an offset, a time (RFC 3339), or `first`.
    #[arg(long, default_value = "first")]
    from: String,
    /// End, exclusive: an offset or a time [default: the present end of the log].
    #[arg(long)]
    until: Option<String>,
    /// The time that --from and --until mean: `ingest`, when the collector appended the event, or `event`, when it
    /// happened.
    #[arg(long, default_value = "ingest")]
    time: String,
    /// Speed relative to the original: 1, 10, 0.5, or `max` for as fast as possible.
    #[arg(long, default_value = "max")]
    speed: Speed,
    /// Output format.
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
        times.map(Self::Times).ok_or_else(|| format!("{text:?} is neither a factor, such as 1 or 10, nor `max`"))
    }
}

/// Writes a part of the log.
pub fn replay(args: &Replay) -> anyhow::Result<()> {
    let client = Client::new(&args.collector.http);
    let mut query = vec![("from", args.from.clone()), ("time", args.time.clone()), ("limit", EVENTS.to_owned())];
    // The end of this moment is the end: a replay of a log that grows is to end.
    let end = client.kept(args.which.partition())?.end;
    query.push(("until", args.until.clone().unwrap_or_else(|| end.to_string())));
    query.extend(args.which.pairs());
    let (mut writer, mut pace) = (EventWriter::new(args.output), ReplayPace { speed: args.speed, begun: None });
    let mut out = std::io::BufWriter::new(anstream::stdout().lock());
    loop {
        let page = client.events(&query)?;
        for line in page.lines.lines() {
            let pause = pace.pause(line, Instant::now());
            if !pause.is_zero() {
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

/// Spreads events over time.
struct ReplayPace {
    speed: Speed,
    /// When an event came, and when it was written: the others are as far from it as they were, divided by the speed.
    begun: Option<(jiff::Timestamp, Instant)>,
}

impl ReplayPace {
    /// How long to wait, at `now`, before this event is written.
    fn pause(&mut self, json: &str, now: Instant) -> Duration {
        let Speed::Times(times) = self.speed else { return Duration::ZERO };
        let Some(came) = ingest_time(json) else { return Duration::ZERO };
        let (first, begun) = *self.begun.get_or_insert((came, now));
        // Before the first one: a clock that was set back.
        let after = Duration::try_from(came.duration_since(first)).unwrap_or_default();
        let due = Duration::try_from_secs_f64(after.as_secs_f64() / times).unwrap_or(Duration::MAX);
        let pause = due.saturating_sub(now.saturating_duration_since(begun));
        if pause <= PAUSE_MAX {
            return pause;
        }
        self.begun = Some((came, now + PAUSE_MAX));
        PAUSE_MAX
    }
}

fn ingest_time(json: &str) -> Option<jiff::Timestamp> {
    let event: serde_json::Value = serde_json::from_str(json).ok()?;
    event["ingesttime"].as_str()?.parse().ok()
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

    /// The pauses, in ms, before events that came at these ms, at this speed, when writing takes no time.
    fn pauses(speed: &str, came: &[i64]) -> Vec<u128> {
        let mut pace = ReplayPace { speed: speed.parse().unwrap(), begun: None };
        let mut now = Instant::now();
        let pause = |came: &i64| {
            let came = jiff::Timestamp::from_millisecond(1_631_577_271_000 + came).unwrap();
            let pause = pace.pause(&format!(r#"{{"ingesttime":"{came}"}}"#), now);
            now += pause;
            pause.as_millis()
        };
        came.iter().map(pause).collect()
    }

    #[test]
    fn the_pause_before_an_event_is_what_it_was_divided_by_the_speed() {
        let came = [0, 500, 500, 61_000];
        assert_eq!(pauses("1", &came), [0, 500, 0, 60_500]);
        assert_eq!(pauses("10", &came), [0, 50, 0, 6_050]);
        assert_eq!(pauses("0.5", &came), [0, 1_000, 0, 121_000]);
        assert_eq!(pauses("max", &came), [0; 4]);
    }

    #[test]
    fn time_spent_writing_is_not_added_to_the_pause() {
        let mut pace = ReplayPace { speed: Speed::Times(10.0), begun: None };
        let begun = Instant::now();
        let mut pause = |json: &str, after_s| pace.pause(json, begun + Duration::from_secs(after_s));
        assert_eq!(pause(r#"{"ingesttime":"2021-09-13T23:54:31Z"}"#, 0), Duration::ZERO);
        assert_eq!(pause(r#"{"ingesttime":"2021-09-13T23:55:31Z"}"#, 2), Duration::from_secs(4));
        assert_eq!(pause(r#"{"ingesttime":"2021-09-13T23:56:31Z"}"#, 20), Duration::ZERO, "it is late already");
        assert_eq!(pause(r#"{"ingesttime":"2021-09-13T23:50:00Z"}"#, 20), Duration::ZERO, "a clock that was set back");
        assert_eq!(pause("{}", 20), Duration::ZERO);
    }

    #[test]
    fn a_long_silence_is_cut_and_what_comes_after_it_keeps_its_distances() {
        let (hour, day) = (3_600_000, 86_400_000);
        let cut = PAUSE_MAX.as_millis();
        assert_eq!(pauses("1", &[0, 5 * hour, 5 * hour + 1_000]), [0, cut, 1_000]);
        assert_eq!(pauses("0.5", &[0, day, day + 1_000, day + 2_000]), [0, cut, 2_000, 2_000]);
        assert_eq!(pauses("1e-300", &[0, 1]), [0, cut], "no speed is too slow to be computed with");
        let steps: Vec<i64> = (0..=60).map(|step| step * hour).collect();
        assert_eq!(pauses("1", &steps)[1..], [cut; 60], "days after the beginning it is as fast as it came");
    }
}
