//! The state of every source: key, lanes, losses, gaps, counts.
//!
//! Keys, lanes, losses and gaps are rebuilt from the log at every start, and follow from the log alone: a failed commit
//! restores the state before it.

mod journal;
mod known;
mod lane;
mod names;
mod newcomers;
mod ranges;
mod source;
mod statements;
mod unattested;
mod view;
mod views;

pub use view::{
    ClockHeard, HeartbeatView, LaneView, LinkState, LossView, RangeView, RetiredView, RolledBackView, SourceView,
    lag_us, made_at,
};

pub use views::{ChangedSource, SourceViews};

pub use lane::LaneKept;
pub(crate) use lane::LaneRecord;
pub(crate) use ranges::RangeSet;
pub(crate) use source::Source;
pub(crate) use unattested::{Entered, Unattested};

use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::{Batch, CHAIN_START, ChainHash};
use afferent_protocol::endorsement::ENDORSEMENT_LEN;
use afferent_protocol::event::{Body, Event, LifeCycle, Loss};
use afferent_protocol::ids::{Offset, Sequence, SequenceRange, SourceId, Stream, Timestamp};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::session::{Held, Lane, Offered, Resume};
use afferent_protocol::sign::PublicKey;

use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::log::records::Decoder;
use crate::log::{HeartbeatStep, Rebuild, SegmentHistory, Step};
use crate::terms::Terms;
use afferent_protocol::session::signed::LogId;
use journal::Journal;
use known::SourceTable;
use newcomers::Newcomers;
use source::Pinned;

/// Every source that the log or this process knows, the collector itself included.
#[derive(Clone, Debug)]
pub struct Sources {
    own: SourceId,
    own_end: Option<OwnEnd>,
    sources: SourceTable,
    newcomers: Newcomers,
    journal: Journal,
    unattested: Unattested,
    terms: Terms,
    /// The term that this opening of the log has drawn.
    drawn_term: u64,
    /// Endorsements by keys of the log.
    endorsements: Vec<[u8; ENDORSEMENT_LEN]>,
    /// When the newest entry was appended.
    last_stamp: Timestamp,
    /// The oldest offset that the log has.
    begin: Offset,
    /// Retention removes, or has removed, everything before this offset.
    trimmed_until: Offset,
    /// And the samples before this offset.
    emptied_until: Offset,
    /// Whether the log is still being read, so that a new lane may have begun in a removed part.
    is_rebuilding: bool,
    decoder: Decoder,
}

/// The collector's own last batch in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnEnd {
    pub lane: Lane,
    pub end: Sequence,
    pub chain: ChainHash,
    pub offset: Offset,
}

impl Sources {
    /// No sources yet, in partition 0. `own` is the collector's name: only its batches have statements about keys and
    /// gaps.
    pub fn new(own: SourceId) -> Self {
        Self::of_partition(own, Partition::EMBEDDED)
    }

    /// No sources yet, in this partition.
    pub fn of_partition(own: SourceId, partition: Partition) -> Self {
        let (sources, journal) = (SourceTable::default(), Journal::default());
        Self {
            own,
            own_end: None,
            sources,
            newcomers: Newcomers::default(),
            journal,
            unattested: Unattested::default(),
            terms: Terms::of(LogId::default(), partition),
            drawn_term: 0,
            endorsements: Vec::new(),
            last_stamp: Timestamp::default(),
            begin: Offset::ZERO,
            trimmed_until: Offset::ZERO,
            emptied_until: Offset::ZERO,
            is_rebuilding: true,
            decoder: Decoder::default(),
        }
    }

    /// Takes a batch that was found in the log at start. Call it for all of them, in order.
    pub fn rebuild(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        let offered = Offered { range: header.range(), previous: header.previous, chain: batch.chain_hash() };
        let may_be_begun = self.may_be_begun();
        let source = self.sources.get_or_add(header.source);
        source.lane(lane, may_be_begun).recovered(&offered, header.time_last);
        source.heard(header, head.stamp, head.clock_offset_us());
        self.unattested.push(Entered::of(head, batch));
        self.last_stamp = head.stamp;
        if header.stream == Stream::Critical {
            self.learn(batch);
        }
        if header.source == self.own {
            let (end, chain, offset) = (header.end(), offered.chain, Offset::new(head.ordinal));
            self.own_end = Some(OwnEnd { lane, end, chain, offset });
        }
        self.journal.mark_committed();
    }

