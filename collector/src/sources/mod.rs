//! What is known of every source: key, lanes, losses, gaps, counts.
//!
//! Keys, lanes, losses and gaps are rebuilt from the log at every start, and are nothing but what the log says: what a
//! commit that failed had changed is put back.

mod journal;
mod lane;
mod names;
mod newcomers;
mod ranges;
mod source;
mod statements;
mod unattested;
mod view;

pub use view::{
    ClockHeard, HeartbeatView, LaneView, LinkState, LossView, RangeView, RetiredView, RolledBackView, SourceView,
    lag_us, made_at,
};

pub use lane::LaneKept;
pub(crate) use lane::LaneRecord;
pub(crate) use ranges::RangeSet;
pub(crate) use source::Source;
pub(crate) use unattested::{Entered, Unattested};

use std::collections::BTreeMap;

use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::{Batch, CHAIN_START, ChainHash};
use afferent_protocol::endorsement::ENDORSEMENT_LEN;
use afferent_protocol::event::{Body, Event, LifeCycle, Loss};
use afferent_protocol::ids::{Offset, Sequence, SequenceRange, SourceId, Stream, Timestamp};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::session::{Held, Lane, Offered, Resume};
use afferent_protocol::sign::PublicKey;

use crate::limits::{SOURCE_LANES_MAX, SOURCES_MAX};
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::log::records::Decoder;
use crate::log::{Beat, History, Rebuild, Step};
use crate::terms::Terms;
use afferent_protocol::session::signed::LogId;
use journal::Journal;
use newcomers::Newcomers;
use source::Pinned;

/// Every source that ever spoke, the collector itself included.
#[derive(Clone, Debug)]
pub struct Sources {
    own: SourceId,
    own_end: Option<OwnEnd>,
    sources: BTreeMap<SourceId, Source>,
    newcomers: Newcomers,
    journal: Journal,
    unattested: Unattested,
    terms: Terms,
    /// The term that this opening of the log has drawn.
    drawn_term: u64,
    /// What keys of the log have said about others.
    endorsements: Vec<[u8; ENDORSEMENT_LEN]>,
    /// When the newest entry was appended.
    last_stamp: Timestamp,
    /// The oldest offset that the log has.
    begin: Offset,
    /// What is before it, retention removes or has removed.
    trimmed_until: Offset,
    /// And the samples before this offset.
    emptied_until: Offset,
    /// Whether the log is still being taken, so that lanes that were not met yet may have begun in what is gone.
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
    /// Nobody yet, of partition 0. `own` is the collector's name: only what it wrote tells about keys and gaps.
    pub fn new(own: SourceId) -> Self {
        Self::of_partition(own, Partition::EMBEDDED)
    }

    /// Nobody yet, of this partition.
    pub fn of_partition(own: SourceId, partition: Partition) -> Self {
        let (sources, journal) = (BTreeMap::new(), Journal::default());
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

    /// Takes a batch that was found in the log at start. To be called for all of them, in order.
    pub fn rebuild(&mut self, head: &EntryHead, batch: &Batch<'_>) {
        let header = batch.header();
        let lane = Lane { stream: header.stream, epoch: header.epoch };
        let offered = Offered { range: header.range(), previous: header.previous, chain: batch.chain_hash() };
        let may_be_begun = self.may_be_begun();
        let source = self.sources.entry(header.source).or_default();
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
        self.journal.settle();
    }

    /// Reads what is in the log behind its newest attestation: histories do not have it.
    pub(crate) fn find_unattested(&mut self, log: &dyn ReadLog) {
        self.unattested.read(log);
    }

    /// Whether a lane that was not met yet may have begun in a part of the log that is gone.
    fn may_be_begun(&self) -> bool {
        self.is_rebuilding && self.begin > Offset::ZERO
    }

    /// The whole log was taken: whoever comes now and was not met is new.
    pub(crate) fn rebuilt(&mut self) {
        self.is_rebuilding = false;
        let names: Vec<SourceId> = self.sources.keys().copied().collect();
        names.into_iter().for_each(|name| self.heard_of(name));
    }

    /// Offsets that are gone from the log's beginning without a word that retention was to remove them.
    pub(crate) fn gone_untold(&self) -> Option<(Offset, Offset)> {
        (self.begin > self.trimmed_until).then_some((self.trimmed_until, self.begin))
    }

    /// What is before this offset, retention removes or has removed.
    pub fn trimmed_until(&self) -> Offset {
        self.trimmed_until
    }

    /// Samples before this offset, retention removes or has removed.
    pub fn emptied_until(&self) -> Offset {
        self.emptied_until
    }

    /// Every pinned key: told anew before the log's beginning goes.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (SourceId, PublicKey)> {
        self.sources.iter().filter_map(|(name, source)| Some((*name, source.pinned.as_ref()?.key)))
    }

