//! For tests: events, and a log of them that is folded directly.

use afferent_protocol::batch::{Batch, BatchBuilder, CHAIN_START, ClockReading, Lineage};
use afferent_protocol::event::{
    Alarm, AlarmTransition, Body, Breakdown, Derived, Event, LaneEnds, LifeCycle, MachineState, Quality, Recovery,
    Sample, Severity, State, Value,
};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Subject, Timestamp};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::sign::Identity;

use super::{AnyModel, Fold, FoldMember, LoggedEvent, ModelId};
use crate::log::address::Partition;
use crate::log::events::Entry;

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::new(second * 1_000_000).unwrap()
}

fn event<'a>(second: i64, subject: &'a str, body: Body<'a>) -> Event<'a> {
    Event { time: at(second), subject: Subject::new(subject).unwrap(), body }
}

pub(crate) fn sample(second: i64, subject: &str, value: f64) -> Event<'_> {
    event(second, subject, Body::Sample(Sample { value: Value::Float(value), unit: "1", quality: Quality::Good }))
}

pub(crate) fn breakdown<'a>(second: i64, subject: &'a str, code: &'a str, message: &'a str) -> Event<'a> {
    event(second, subject, Body::Breakdown(Breakdown { code, severity: Severity::Error, message }))
}

pub(crate) fn recovery<'a>(second: i64, subject: &'a str, code: &'a str) -> Event<'a> {
    event(second, subject, Body::Recovery(Recovery { code, message: "" }))
}

pub(crate) fn state(second: i64, subject: &str, state: MachineState) -> Event<'_> {
    event(second, subject, Body::State(State { state, reason: "" }))
}

pub(crate) fn alarm<'a>(second: i64, subject: &'a str, condition: &'a str, transition: AlarmTransition) -> Event<'a> {
    event(second, subject, Body::Alarm(Alarm { condition, transition, priority: 500, message: "" }))
}

pub(crate) fn cleared<'a>(second: i64, subject: &'a str, condition: &'a str) -> Event<'a> {
    alarm(second, subject, condition, AlarmTransition::Cleared)
}

pub(crate) fn heartbeat(second: i64, agent: &str) -> Event<'_> {
    let lanes = LaneEnds::from_bytes(&[]);
    event(second, agent, Body::LifeCycle(LifeCycle::Heartbeat { instance: [7; 16], lanes }))
}

pub(crate) fn derived<'a>(subject: &'a str, kind: &'a str, json: &'a str) -> Event<'a> {
    event(1, subject, Body::Derived(Derived { kind, json }))
}

/// An event of a test, with its source and ingest time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TestEvent<'e> {
    pub source: &'e str,
    pub epoch: u64,
    pub event: Event<'e>,
    pub ingest: Timestamp,
}

/// Batches of one event each, from offset 0 on, ingested when they happened.
pub(crate) struct Log(Vec<(EntryHead, Vec<u8>)>);

impl Log {
    pub(crate) fn of(events: &[Event<'_>]) -> Self {
        Self::from(events.iter().map(|event| TestEvent {
            source: "press-88",
            epoch: 1,
            event: *event,
            ingest: event.time,
        }))
    }

    /// Batches of one event of a source each, from offset 0 on, with the time of their ingest.
    pub(crate) fn from<'e>(events: impl IntoIterator<Item = TestEvent<'e>>) -> Self {
        let mut builder = BatchBuilder::new();
        let identity = Identity::from_seed(&[1; 32]);
        let entry = |(number, told): (u64, TestEvent<'_>)| {
            let TestEvent { source, epoch, event, ingest } = told;
            builder.push(&event).unwrap();
            let lineage = Lineage {
                source: SourceId::new(source).unwrap(),
                stream: event.stream(),
                epoch: Epoch::new(epoch),
                first: Sequence::new(number),
                previous: CHAIN_START,
            };
            let mut bytes = Vec::new();
            let clock = ClockReading { wall: ingest, ..ClockReading::default() };
            let (header, _) = builder.seal(&lineage, &clock, &identity, &mut bytes);
            (EntryHead::new(&header, number, 0, ingest), bytes)
        };
        Self((0..).zip(events).map(entry).collect())
    }

    /// The same entries, each with its stamps, in a different order.
    pub(crate) fn permuted(&self, order: &[usize]) -> Self {
        Self(order.iter().map(|at| self.0[*at].clone()).collect())
    }

    /// The same entries, with this measured clock offset.
    pub(crate) fn measured(&self, clock_offset_us: i64) -> Self {
        let entry =
            |(head, bytes): &(EntryHead, Vec<u8>)| (head.with_clock_offset_us(Some(clock_offset_us)), bytes.clone());
        Self(self.0.iter().map(entry).collect())
    }

    pub(crate) fn fold<M: AnyModel + Clone + 'static>(&self, model: &mut M) {
        let folded = self.fold_any(model.clone_model());
        model.load(&folded.save()).unwrap();
    }

    pub(crate) fn fold_any(&self, model: Box<dyn AnyModel>) -> Box<dyn AnyModel> {
        let member = FoldMember::new(ModelId::new("test", 1).unwrap(), model);
        let mut members = vec![member];
        for (head, bytes) in &self.0 {
            // One fold for each entry: they need not be sorted by offset.
            let mut fold = Fold::new(members, Offset::new(head.ordinal), Timestamp::default());
            let (batch, _) = Batch::parse(bytes).unwrap();
            fold.entry(&Entry::new(Partition::EMBEDDED, head, &batch), Offset::new(u64::MAX));
            members = fold.members;
        }
        let member = members.pop().expect("one model");
        assert_eq!(member.failed, None);
        member.model
    }
}

/// The result of `read` for an event.
pub(crate) fn seen_one<T>(event: &Event<'_>, read: impl Fn(&LoggedEvent<'_>) -> T) -> T {
    let log = Log::of(std::slice::from_ref(event));
    let mut fold = Fold::new(Vec::new(), Offset::ZERO, Timestamp::default());
    let mut found = None;
    let (head, bytes) = &log.0[0];
    let (batch, _) = Batch::parse(bytes).unwrap();
    fold.entry_through(&Entry::new(Partition::EMBEDDED, head, &batch), Offset::new(u64::MAX), &mut |_, seen, _| {
        found = seen.first().map(&read);
    });
    found.expect("one event")
}