    /// Reads the entries behind the log's newest attestation, which histories leave out.
    pub(crate) fn find_unattested(&mut self, log: &dyn ReadLog) {
        self.unattested.read(log);
    }

    /// Whether a new lane may have begun in a removed part of the log.
    fn may_be_begun(&self) -> bool {
        self.is_rebuilding && self.begin > Offset::ZERO
    }

    /// The whole log was taken: a source that comes now and is not known is new.
    pub(crate) fn rebuilt(&mut self) {
        assert!(self.is_rebuilding, "a log is taken whole once");
        self.is_rebuilding = false;
        let names: Vec<SourceId> = self.sources.iter().map(|(name, _)| *name).collect();
        names.into_iter().for_each(|name| self.heard_of(name));
    }

    /// Offsets that are missing from the log's beginning although the log records no removal of them.
    pub(crate) fn gone_untold(&self) -> Option<(Offset, Offset)> {
        (self.begin > self.trimmed_until).then_some((self.trimmed_until, self.begin))
    }

    /// Retention removes, or has removed, everything before this offset.
    pub fn trimmed_until(&self) -> Offset {
        self.trimmed_until
    }

    /// Retention removes, or has removed, the samples before this offset.
    pub fn emptied_until(&self) -> Offset {
        self.emptied_until
    }