    /// How far every lane of another source has come: told anew before the log's beginning goes.
    pub(crate) fn lanes_to_keep(&self) -> impl Iterator<Item = (SourceId, Lane, LaneKept)> {
        let others = self.sources.iter().filter(|(name, _)| **name != self.own);
        let lanes = others.flat_map(|(name, source)| source.lanes.values().map(move |lane| (*name, lane)));
        lanes.filter_map(|(name, lane)| Some((name, lane.lane, lane.to_keep()?)))
    }

    /// What was found in the log behind its newest attestation; nothing the second time.
    pub(crate) fn take_unattested(&mut self) -> Unattested {
        std::mem::take(&mut self.unattested)
    }

    /// What the newest attestation says that was found when the log was opened.
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

    /// This opening has drawn this term.
    pub(crate) fn drawn(&mut self, term: u64) {
        self.drawn_term = term;
    }

    pub(crate) fn drawn_term(&self) -> u64 {
        self.drawn_term
    }

    /// When the newest entry was appended that was found in the log.
    pub(crate) fn last_stamp(&self) -> Timestamp {
        self.last_stamp
    }

    /// What is missing inside lanes, neither come nor declared as lost: what an agent can be asked for once more.
    pub fn holes_in_lanes(&self, source: &SourceId) -> Vec<(Lane, SequenceRange)> {
        let lanes = self.sources.get(source).into_iter().flat_map(|source| source.lanes.values());
        lanes.flat_map(|lane| lane.holes().iter().map(|range| (lane.lane, range)).collect::<Vec<_>>()).collect()
    }

    /// Takes a batch that fills a hole of its lane, and is appended to the log behind later ones of it.
    ///
    /// Whether nothing of it is there already.
    pub fn fill(&mut self, source: SourceId, lane: Lane, range: SequenceRange) -> bool {
        self.lane_to_change(source, lane).is_some_and(|record| record.filled(range))
    }

