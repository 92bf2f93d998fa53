//! Checks entries against their attestations before they are removed: nobody may have changed them, or their ingest
//! times, to make them look old. The signed attestations also give their age: everything before the end of an
//! attestation was appended before its time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::ControlFlow;

use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::Batch;
use afferent_protocol::event::{Body, LifeCycle};
use afferent_protocol::ids::{Offset, SourceId, Stream, Timestamp};
use afferent_protocol::session::signed::Place;
use afferent_protocol::sign::{PublicKey, Running};

use crate::limits::ATTEST_BATCHES_MAX;
use crate::log::ReadLog;
use crate::log::events::{Walk, WalkItem};
use crate::log::records::Decoder;
use crate::sources::Entered;

/// The log and the keys whose attestations count.
#[derive(Clone, Debug)]
pub struct AttestedLog {
    /// The collector's name.
    pub own: SourceId,
    /// A place of the log, for its log id and its partition.
    pub here: Place,
    /// The keys of the log.
    pub keys: Vec<PublicKey>,
}

/// The log differs from its attestations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disagrees {
    /// The entries have a different hash.
    Hash {
        /// The attestation's number.
        number: u64,
        /// Its end.
        end: Offset,
    },
    /// No attestation reaches so far.
    Missing {
        /// The end of the last attestation.
        until: Offset,
    },
    /// The log cannot be read.
    Unreadable(String),
}

impl fmt::Display for Disagrees {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hash { number, end } => write!(
                f,
                "the log before offset {end} does not match its attestation {number}: somebody has changed it, or its \
                 ingest times; run `afferent-collector log verify`, and keep a copy of the log"
            ),
            Self::Missing { until } => write!(f, "the log is attested only up to offset {until}"),
            Self::Unreadable(error) => write!(f, "the log cannot be read for the check: {error}"),
        }
    }
}

/// The examined part of the log, from its beginning on.
#[derive(Debug, Default)]
pub struct Examined {
    /// The offset to continue at.
    next: Offset,
    /// The hash up to `base_end`; `None` where the log's beginning was removed, or cannot be read.
    running: Option<Running>,
    base_end: Offset,
    /// Entries behind `base_end`, which no attestation has bound so far.
    waiting: VecDeque<Entered>,
    /// Ends of attestations that agree, and their times.
    times: BTreeMap<Offset, Timestamp>,
    scratch: Vec<u8>,
    is_begun: bool,
}

impl Examined {
    /// Reads until everything before the last of these segments' ends is attested.
    ///
    /// # Errors
    /// When the log does not agree with an attestation, or none reaches so far.
    pub fn agree(&mut self, log: &dyn ReadLog, attested: &AttestedLog, ends: &[Offset]) -> Result<(), Disagrees> {
        let Some(until) = ends.last().copied() else { return Ok(()) };
        let kept = log.kept();
        if !self.is_begun {
            self.is_begun = true;
            (self.next, self.base_end) = (kept.start, kept.start);
            self.running = (kept.start == Offset::ZERO).then(Running::default);
        }
        // Removed entries need not be remembered.
        self.times = self.times.split_off(&kept.start);
        while self.time_of(until).is_none() && self.next < kept.end {
            self.read(log, attested, until)?;
        }
        let attested_until = self.times.keys().next_back().copied().unwrap_or(Offset::ZERO);
        if self.time_of(until).is_none() { Err(Disagrees::Missing { until: attested_until }) } else { Ok(()) }
    }

    /// Everything before this offset was appended before the returned time: that of the first attestation that reaches
    /// so far.
    pub fn time_of(&self, end: Offset) -> Option<Timestamp> {
        self.times.range(end..).next().map(|(_, time)| *time)
    }

    fn read(&mut self, log: &dyn ReadLog, attested: &AttestedLog, until: Offset) -> Result<(), Disagrees> {
        let (from, mut wrong) = (self.next, None);
        let (mut scratch, mut decoder) = (std::mem::take(&mut self.scratch), Decoder::default());
        let walked = Walk::over(log, from..log.kept().end).run(&mut scratch, &mut |part| {
            let end = part.end();
            let WalkItem::Entry(entry) = part else {
                self.lose_track();
                self.next = end;
                return ControlFlow::Continue(());
            };
            self.waiting.push_back(Entered::of(entry.head, entry.batch));
            self.next = end;
            let header = entry.header();
            if header.source == attested.own && header.stream == Stream::Critical {
                let found = attestations(entry.batch, attested, &mut decoder);
                wrong = found.into_iter().find_map(|attestation| self.bind(&attestation).err());
            }
            if self.waiting.len() > 4 * ATTEST_BATCHES_MAX {
                // Without attestations in this log, its oldest entries need not be kept waiting.
                self.lose_track();
            }
            let is_enough = wrong.is_some() || self.time_of(until).is_some();
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        self.scratch = scratch;
        match (wrong, walked) {
            (Some(wrong), _) => {
                // The next check starts from the beginning: the original files may have been restored by then.
                *self = Self::default();
                Err(wrong)
            }
            (None, Err(error)) => Err(Disagrees::Unreadable(error.to_string())),
            (None, Ok(_)) if self.next == from => Err(Disagrees::Missing { until: self.base_end }),
            (None, Ok(_)) => Ok(()),
        }
    }

    /// An entry cannot be read: the hash continues from the next attestation.
    fn lose_track(&mut self) {
        self.running = None;
        self.waiting.clear();
    }

    /// Compares the entries with an attestation.
    fn bind(&mut self, attestation: &Attestation) -> Result<(), Disagrees> {
        let Attestation { number, end, time, hash, .. } = *attestation;
        if end <= self.base_end {
            return Ok(());
        }
        let bound = self.waiting.partition_point(|entered| entered.first < end);
        let read: Vec<_> = self.waiting.drain(..bound).collect();
        if let Some(mut running) = self.running {
            read.iter().for_each(|entered| entered.push_to(&mut running));
            if running != hash {
                return Err(Disagrees::Hash { number, end });
            }
        }
        (self.running, self.base_end) = (Some(hash), end);
        self.times.insert(end, time);
        Ok(())
    }
}

/// The attestations in a batch that a key of this log has signed.
fn attestations(batch: &Batch<'_>, attested: &AttestedLog, decoder: &mut Decoder) -> Vec<Attestation> {
    let is_ours = |attestation: &Attestation| {
        (attestation.log_id, attestation.partition) == (attested.here.log_id, attested.here.partition)
            && attested.keys.contains(&attestation.key)
    };
    let mut records = decoder.open(batch);
    let bound = records.readable().filter_map(|record| match record.event.body {
        Body::LifeCycle(LifeCycle::Attested { attestation }) => Attestation::read(attestation)?.verify(),
        _ => None,
    });
    bound.filter(is_ours).collect()
}
