//! What a reader finds on the collector's platter, read by a [reader of its own](crate::oracle_reader).

use std::collections::BTreeMap;

use afferent_protocol::batch::ChainHash;
use afferent_protocol::event::{Loss, LossReason};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::session::Lane;

use super::ledger::Content;
use crate::oracle_reader::{ReadEntry, ReadEvent, ReadSegment, read_segment};

/// A batch in the unified log.
#[derive(Clone, Debug)]
pub struct SeenBatch {
    /// Its first offset.
    pub ordinal: u64,
    /// Who wrote it.
    pub source: SourceId,
    /// Its lane.
    pub lane: Lane,
    /// Its first sequence.
    pub first: u64,
    /// The first sequence after it.
    pub end: u64,
    /// The chain hash of the batch before it, as it says.
    pub previous: ChainHash,
    /// Its own.
    pub chain: ChainHash,
    /// What its events say, and whether they are a carrier's own (losses, life cycle, clock steps).
    pub events: Vec<(Content, bool)>,
}

impl SeenBatch {
    /// The first offset after it.
    pub fn end_ordinal(&self) -> u64 {
        self.ordinal + self.events.len() as u64
    }
}

/// A gap that a collector declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenGap {
    /// Where the event stands.
    pub offset: u64,
    /// Whose events are missing.
    pub source: SourceId,
    /// In which lane.
    pub lane: Lane,
    /// The first missing sequence.
    pub first: u64,
    /// The first that is there again.
    pub end: u64,
}

/// What a source says of a lane that it sealed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenReseal {
    /// Whose.
    pub source: SourceId,
    /// The new lane: this event is its first, the others follow it.
    pub lane: Lane,
    /// The lane that they had been in.
    pub from: Lane,
    /// The sequence that the first of them had there.
    pub first: u64,
}

/// Everything that a log's files hold.
#[derive(Debug, Default)]
pub struct LogView {
    /// The batches, in the log's order.
    pub batches: Vec<SeenBatch>,
    /// The losses that sources declared, with the offset of each.
    pub losses: Vec<(u64, SourceId, Loss)>,
    /// The gaps that the collector declared.
    pub gaps: Vec<SeenGap>,
    /// The lanes that were sealed again.
    pub reseals: Vec<SeenReseal>,
    /// Whose events happened when, by their own account.
    pub times: Vec<(SourceId, Timestamp)>,
    /// Heartbeats: whose, and when, by its clock.
    pub heartbeats: Vec<(SourceId, Timestamp)>,
    /// Whether the collector says that its log was put back to an earlier state.
    pub rolled_back: bool,
    /// The keys that were pinned, in hexadecimal digits.
    pub pins: Vec<(SourceId, String)>,
}

impl LogView {
    /// Reads a unified log. `keys` are those that sources have in truth.
    pub fn unified(files: &[(String, Vec<u8>)], keys: &BTreeMap<SourceId, [u8; 32]>) -> Result<Self, String> {
        let mut view = Self::default();
        for entry in entries(files)? {
            let batch = &entry.batch;
            let source = name(&batch.lane.source)?;
            if let Some(key) = keys.get(&source)
                && !batch.is_signed_by(key)
            {
                return Err(format!("the batch at offset {} is not signed by {source}", entry.ordinal));
            }
            view.take(source, &entry)?;
        }
        Ok(view)
    }

    fn take(&mut self, source: SourceId, entry: &ReadEntry) -> Result<(), String> {
        let batch = &entry.batch;
        let mut events = Vec::with_capacity(batch.events.len());
        for (offset, event) in (entry.ordinal..).zip(&batch.events) {
            let own = self.take_own(offset, source, event)?;
            self.times.push((source, Timestamp::clamped(event.time)));
            events.push((Content::of_read(event), own));
        }
        let stream = Stream::from_number(batch.lane.stream).ok_or("a stream that nobody knows")?;
        let lane = Lane { stream, epoch: Epoch::new(batch.lane.epoch) };
        if let Some(fields) = batch.events.first().and_then(|event| event.body.strip_prefix("resealed "))
            && batch.first == 0
        {
            let (from, first) = (Fields(fields).lane()?, Fields(fields).number("first")?);
            self.reseals.push(SeenReseal { source, lane, from, first });
        }
        self.batches.push(SeenBatch {
            ordinal: entry.ordinal,
            source,
            lane,
            first: batch.first,
            end: batch.first + u64::from(batch.count),
            previous: batch.previous,
            chain: batch.chain,
            events,
        });
        Ok(())
    }