    /// Takes what a segment holds, in place of its batches.
    fn rebuild_history(&mut self, history: &History) {
        for step in &history.steps {
            match step {
                Step::Came(stretch) => {
                    let lane = Lane { stream: stretch.stream, epoch: stretch.epoch };
                    let may_be_begun = self.may_be_begun();
                    let source = self.sources.entry(stretch.source).or_default();
                    source.lane(lane, may_be_begun).recovered_stretch(stretch);
                }
                Step::Told(bytes) => {
                    if let Ok((batch, _)) = Batch::parse(bytes) {
                        self.learn(&batch);
                    }
                }
            }
            self.journal.settle();
        }
        for beat in &history.beats {
            self.sources.entry(beat.source).or_default().beat(beat);
        }
        for last in &history.heard {
            self.last_stamp = self.last_stamp.max(last.ingest);
            self.sources.entry(last.source).or_default().heard_at(last.made, last.ingest, last.clock_offset_us);
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

    /// One of them.
    pub fn view(&self, source: &SourceId) -> Option<SourceView> {
        self.sources.get(source).map(|known| self.view_of(*source, known))
    }

    fn view_of(&self, name: SourceId, source: &Source) -> SourceView {
        SourceView { is_own: name == self.own, is_new: self.newcomers.has(&name), ..source.view(name) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    pub(crate) fn own(&self) -> SourceId {
        self.own
    }

    pub(crate) fn own_end(&self) -> Option<OwnEnd> {
        self.own_end
    }

    pub(crate) fn get(&self, source: &SourceId) -> Option<&Source> {
        self.sources.get(source)
    }

    /// The source, which is made when there is room for one more.
    pub(crate) fn get_or_add(&mut self, source: SourceId) -> Option<&mut Source> {
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source) {
            return None;
        }
        Some(self.sources.entry(source).or_default())
    }

    pub(crate) fn key(&self, source: &SourceId) -> Option<PublicKey> {
        self.sources.get(source)?.pinned.as_ref().map(|pinned| pinned.key)
    }

    /// Holds a source to a key from now on; `None` when there is no room for one more source.
    pub(crate) fn pin(&mut self, source: SourceId, key: PublicKey) -> Option<()> {
        let known = self.get_or_add(source)?;
        let before = known.pinned.replace(Pinned::new(key));
        self.journal.pinned(source, before);
        self.heard_of(source);
        Some(())
    }

    /// The lane, to be looked at and judged by.
    pub(crate) fn lane(&self, source: &SourceId, lane: &Lane) -> Option<&LaneRecord> {
        self.sources.get(source)?.lanes.get(lane)
    }

    /// The lane, made when there is room for one more. What is changed through it is not put back.
    pub(crate) fn lane_to_judge(&mut self, source: SourceId, lane: Lane) -> Option<&mut LaneRecord> {
        let may_be_begun = self.may_be_begun();
        let known = self.get_or_add(source)?;
        if known.lanes.len() >= SOURCE_LANES_MAX && !known.lanes.contains_key(&lane) {
            return None;
        }
        Some(known.lane(lane, may_be_begun))
    }

    /// The lane, to be changed by something that is to be in the log with the next commit.
    pub(crate) fn lane_to_change(&mut self, source: SourceId, lane: Lane) -> Option<&mut LaneRecord> {
        let record = self.lane_to_judge(source, lane)?.clone();
        self.journal.changing(source, record);
        self.lane_to_judge(source, lane)
    }

    /// What is missing in any lane, and neither declared nor told.
    pub(crate) fn untold(&self) -> Vec<(SourceId, Lane, RangeSet)> {
        let lanes = self.sources.iter().flat_map(|(name, source)| source.lanes.values().map(move |lane| (*name, lane)));
        lanes.map(|(name, lane)| (name, lane.lane, lane.untold())).filter(|(.., ranges)| !ranges.is_empty()).collect()
    }

    /// Takes what a critical batch says about lanes, and, if the collector wrote it, about keys and gaps. Ends at the
    /// first record that cannot be decoded.
    pub(crate) fn learn(&mut self, batch: &Batch<'_>) {
        let mut decoder = std::mem::take(&mut self.decoder);
        let header = batch.header();
        for record in decoder.open(batch).readable() {
            if let Some(beat) = Beat::of(header, &record.event)
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
            // A device's loss, under the device's name, is in a lane that is numbered elsewhere.
            Body::Loss(loss) if event.subject.as_str() == source.as_str() => self.learn_loss(source, event.time, loss),
            Body::LifeCycle(LifeCycle::KeyPinned { source: named, key }) if source == self.own => {
                if let Ok(named) = SourceId::new(named) {
                    // No room is no matter here: whoever is not known will be pinned again.
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
                    record.tell(SequenceRange { first: *first, end: *end });
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

    /// Everything accepted is on disk.
    pub(crate) fn settle(&mut self) {
        for (source, lane) in self.journal.settle() {
            if let Some(record) = self.sources.get_mut(&source).and_then(|source| source.lanes.get_mut(&lane)) {
                record.receiver.durable();
            }
        }
    }

    /// Nothing since the last time that everything was on disk counts.
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

    /// What to ack of a lane.
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

    fn history(&mut self, history: &History) {
        self.rebuild_history(history);
    }
}
