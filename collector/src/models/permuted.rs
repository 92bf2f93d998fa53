//! For tests: made-up events of several sources, and the same ones in a different order of arrival.
//!
//! Every event keeps its time, source, sequence and stamp; its offset is its index of arrival.

use afferent_protocol::batch::{BatchBuilder, CHAIN_START, ClockReading, Header, Lineage};
use afferent_protocol::event::{Body, Event, Quality, Sample, Value};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::sign::Identity;

use super::{AnyModel, Correction, LoggedEvent, Name, machine_of};

/// 2020-09-13T12:26:40Z
const BEGIN_US: i64 = 1_600_000_000_000_000;

/// The same numbers for the same seed (splitmix64).
pub(super) struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % end as u64) as usize
    }

    pub fn shuffle<T>(&mut self, list: &mut [T]) {
        for end in (1..list.len()).rev() {
            list.swap(end, self.below(end + 1));
        }
    }
}

/// A second after the beginning.
pub(super) fn second(number: usize) -> Timestamp {
    Timestamp::new(BEGIN_US + number as i64 * 1_000_000).unwrap()
}

/// An event without its body.
#[derive(Clone, Debug)]
pub(super) struct EventHead {
    /// Its number, which identifies it in every order of arrival.
    pub number: usize,
    pub source: usize,
    pub sequence: u64,
    pub time: Timestamp,
    pub ingest: Timestamp,
    pub subject: &'static str,
    /// The event that it names, which must have arrived before it.
    pub of: Option<usize>,
}

/// Moves events behind the events that they name.
pub(super) fn behind_what_they_name<T>(arrival: &mut Vec<T>, entry: impl Fn(&T) -> &EventHead) {
    let mut waiting = std::mem::take(arrival);
    while !waiting.is_empty() {
        let has_come = |of: usize, arrival: &[T]| arrival.iter().any(|known| entry(known).number == of);
        let at = waiting.iter().position(|one| entry(one).of.is_none_or(|of| has_come(of, arrival)));
        arrival.push(waiting.remove(at.expect("events name others in no circle")));
    }
}

/// A head of a batch for each source.
pub(super) fn heads(sources: &[&str]) -> Vec<Header> {
    let sample = Sample { value: Value::Bool(true), unit: "", quality: Quality::Good };
    let event = Event { time: second(0), subject: Subject::new("a").unwrap(), body: Body::Sample(sample) };
    let head = |source: &&str| {
        let mut builder = BatchBuilder::new();
        builder.push(&event).unwrap();
        let lineage = Lineage {
            source: SourceId::new(source).unwrap(),
            stream: Stream::Samples,
            epoch: Epoch::new(1),
            first: Sequence::new(0),
            previous: CHAIN_START,
        };
        builder.seal(&lineage, &ClockReading::default(), &Identity::from_seed(&[1; 32]), &mut Vec::new()).0
    };
    sources.iter().map(head).collect()
}

/// An event as models get it, at this offset.
pub(super) fn seen<'s>(entry: &EventHead, heads: &'s [Header], offset: u64, body: Body<'s>) -> LoggedEvent<'s> {
    let subject = Subject::new(entry.subject).unwrap();
    LoggedEvent {
        offset: Offset::new(offset),
        ingest: entry.ingest,
        batch: &heads[entry.source],
        sequence: Sequence::new(entry.sequence),
        machine: Name { id: 0, text: machine_of(entry.subject) },
        subject: Name { id: 0, text: entry.subject },
        event: Event { time: entry.time, subject, body },
        clock_offset_us: None,
        time: entry.time,
        correction: Correction::None,
    }
}

/// Passes an event on at this offset. Every few events the model is saved and restored.
pub(super) fn pass(model: &mut Box<dyn AnyModel>, entry: &EventHead, heads: &[Header], offset: u64, body: Body<'_>) {
    model.apply_all(&[seen(entry, heads, offset, body)]);
    if offset % 16 == 7 {
        let saved = model.save();
        model.load(&saved).unwrap();
    }
}