    /// Takes note of a carrier's own events; tells whether it is one.
    fn take_own(&mut self, offset: u64, source: SourceId, event: &ReadEvent) -> Result<bool, String> {
        let fields = Fields(&event.body);
        match event.body.split(' ').next().unwrap_or_default() {
            "loss" => self.losses.push((offset, source, fields.loss()?)),
            "gap" => {
                let (first, end) = (fields.number("first")?, fields.number("end")?);
                let source = name(fields.text("source")?.trim_matches('"'))?;
                self.gaps.push(SeenGap { offset, source, lane: fields.lane()?, first, end });
            }
            "keypinned" => {
                let source = name(fields.text("source")?.trim_matches('"'))?;
                self.pins.push((source, fields.text("key")?.to_owned()));
            }
            "rolledback" => self.rolled_back = true,
            "started" | "stopped" | "linkup" | "linkdown" | "refused" | "disktrouble" | "clockstep" => {}
            "heartbeat" => self.heartbeats.push((source, Timestamp::clamped(event.time))),
            "attested" | "termbegun" | "resealed" | "ringreplaced" | "conflict" => {}
            "retired" | "keyreplaced" | "keyendorsed" | "alias" | "forgotten" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Where an event was accepted that stands here, if its lane was sealed again.
    pub fn origin(&self, source: SourceId, mut lane: Lane, mut sequence: u64) -> (Lane, u64) {
        let of = |lane: Lane| self.reseals.iter().find(move |seen| seen.source == source && seen.lane == lane);
        while let Some(seen) = of(lane).filter(|_| sequence > 0) {
            (lane, sequence) = (seen.from, seen.first + sequence - 1);
        }
        (lane, sequence)
    }

    /// All places that an event has in lanes that its lane was sealed again in.
    pub fn places(&self, source: SourceId, lane: Lane, sequence: u64) -> Vec<(Lane, u64)> {
        let mut places = vec![(lane, sequence)];
        let mut at = 0;
        while let Some((lane, sequence)) = places.get(at).copied() {
            let again = self.reseals.iter().filter(|seen| seen.source == source && seen.from == lane);
            let again = again.filter(|seen| seen.first <= sequence && seen.lane != lane);
            places.extend(again.map(|seen| (seen.lane, sequence - seen.first + 1)));
            at += 1;
        }
        places
    }

    /// A loss of the lane that names this sequence.
    pub fn loss_at(&self, source: SourceId, lane: Lane, sequence: u64) -> Option<&Loss> {
        let of_lane = |loss: &Loss| loss.stream == lane.stream && loss.epoch == lane.epoch;
        let names = |loss: &Loss| loss.first.get() <= sequence && sequence < loss.end.get();
        let found = self.losses.iter().find(|(_, from, loss)| *from == source && of_lane(loss) && names(loss));
        found.map(|(_, _, loss)| loss)
    }

    /// Where each lane ends.
    pub fn ends(&self) -> BTreeMap<(SourceId, Lane), u64> {
        let mut ends = BTreeMap::new();
        let batches = self.batches.iter().map(|batch| (batch.source, batch.lane, batch.end));
        let gaps = self.gaps.iter().map(|gap| (gap.source, gap.lane, gap.end));
        for (source, lane, end) in batches.chain(gaps) {
            let known = ends.entry((source, lane)).or_insert(0);
            *known = end.max(*known);
        }
        ends
    }
}

/// The entries that count, in order.
///
/// What a later segment begins anew does not count in an earlier one. At the end of the last one an unfinished write
/// does not count either, although whole entries of it may have survived: a stretch is known to have been durable only
/// when an entry behind it was written at a durable end (its `acked_end`) behind it.
fn entries(files: &[(String, Vec<u8>)]) -> Result<Vec<ReadEntry>, String> {
    let mut segments: Vec<(&str, ReadSegment)> = Vec::new();
    for (name, bytes) in files.iter().filter(|(name, _)| name.ends_with(".seg")) {
        match read_segment(bytes) {
            Ok(Some(segment)) => segments.push((name, segment)),
            // A segment that was being begun when the power went holds nothing.
            _ if bytes.iter().skip(1024).all(|byte| *byte == 0) => {}
            problem => return Err(format!("{name}: {problem:?}")),
        }
    }
    segments.sort_by_key(|(_, segment)| segment.header.generation);
    let firsts: Vec<u64> = segments.iter().map(|(_, segment)| segment.header.first_ordinal).collect();
    let mut found = Vec::new();
    let mut end = 0;
    for (at, (name, segment)) in segments.into_iter().enumerate() {
        let limit = firsts[at + 1..].iter().min().copied();
        let durable = limit.or_else(|| segment.entries.iter().map(|entry| entry.acked_end).max());
        for entry in segment.entries {
            let entry_end = entry.ordinal + u64::from(entry.batch.count);
            if limit.is_some_and(|limit| entry_end > limit) || (limit.is_none() && entry.ordinal != end) {
                break;
            }
            if entry.ordinal != end {
                return Err(format!("{name}: offset {} follows {end}", entry.ordinal));
            }
            end = entry_end;
            found.push(entry);
        }
        if let Some(durable) = durable.filter(|durable| end < *durable) {
            return Err(format!("{name}: the log was durable up to {durable} and can be read up to {end}"));
        }
    }
    Ok(found)
}

fn name(text: &str) -> Result<SourceId, String> {
    SourceId::new(text).map_err(|error| format!("the source {text:?} {error}"))
}

/// The fields of an event's body, as `kind field=value …`.
struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    fn text(&self, field: &str) -> Result<&'a str, String> {
        let value = self.0.split(' ').find_map(|pair| pair.strip_prefix(field)?.strip_prefix('='));
        value.ok_or_else(|| format!("no {field} in {}", self.0))
    }

