//! What the producers know: what they pushed, and what they were told is accepted.

use std::collections::BTreeMap;

use afferent_protocol::ids::{Stream, Timestamp};
use afferent_protocol::session::Lane;

use crate::oracle_reader::ReadEvent;

/// Stands for everything that an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Content(u64);

impl Content {
    /// Of an event with this time, subject and body, the body as [`ReadEvent`] tells it: FNV-1a of all three.
    pub fn of(time: i64, subject: &str, body: &str) -> Self {
        let bytes = time.to_le_bytes();
        let all = bytes.iter().chain(subject.as_bytes()).chain(&[0]).chain(body.as_bytes());
        let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        Self(all.fold(0xcbf2_9ce4_8422_2325, step))
    }

    /// Of an event that was read.
    pub fn of_read(event: &ReadEvent) -> Self {
        Self::of(event.time, &event.subject, &event.body)
    }
}

/// An event that a producer has pushed.
#[derive(Clone, Copy, Debug)]
pub struct Pushed {
    /// To which agent.
    pub agent: usize,
    /// Into which stream.
    pub stream: Stream,
    /// Its place among all that were pushed to that agent.
    pub index: u64,
    /// When it happened.
    pub time: Timestamp,
}

/// When a producer was told that an event is accepted, in the order of all that happens.
#[derive(Clone, Copy, Debug)]
pub struct Accepted {
    /// By which agent.
    pub agent: usize,
    /// In which lane.
    pub lane: Lane,
    /// As which of its events.
    pub sequence: u64,
    /// Then.
    pub at: u64,
    /// When the agent's disk was put back to before it.
    pub stranded_at: Option<u64>,
}

/// Where lanes end.
pub type Ends = BTreeMap<Lane, u64>;

/// What the producers know.
#[derive(Debug, Default)]
pub struct Ledger {
    pushed: BTreeMap<Content, Pushed>,
    accepted: BTreeMap<(usize, Lane), BTreeMap<u64, Content>>,
    history: BTreeMap<Content, Accepted>,
    moments: u64,
}

impl Ledger {
    /// A producer has pushed it.
    pub fn push(&mut self, content: Content, pushed: Pushed) {
        let known = self.pushed.insert(content, pushed);
        assert!(known.is_none(), "the plant's events all differ");
    }

    /// A producer was told that it is accepted. It must not be told so of two events with one sequence.
    pub fn accept(&mut self, agent: usize, lane: Lane, sequence: u64, content: Content) -> Result<(), String> {
        let at = self.moment();
        self.history.entry(content).or_insert(Accepted { agent, lane, sequence, at, stranded_at: None });
        match self.accepted.entry((agent, lane)).or_default().insert(sequence, content) {
            Some(other) if other != content => {
                Err(format!("agent {agent} {}-{} accepted two events as {sequence}", lane.stream, lane.epoch))
            }
            _ => Ok(()),
        }
    }

    /// Where everything that an agent has accepted ends, by lane.
    pub fn ends(&self, agent: usize) -> Ends {
        let of_agent = self.accepted.iter().filter(|((of, _), _)| *of == agent);
        of_agent.filter_map(|((_, lane), events)| Some((*lane, events.keys().next_back()? + 1))).collect()
    }

    /// The agent's disk was put back to where it had accepted this much: what it accepted since is on no disk of its own
    /// any more, and the same sequences may be given again. What of it the log has it has.
    pub fn strand(&mut self, agent: usize, ends: &Ends) {
        let at = self.moment();
        for ((_, lane), events) in self.accepted.iter_mut().filter(|((of, _), _)| *of == agent) {
            for content in events.split_off(&ends.get(lane).copied().unwrap_or(0)).values() {
                self.history.entry(*content).and_modify(|accepted| accepted.stranded_at = Some(at));
            }
        }
    }

    /// The next moment.
    pub fn moment(&mut self) -> u64 {
        self.moments += 1;
        self.moments
    }

    /// Everything that was ever accepted, with its event's time.
    pub fn history(&self) -> impl Iterator<Item = (Content, Accepted, Timestamp)> + '_ {
        self.history.iter().map(|(content, accepted)| (*content, *accepted, self.pushed[content].time))
    }

    /// The push of this event, if there was one.
    pub fn pushed(&self, content: Content) -> Option<Pushed> {
        self.pushed.get(&content).copied()
    }

    /// What was accepted, by lane and sequence.
    pub fn accepted(&self) -> &BTreeMap<(usize, Lane), BTreeMap<u64, Content>> {
        &self.accepted
    }

    /// How many events were accepted.
    pub fn accepted_count(&self) -> usize {
        self.accepted.values().map(BTreeMap::len).sum()
    }

    /// How many events were pushed.
    pub fn pushed_count(&self) -> usize {
        self.pushed.len()
    }
}
