//! What is done when the collector's log and the ring log do not fit each other: going back, and sealing again.

use std::collections::VecDeque;

use afferent_host::disk::Disk;
use afferent_protocol::event::ResealReason;
use afferent_protocol::ids::Sequence;
use afferent_protocol::session::Lane;

use super::{AgentCore, Now};
use crate::limits::DISK_RETRY_MS;

/// The events to be sealed again, and how far that is.
#[derive(Debug, Default)]
pub(super) struct Mending {
    /// Lanes that wait for their turn, and from where on.
    waiting: VecDeque<(Lane, Sequence)>,
    /// When the next step is due.
    pub at_ms: u64,
    pub resealed: u64,
    pub rewound: u64,
}

impl<D: Disk> AgentCore<D> {
    /// The collector's log was put back: what follows `to` is sent again.
    pub(super) fn rewind(&mut self, lane: Lane, to: Sequence) {
        let can = self.ring.rewind(lane, to);
        self.mending.rewound += u64::from(can);
        let (stream, epoch) = (lane.stream, lane.epoch);
        if can {
            tracing::warn!("the collector has lost {stream} {epoch} from {to} on; the agent sends it again");
        } else {
            tracing::error!(
                "the collector has lost {stream} {epoch} from {to} on; the agent does not have it any more either"
            );
        }
        self.report_held();
    }

    /// The collector has something else in the lane behind `from`.
    pub(super) fn reseal(&mut self, lane: Lane, from: Sequence) {
        if !self.is_itself() {
            let (name, stream, epoch) = (self.current.name, lane.stream, lane.epoch);
            tracing::error!(
                "the collector has different events in {stream} {epoch} of the former name {name} from {from}: two \
                 agents had that name. This agent holds its own; give it that name back, and they continue in a new \
                 epoch"
            );
            return;
        }
        let (stream, epoch) = (lane.stream, lane.epoch);
        tracing::warn!(
            "the collector has different events in {stream} {epoch} from {from}: this agent was restored from a copy, \
             or runs twice. Its events continue in a new epoch, and none of them is lost"
        );
        self.mending.resealed += 1;
        self.mending.waiting.push_back((lane, from));
        self.mending.at_ms = 0;
    }

    /// Whether anything is being sealed again.
    pub(super) fn is_mending(&self) -> bool {
        self.ring.resealing() || !self.mending.waiting.is_empty()
    }

    /// Makes the next step of sealing again when it is due; returns whether it made one.
    pub(super) fn mend(&mut self, now: &Now) -> bool {
        if !self.is_mending() || now.ms < self.mending.at_ms {
            return false;
        }
        let step = match self.mending.waiting.front().copied() {
            Some((lane, from)) if !self.ring.resealing() => {
                self.mending.waiting.pop_front();
                self.ring.reseal(lane, from, ResealReason::Diverged, &now.clock);
                Ok(())
            }
            _ => self.ring.reseal_step(&now.clock).map(drop),
        };
        match &step {
            Ok(()) => self.mending.at_ms = now.ms + 1,
            Err(error) => {
                tracing::debug!("sealing again waits: {error}");
                self.mending.at_ms = now.ms + DISK_RETRY_MS;
            }
        }
        self.report_held();
        step.is_ok()
    }
}
