//! What a certificate may call complete, by the judge's own ledger.

use std::collections::BTreeSet;

use afferent_protocol::ids::{SourceId, Timestamp};

use super::{Content, LogView, Oracle};

/// An agent says how far it has come.
#[derive(Clone, Copy, Debug)]
pub struct Beat {
    /// Which.
    pub agent: usize,
    /// When, by its clock.
    pub time: Timestamp,
    /// When, in the order of all that happens.
    pub at: u64,
}

impl Oracle {
    /// This agent says now, by its clock, how far it has come.
    pub fn beats(&mut self, agent: usize, time: Timestamp) {
        let at = self.ledger.moment();
        self.beats.push(Beat { agent, time, at });
    }

    /// A certificate calls this source's events from `from` on, and before `until`, complete. Tells how many there are.
    ///
    /// It may when the source has said so far, and everything is there that it had accepted when it did. What a machine
    /// had accepted of which nobody has heard anything nobody can know.
    ///
    /// # Errors
    /// When it is false.
    pub fn is_complete(
        &self,
        view: &LogView,
        source: SourceId,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<usize, String> {
        let is_false = |why: &str| Err(format!("{source} is called complete up to {} µs, and {why}", until.micros()));
        let said: BTreeSet<Timestamp> = view
            .heartbeats
            .iter()
            .filter(|(of, time)| *of == source && *time >= until)
            .map(|(_, time)| *time)
            .collect();
        if said.is_empty() {
            return is_false("has not said how far it had come by then");
        }
        let there: BTreeSet<Content> =
            view.batches.iter().flat_map(|batch| &batch.events).map(|(content, _)| *content).collect();
        let mut count = 0;
        for agent in (0..self.names.len()).filter(|agent| self.names[*agent] == source) {
            let heard = self.beats.iter().filter(|beat| beat.agent == agent && said.contains(&beat.time));
            let Some(bound) = heard.map(|beat| beat.at).min() else { continue };
            for (content, accepted, time) in self.ledger.history() {
                let is_spoken_of = accepted.agent == agent
                    && accepted.at < bound
                    && accepted.stranded_at.is_none_or(|stranded_at| bound < stranded_at);
                if !is_spoken_of || time < from || time >= until {
                    continue;
                }
                if !there.contains(&content) {
                    let at = (accepted.lane, accepted.sequence);
                    return is_false(&format!("{at:?} of {} µs is missing", time.micros()));
                }
                count += 1;
            }
        }
        Ok(count)
    }
}
