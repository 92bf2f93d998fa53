//! How many lines each replay has handed over: one that was killed never got its answers, and its next run asks.
//!
//! `{"replay":"NAME"}`: the lines behind it on this connection belong to that run. `{"replayed":"NAME"}` asks
//! how many lines of that run were taken or refused permanently, and is answered with `{"taken":N,"known":true}`;
//! `known` is false for a run that this agent has not seen since its start. Both count as empty lines do.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use serde::Deserialize;

use crate::limits::{REPLAY_NAME_BYTES_MAX, REPLAYS_MAX};

/// A line about the lines of the connection, not an event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Control {
    Replay(String),
    Replayed(String),
}

/// The runs of this agent's life; of many the newest.
#[derive(Debug, Default)]
pub struct Replays(Mutex<VecDeque<(String, Run)>>);

/// Lines of a run that were taken. The connection that it is on holds it as well.
pub type Run = Arc<AtomicU64>;

/// What a control line leads to.
#[derive(Debug)]
pub enum Outcome {
    /// The lines behind it belong to this run.
    Begun(Run),
    /// The answer, a line.
    Answer(String),
    /// The line is invalid, for this reason.
    Refused(&'static str),
}

impl Replays {
    /// Reads a control line; none where it is an event's.
    pub fn control(&self, line: &[u8]) -> Option<Outcome> {
        // Events have no such field, and begin otherwise in all that counts on being fast.
        line.starts_with(b"{\"replay").then_some(())?;
        let (name, begins) = match serde_json::from_slice(line).ok()? {
            Control::Replay(name) => (name, true),
            Control::Replayed(name) => (name, false),
        };
        if name.len() > REPLAY_NAME_BYTES_MAX {
            return Some(Outcome::Refused("the name of the replay is too long"));
        }
        let mut runs = self.0.lock().expect("nobody panics while holding this");
        let known = runs.iter().find(|(known, _)| *known == name).map(|(_, run)| run);
        // Its connection may still have lines that it has not taken.
        if known.is_some_and(|run| Arc::strong_count(run) > 1) {
            return Some(Outcome::Refused("this replay is still running; wait for its end"));
        }
        if !begins {
            let (taken, known) = (known.map_or(0, |run| run.load(SeqCst)), known.is_some());
            return Some(Outcome::Answer(format!("{{\"taken\":{taken},\"known\":{known}}}\n")));
        }
        let run = Run::default();
        runs.retain(|(known, _)| *known != name);
        runs.push_back((name, run.clone()));
        if runs.len() > REPLAYS_MAX {
            runs.pop_front();
        }
        assert!(runs.len() <= REPLAYS_MAX, "the number of known replays is bounded");
        Some(Outcome::Begun(run))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(replays: &Replays, line: &str) -> String {
        match replays.control(line.as_bytes()) {
            Some(Outcome::Answer(answer)) => answer,
            Some(Outcome::Refused(why)) => why.to_owned(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_is_known_until_many_others_have_come_and_told_only_after_its_end() {
        let replays = Replays::default();
        assert!(replays.control(br#"{"subject":"a","value":1}"#).is_none());
        assert!(replays.control(br#"{"replay":1}"#).is_none(), "it is refused as any other line that is wrong");
        let Some(Outcome::Begun(run)) = replays.control(br#"{"replay":"a"}"#) else { panic!("it begins") };
        run.fetch_add(7, SeqCst);
        assert!(answer(&replays, r#"{"replayed":"a"}"#).contains("still running"));
        drop(run);
        assert_eq!(answer(&replays, r#"{"replayed":"a"}"#), "{\"taken\":7,\"known\":true}\n");
        for at in 0..REPLAYS_MAX {
            assert!(replays.control(format!("{{\"replay\":\"{at}\"}}").as_bytes()).is_some());
        }
        assert_eq!(answer(&replays, r#"{"replayed":"a"}"#), "{\"taken\":0,\"known\":false}\n");
        let long = format!("{{\"replay\":\"{}\"}}", "x".repeat(REPLAY_NAME_BYTES_MAX + 1));
        assert!(answer(&replays, &long).contains("too long"));
    }
}