    /// Every pinned key: re-logged before the log's beginning is removed.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (SourceId, PublicKey)> {
        self.sources.iter().filter_map(|(name, source)| Some((*name, source.pinned.as_ref()?.key)))
    }

    /// The ends of all lanes but the collector's own: re-logged before the log's beginning is removed.
    pub(crate) fn lanes_to_keep(&self) -> impl Iterator<Item = (SourceId, Lane, LaneKept)> {
        let others = self.sources.iter().filter(|(name, _)| **name != self.own);
        let lanes = others.flat_map(|(name, source)| source.lanes.values().map(move |lane| (*name, lane)));
        lanes.filter_map(|(name, lane)| Some((name, lane.lane, lane.to_keep()?)))
    }

    /// The entries behind the log's newest attestation; nothing at the second call.
    pub(crate) fn take_unattested(&mut self) -> Unattested {
        std::mem::take(&mut self.unattested)
    }

    /// The newest attestation that was found when the log was opened.
    pub fn newest_attestation(&self) -> Option<Attestation> {
        self.unattested.newest()
    }

    /// The terms of the log.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    pub(crate) fn terms_mut(&mut self) -> &mut Terms {
        &mut self.terms
    }

    /// This opening of the log has drawn this term.
    pub(crate) fn drawn(&mut self, term: u64) {
        assert_ne!(term, 0, "zero marks terms that are unknown");
        self.drawn_term = term;
    }

    pub(crate) fn drawn_term(&self) -> u64 {
        self.drawn_term
    }

    /// Ingest time of the newest entry that was found in the log.
    pub(crate) fn last_stamp(&self) -> Timestamp {
        self.last_stamp
    }

    /// Missing sequences of lanes, neither come nor declared as lost: an agent can be asked for them once more.
    pub fn holes_in_lanes(&self, source: &SourceId) -> Vec<(Lane, SequenceRange)> {
        let lanes = self.sources.get(source).into_iter().flat_map(|source| source.lanes.values());
        lanes.flat_map(|lane| lane.holes().iter().map(|range| (lane.lane, range)).collect::<Vec<_>>()).collect()
    }

    /// Takes a batch that fills a hole of its lane, and is appended to the log behind later ones of it.
    ///
    /// Returns whether the log has none of it already.
    pub fn fill(&mut self, source: SourceId, lane: Lane, range: SequenceRange) -> bool {
        self.lane_to_change(source, lane).is_some_and(|record| record.fill_gap(range))
    }

    /// Takes the history of a segment, in place of its batches.
    fn rebuild_history(&mut self, history: &SegmentHistory) {
        for step in &history.steps {
            match step {
                Step::Came(stretch) => {
                    let lane = Lane { stream: stretch.stream, epoch: stretch.epoch };
                    let may_be_begun = self.may_be_begun();
                    let source = self.sources.get_or_add(stretch.source);
                    source.lane(lane, may_be_begun).recovered_stretch(stretch);
                }
                Step::Told(bytes) => {
                    if let Ok((batch, _)) = Batch::parse(bytes) {
                        self.learn(&batch);
                    }
                }
            }
            self.journal.mark_committed();
        }
        for beat in &history.beats {
            self.sources.get_or_add(beat.source).beat(beat);
        }
        for last in &history.heard {
            self.last_stamp = self.last_stamp.max(last.ingest);
            self.sources.get_or_add(last.source).heard_at(last.made, last.ingest, last.clock_offset_us);
            if last.source == self.own {
                let lane = Lane { stream: last.stream, epoch: last.epoch };
                self.own_end = Some(OwnEnd { lane, end: last.end, chain: last.chain, offset: last.offset });
            }
        }
    }

    /// All sources by name, as the API shows them.
    pub fn views(&self) -> Vec<SourceView> {
        self.sources.iter().map(|(name, source)| self.view_of(*name, source)).collect()
    }

    /// The sources that have changed since the last call, as they are now.
    pub fn take_changed(&mut self) -> Vec<ChangedSource> {
        let names = self.sources.take_changed();
        names.into_iter().map(|name| (name, self.view(&name))).collect()
    }

    /// The view of one source.
    pub fn view(&self, source: &SourceId) -> Option<SourceView> {
        self.sources.get(source).map(|known| self.view_of(*source, known))
    }

    fn view_of(&self, name: SourceId, source: &Source) -> SourceView {
        SourceView { is_own: name == self.own, is_new: self.newcomers.has(&name), ..source.view(name) }
    }

    /// The number of sources.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there are no sources.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    pub(crate) fn collector_name(&self) -> SourceId {
        self.own
    }

    pub(crate) fn own_end(&self) -> Option<OwnEnd> {
        self.own_end
    }

    pub(crate) fn get(&self, source: &SourceId) -> Option<&Source> {
        self.sources.get(source)
    }

    /// The source; adds it when it is new and there is room.
    pub(crate) fn get_or_add(&mut self, source: SourceId) -> Option<&mut Source> {
        self.sources.get_or_add_if_room(source)
    }

    pub(crate) fn key(&self, source: &SourceId) -> Option<PublicKey> {
        self.sources.get(source)?.pinned.as_ref().map(|pinned| pinned.key)
    }

    /// Holds a source to a key from now on; `None` when there is no room for a new source.
    pub(crate) fn pin(&mut self, source: SourceId, key: PublicKey) -> Option<()> {
        let known = self.get_or_add(source)?;
        let before = known.pinned.replace(Pinned::new(key));
        self.journal.pinned(source, before);
        self.heard_of(source);
        Some(())
    }

    /// The lane, for reading.
    pub(crate) fn lane(&self, source: &SourceId, lane: &Lane) -> Option<&LaneRecord> {
        self.sources.get(source)?.lanes.get(lane)
    }

    /// The lane, for admission; adds it when it is new and there is room. A failed commit does not restore it.
    pub(crate) fn lane_to_judge(&mut self, source: SourceId, lane: Lane) -> Option<&mut LaneRecord> {
        let may_be_begun = self.may_be_begun();
        self.sources.lane(source, lane, may_be_begun)
    }

    /// The lane, for a change that the next commit writes to the log.
    pub(crate) fn lane_to_change(&mut self, source: SourceId, lane: Lane) -> Option<&mut LaneRecord> {
        let may_be_begun = self.may_be_begun();
        let record = self.sources.lane(source, lane, may_be_begun)?;
        self.journal.changing(source, record);
        Some(record)
    }

    /// Missing sequences of all lanes that no loss and no gap event names.
    pub(crate) fn unreported_gaps(&self) -> Vec<(SourceId, Lane, RangeSet)> {
        let lanes = self.sources.iter().flat_map(|(name, source)| source.lanes.values().map(move |lane| (*name, lane)));
        lanes
            .map(|(name, lane)| (name, lane.lane, lane.unreported_gaps()))
            .filter(|(.., ranges)| !ranges.is_empty())
            .collect()
    }

    /// Takes the statements of a critical batch about lanes, and, if the collector wrote it, about keys and gaps. Ends
    /// at the first record that cannot be decoded.
    pub(crate) fn learn(&mut self, batch: &Batch<'_>) {
        let mut decoder = std::mem::take(&mut self.decoder);
        let header = batch.header();
        for record in decoder.open(batch).readable() {
            if let Some(beat) = HeartbeatStep::of(header, &record.event)
                && let Some(source) = self.get_or_add(header.source)
            {
                source.beat(&beat);
            }
            self.learn_event(header.source, &record.event);
        }
        self.decoder = decoder;
    }

    /// Whether every record of the batch can be decoded.
    pub(crate) fn can_read(&mut self, batch: &Batch<'_>) -> bool {
        self.decoder.open(batch).readable().count() == batch.header().count as usize
    }

    fn learn_event(&mut self, source: SourceId, event: &Event<'_>) {
        match &event.body {
            // A device's loss, under the device's name, is in a lane with numbers of its own.
            Body::Loss(loss) if event.subject.as_str() == source.as_str() => self.learn_loss(source, event.time, loss),
            Body::LifeCycle(LifeCycle::KeyPinned { source: named, key }) if source == self.own => {
                if let Ok(named) = SourceId::new(named) {
                    // Without room it is ignored: the next hello pins the source again.
                    let _ = self.pin(named, PublicKey(*key));
                }
            }
            Body::LifeCycle(LifeCycle::Trimmed { until, .. }) if source == self.own => {
                self.trimmed_until = self.trimmed_until.max(*until);
            }
            Body::LifeCycle(LifeCycle::Emptied { stream: Stream::Samples, until, .. }) if source == self.own => {
                self.emptied_until = self.emptied_until.max(*until);
            }
            Body::LifeCycle(LifeCycle::LaneKept { source: named, stream, epoch, end, time_last, chain })
                if source == self.own =>
            {
                let lane = Lane { stream: *stream, epoch: *epoch };
                let chain = (*chain != CHAIN_START).then_some(*chain);
                if let Ok(named) = SourceId::new(named)
                    && let Some(record) = self.lane_to_change(named, lane)
                {
                    record.kept(&LaneKept { end: *end, time_last: *time_last, chain });
                }
            }
            Body::LifeCycle(LifeCycle::Gap { source: named, stream, epoch, first, end }) if source == self.own => {
                let lane = Lane { stream: *stream, epoch: *epoch };
                if let Ok(named) = SourceId::new(named)
                    && let Some(record) = self.lane_to_change(named, lane)
                {
                    record.receiver.hello(&Held { lane, first: *end, end: *end });
                    record.report_gap(SequenceRange { first: *first, end: *end });
                }
            }
            Body::LifeCycle(statement) => self.learn_statement(source, event.time, statement),
            _ => {}
        }
    }

    fn learn_loss(&mut self, source: SourceId, time: Timestamp, loss: &Loss) {
        let lane = Lane { stream: loss.stream, epoch: loss.epoch };
        if let Some(record) = self.lane_to_change(source, lane) {
            record.declared(loss, time);
        }
    }

    /// Marks everything accepted as durable.
    pub(crate) fn mark_committed(&mut self) {
        for (source, lane) in self.journal.mark_committed() {
            if let Some(record) = self.sources.get_mut(&source).and_then(|source| source.lanes.get_mut(&lane)) {
                record.receiver.durable();
            }
        }
    }

    /// The last commit failed: restores the state before it.
    pub(crate) fn roll_back(&mut self) {
        for (source, before) in self.journal.take_lanes() {
            if let Some(known) = self.sources.get_mut(&source) {
                known.lanes.insert(before.lane, before);
            }
            self.heard_of(source);
        }
        for (source, before) in self.journal.take_keys() {
            if let Some(known) = self.sources.get_mut(&source) {
                known.pinned = before;
            }
            self.heard_of(source);
        }
    }

    /// The ack of a lane.
    pub(crate) fn resume(&self, source: &SourceId, lane: Lane) -> Resume {
        let known = self.lane(source, &lane).map(|record| record.receiver.resume());
        known.unwrap_or(Resume { lane, end: Sequence::ZERO, check: None })
    }
}

impl Rebuild for Sources {
    fn begins(&mut self, first: Offset) {
        self.begin = first;
    }

    fn batch(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        self.rebuild(head, batch);
    }

    fn history(&mut self, history: &SegmentHistory) {
        self.rebuild_history(history);
    }
}