    fn number(&self, field: &str) -> Result<u64, String> {
        self.text(field)?.parse().map_err(|_| format!("no number {field} in {}", self.0))
    }

    fn lane(&self) -> Result<Lane, String> {
        let stream = self.text("stream")?;
        let stream =
            Stream::ALL.into_iter().find(|known| known.name() == stream).ok_or("a stream that nobody knows")?;
        let epoch = u64::from_str_radix(self.text("epoch")?, 16).map_err(|_| "an epoch that is none")?;
        Ok(Lane { stream, epoch: Epoch::new(epoch) })
    }

    fn loss(&self) -> Result<Loss, String> {
        let Lane { stream, epoch } = self.lane()?;
        let (first, end) = (Sequence::new(self.number("first")?), Sequence::new(self.number("end")?));
        let reason = match self.text("reason")? {
            "evicted" => LossReason::Evicted,
            "corrupt" => LossReason::Corrupt,
            "torn-tail" => LossReason::TornTail,
            "device-full" => LossReason::DeviceFull,
            "refused" => LossReason::Refused,
            "vanished" => LossReason::Vanished,
            "vanished-at-least" => LossReason::VanishedAtLeast,
            other => return Err(format!("the reason {other}")),
        };
        let digits = self.text("chain")?;
        let mut chain = [0; 32];
        for (at, byte) in chain.iter_mut().enumerate() {
            let digits = digits.get(2 * at..2 * at + 2).ok_or("a chain hash that is too short")?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| "a chain hash that is none")?;
        }
        Ok(Loss { stream, epoch, first, end, reason, chain })
    }
}
