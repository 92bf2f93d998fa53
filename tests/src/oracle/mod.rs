//! The judge: it keeps its own ledger and reads the disks with its own reader.
//!
//! While the plant runs it holds every ack and every release against what was said and done before; at the end it
//! reads what the collector's platter holds (not what its process believes) and judges that.

mod certified;
mod check;
mod ledger;
mod places;
mod ring;
mod view;

use std::collections::BTreeMap;

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::Lane;
use afferent_protocol::sign::PublicKey;

pub use certified::Beat;
pub use check::{Case, Excuses};
pub use ledger::{Accepted, Content, Ends, Ledger, Pushed};
pub use places::Places;
pub use ring::{SeenRing, find_in_ring};
pub use view::{LogView, SeenBatch, SeenGap, SeenReseal};

/// The judge.
#[derive(Debug)]
pub struct Oracle {
    /// What the producers know.
    pub ledger: Ledger,
    /// What excuses losses, by agent.
    pub excuses: Vec<Excuses>,
    names: Vec<SourceId>,
    keys: BTreeMap<SourceId, [u8; 32]>,
    /// What the collector has acked.
    acked: Acks,
    /// What it had acked before its log was put back from a copy.
    acked_before: Acks,
    /// What stood at each place of its log.
    pub places: Places,
    /// What agents have said that they had accepted.
    pub beats: Vec<Beat>,
}

/// Ends that were acked.
pub type Acks = BTreeMap<(SourceId, Lane), u64>;

impl Oracle {
    /// For agents with these names and keys.
    pub fn new(agents: &[(SourceId, PublicKey)]) -> Self {
        Self {
            ledger: Ledger::default(),
            excuses: vec![Excuses::default(); agents.len()],
            names: agents.iter().map(|(name, _)| *name).collect(),
            keys: agents.iter().map(|(name, key)| (*name, key.0)).collect(),
            acked: BTreeMap::new(),
            acked_before: BTreeMap::new(),
            places: Places::default(),
            beats: Vec::new(),
        }
    }

    /// The collector said that everything of the lane before `end` is on its disk.
    pub fn acked(&mut self, source: SourceId, lane: Lane, end: u64) {
        let acked = self.acked.entry((source, lane)).or_insert(0);
        *acked = end.max(*acked);
    }

    /// What was acked so far.
    pub fn acks(&self) -> Acks {
        self.acked.clone()
    }

    /// The collector's disk was put back to where it had acked this much.
    pub fn roll_back_acks(&mut self, acks: Acks) {
        for (lane, end) in std::mem::replace(&mut self.acked, acks) {
            let before = self.acked_before.entry(lane).or_insert(0);
            *before = end.max(*before);
        }
    }

    /// An agent has let go of everything of the lane before `end`. What nobody was told to be accepted it may let go of
    /// as it likes.
    pub fn released(&self, agent: usize, lane: Lane, end: u64) -> Result<(), String> {
        let name = self.names[agent];
        let acked = |acks: &Acks| acks.get(&(name, lane)).copied().unwrap_or(0);
        let acked = acked(&self.acked).max(acked(&self.acked_before));
        let accepted = self.ledger.accepted().get(&(agent, lane));
        if end <= acked || accepted.is_none_or(|accepted| accepted.range(acked..end).next().is_none()) {
            return Ok(());
        }
        Err(format!(
            "{name} let go of {}-{} before {end}, and the collector has acked {acked}",
            lane.stream, lane.epoch
        ))
    }

    /// Reads the collector's platter: everything acked must be on it.
    pub fn acks_hold(&self, durable_files: &[(String, Vec<u8>)]) -> Result<LogView, String> {
        let view = LogView::unified(durable_files, &self.keys)?;
        let ends = view.ends();
        for ((source, lane), acked) in &self.acked {
            let mut end = ends.get(&(*source, *lane)).copied().unwrap_or(0);
            // Of what its source has given up itself nobody says that it is there.
            while let Some(loss) = view.loss_at(*source, *lane, end) {
                end = loss.end.get();
            }
            if end < *acked {
                let lane = format!("{}-{}", lane.stream, lane.epoch);
                return Err(format!("{source} {lane} was acked up to {acked}, and its disk holds it up to {end}"));
            }
        }
        Ok(view)
    }

    /// The verdict at the end, on what [`Oracle::acks_hold`] has read.
    /// `rings` are those of the agents.
    pub fn judge(&self, view: &LogView, rings: &[SeenRing]) -> Result<(), String> {
        let (names, excuses, acked_before) = (&self.names, &self.excuses, &self.acked_before);
        let case = Case { ledger: &self.ledger, view, names, excuses, acked_before };
        case.judge()?;
        rings.iter().enumerate().try_for_each(|(agent, ring)| case.nothing_lies_in_a_ring(agent, ring))
    }
}
