//! Gaps without a declaration, which may never come.
//!
//! A sender makes a loss durable before it leaves something out. So the loss is among the records that its critical
//! lanes held when its hello said where a lane continues; the collector reports a gap only when it has all of those
//! records and none declares the loss.

use std::collections::BTreeMap;

use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream};
use afferent_protocol::session::Lane;

use crate::sources::Sources;

const FIRST: Lane = Lane { stream: Stream::Critical, epoch: Epoch::new(0) };
const LAST: Lane = Lane { stream: Stream::Samples, epoch: Epoch::new(u64::MAX) };
const _: () = assert!(Stream::Critical.number() < Stream::Samples.number(), "lanes are ordered so");

/// What must be in the log before a gap is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WaitsFor {
    /// The critical lanes of the hello that continued behind the gap, and their ends.
    pub critical: Vec<(Lane, Sequence)>,
}

impl WaitsFor {
    fn is_over(&self, agent: &SourceId, sources: &Sources) -> bool {
        let durable_end = |lane| sources.lane(agent, lane).map_or(Sequence::ZERO, |known| known.receiver.durable_end());
        self.critical.iter().all(|(lane, end)| durable_end(lane) >= *end)
    }
}

/// Gaps that may still be declared, one for each lane at most.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    expected: BTreeMap<(SourceId, Lane), WaitsFor>,
    open: BTreeMap<(SourceId, Lane), WaitsFor>,
}

impl Gaps {
    /// The lane may continue behind a gap.
    pub fn expect(&mut self, agent: SourceId, lane: Lane, waits_for: WaitsFor) {
        self.expected.insert((agent, lane), waits_for);
    }

    /// The agent holds these critical lanes: other lanes that a gap waits for no longer exist, and will never come.
    pub fn holds(&mut self, agent: SourceId, critical: &[(Lane, Sequence)]) {
        let of_agent = self.open.iter_mut().filter(|((of, _), _)| *of == agent);
        for (_, waits_for) in of_agent {
            waits_for.critical.retain(|(waited, _)| critical.iter().any(|(lane, _)| lane == waited));
        }
    }

    /// Forgets the gaps expected in lanes that are not known any more.
    pub fn expect_only(&mut self, agent: &SourceId, is_known: impl Fn(&Lane) -> bool) {
        let of_agent = self.expected.range((*agent, FIRST)..=(*agent, LAST));
        let gone: Vec<_> = of_agent.map(|(key, _)| *key).filter(|(_, lane)| !is_known(lane)).collect();
        gone.iter().for_each(|key| drop(self.expected.remove(key)));
    }

    /// Forgets an agent that has delivered nothing.
    pub fn forget(&mut self, agent: &SourceId) {
        self.expect_only(agent, |_| false);
    }

    /// The lane has continued behind its gap.
    pub fn opened(&mut self, agent: SourceId, lane: Lane) {
        let waits_for = self.expected.remove(&(agent, lane)).unwrap_or(WaitsFor { critical: Vec::new() });
        self.open.insert((agent, lane), waits_for);
    }

    /// Whether no gap waits for a declaration.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Removes and returns the lanes with a gap that will not be declared any more.
    pub fn take_ended(&mut self, sources: &Sources) -> Vec<(SourceId, Lane)> {
        let mut over = Vec::new();
        self.open.retain(|(agent, lane), waits_for| {
            let is_over = waits_for.is_over(agent, sources);
            if is_over {
                over.push((*agent, *lane));
            }
            !is_over
        });
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: SourceId = SourceId::literal("press");

    fn lane(stream: Stream, epoch: u64) -> Lane {
        Lane { stream, epoch: Epoch::new(epoch) }
    }

    #[test]
    fn a_gap_waits_for_critical_events_that_its_agent_holds_and_not_for_those_of_a_lost_disk() {
        let (critical, samples) = (lane(Stream::Critical, 1), lane(Stream::Samples, 2));
        let waits_for = WaitsFor { critical: vec![(critical, Sequence::new(9))] };
        let (mut gaps, sources) = (Gaps::default(), Sources::new(SourceId::literal("collector")));
        gaps.expect(AGENT, samples, waits_for);
        gaps.opened(AGENT, samples);
        assert_eq!(gaps.take_ended(&sources), [], "they may declare it");
        gaps.holds(SourceId::literal("other"), &[]);
        gaps.holds(AGENT, &[(critical, Sequence::new(12))]);
        assert_eq!(gaps.take_ended(&sources), [], "it still holds them");
        gaps.holds(AGENT, &[(lane(Stream::Critical, 3), Sequence::new(1))]);
        assert_eq!(gaps.take_ended(&sources), [(AGENT, samples)], "its disk is another one");
        assert!(gaps.is_empty());
    }
}
