//! Where all intakes meet: one open batch per stream, and the promise to tell when it is on disk.
//!
//! [`OpenBatches`] is the state, driven with times from outside. It encodes an event into the open batch of its stream
//! and gives a [`Ticket`]; the writer takes the batch out when it is due, commits it to the ring log, and moves the
//! durable commits on.
//!
//! The open batches also hold the *table of devices*: how far each lane of each device is in the log. A device's batch
//! is taken as a whole, and a batch that has events of devices ends with its stream's table, so that the two cannot
//! part.

use std::collections::BTreeSet;
use std::sync::Arc;

use afferent_protocol::batch::BatchBuilder;
use afferent_protocol::event::{Body, Event, Progress};
use afferent_protocol::ids::{SourceId, Stream};
use afferent_protocol::session::Lane;

use crate::intake::sink::{Refusal, Ticket, Waiting};
use crate::limits::{COMMIT_BYTES, DEVICE_LANES_MAX, TABLE_EVERY_BYTES};
use crate::ring_log::DeviceProgress;

/// How long commits may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitSettings {
    /// Milliseconds that a sample waits for company while a producer waits for it.
    pub wait_max_ms: u64,
    /// Milliseconds that a sample waits for company while nobody waits for it: every commit costs flash.
    pub samples_wait_max_ms: u64,
}

impl Default for CommitSettings {
    fn default() -> Self {
        Self { wait_max_ms: 20, samples_wait_max_ms: 1000 }
    }
}

#[derive(Debug, Default)]
struct OpenBatch {
    builder: BatchBuilder,
    /// The number that its commit will have.
    commit: u64,
    due_ms: Option<u64>,
    /// An event was turned away: it takes no more until it was committed.
    full: bool,
    /// The lanes of devices in this stream, the one that moved last at the end.
    devices: Vec<DeviceProgress>,
    /// The commit that the table's newest change goes with.
    noted: u64,
    /// The table is to go with this batch.
    table_is_due: bool,
    /// Bytes of batches since the table was last in one.
    bytes_since_table: usize,
}

impl OpenBatch {
    /// Whether it takes no more events. Room is kept for the table of devices.
    fn is_full(&self, bytes_max: usize) -> bool {
        let has_room = self.builder.has_room(1 + DEVICE_LANES_MAX, 1, 1 + DEVICE_LANES_MAX as u32);
        self.full || (!self.builder.is_empty() && (self.builder.bytes() >= bytes_max || !has_room))
    }

    /// An event finds no room: the batch is to be committed now.
    fn turned_away(&mut self, now_ms: u64) -> Refusal {
        self.full = true;
        self.due_ms = self.due_ms.min(Some(now_ms));
        Refusal::Full
    }

    /// Takes note of how far a lane of a device is. What moved longest ago goes where there are too many.
    fn note(&mut self, device: DeviceProgress) {
        let lane = |known: &DeviceProgress| (known.device, known.progress.epoch);
        self.devices.retain(|known| lane(known) != lane(&device));
        if self.devices.len() == DEVICE_LANES_MAX {
            self.devices.remove(0);
        }
        self.devices.push(device);
        self.table_is_due = true;
    }

    /// Adds the table to the batch, when it is due.
    fn put_table(&mut self) {
        self.bytes_since_table += self.builder.bytes();
        if self.table_is_due || self.bytes_since_table >= TABLE_EVERY_BYTES {
            self.devices.iter().for_each(|device| device.push(&mut self.builder));
            (self.table_is_due, self.bytes_since_table) = (false, 0);
        }
    }
}

/// The open batches of both streams.
#[derive(Debug)]
pub struct OpenBatches {
    settings: CommitSettings,
    bytes_max: usize,
    streams: [OpenBatch; 2],
    trouble: Option<Arc<str>>,
    stopped: bool,
    /// Why nothing is taken any more, ever.
    failed: Option<Arc<str>>,
}

impl OpenBatches {
    /// Empty ones, full at `bytes_max`.
    pub fn new(settings: CommitSettings, bytes_max: usize) -> Self {
        let open = || OpenBatch { commit: 1, ..OpenBatch::default() };
        Self { settings, bytes_max, streams: [open(), open()], trouble: None, stopped: false, failed: None }
    }

    /// Adds an event to its stream's open batch.
    pub fn push(&mut self, event: &Event<'_>, waiting: Waiting, now_ms: u64) -> Result<Ticket, Refusal> {
        event.check()?;
        self.takes()?;
        let stream = event.stream();
        let open = &mut self.streams[usize::from(stream.number())];
        if open.is_full(self.bytes_max) || open.builder.push(event).is_err() {
            return Err(open.turned_away(now_ms));
        }
        Ok(self.pushed(stream, waiting, now_ms))
    }

    /// Adds all events of a device's batch and how far the device is with them, or nothing: they go into one batch.
    ///
    /// # Panics
    /// When an event is of another stream.
    pub fn push_device(
        &mut self,
        events: &[Event<'_>],
        device: DeviceProgress,
        now_ms: u64,
    ) -> Result<Ticket, Refusal> {
        events.iter().try_for_each(|event| event.check())?;
        let stream = device.progress.stream;
        assert!(events.iter().all(|event| event.stream() == stream), "a device's batch is of one stream");
        self.takes()?;
        let open = &mut self.streams[usize::from(stream.number())];
        let subjects: BTreeSet<_> = events.iter().map(|event| event.subject.as_str()).collect();
        let units: BTreeSet<_> = events.iter().filter_map(|event| unit_of(event)).collect();
        let rows = (events.len() + 1 + DEVICE_LANES_MAX) as u32;
        let has_room = open.builder.has_room(subjects.len() + DEVICE_LANES_MAX, units.len(), rows);
        if open.is_full(self.bytes_max) || !has_room {
            return Err(open.turned_away(now_ms));
        }
        for event in events {
            open.builder.push(event).expect("there is room for all of them");
        }
        // Right behind them, how their times were made of ticks: the table does not repeat that.
        device.push(&mut open.builder);
        open.note(DeviceProgress { progress: Progress { ticks: None, ..device.progress }, ..device });
        open.noted = open.commit;
        Ok(self.pushed(stream, Waiting::Producer, now_ms))
    }

    /// Whether anything is taken now.
    fn takes(&self) -> Result<(), Refusal> {
        if let Some(reason) = &self.failed {
            return Err(Refusal::Failed(reason.clone()));
        }
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        self.trouble.as_ref().map_or(Ok(()), |trouble| Err(Refusal::Unwritable(trouble.clone())))
    }

    /// Nothing is taken any more: who would commit it is gone.
    pub(crate) fn fail(&mut self, reason: &str) {
        self.failed.get_or_insert_with(|| reason.into());
    }

    /// Why nothing is taken any more.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Goes on from the tables that the ring log has.
    pub fn restore_devices(&mut self, tables: [Vec<DeviceProgress>; 2]) {
        for (open, table) in self.streams.iter_mut().zip(tables) {
            table.into_iter().for_each(|device| open.note(device));
        }
    }

    /// How far a device's lanes are in the log when these tickets are durable.
    pub fn device(&self, device: &SourceId) -> (Vec<DeviceProgress>, [Ticket; 2]) {
        let all = self.streams.iter().flat_map(|open| &open.devices);
        let tickets = Stream::ALL.map(|stream| {
            let commit = self.streams[usize::from(stream.number())].noted;
            Ticket { stream, commit }
        });
        (all.filter(|known| known.device == *device).copied().collect(), tickets)
    }

    /// Forgets lanes of a device's stream that it does not hold any more.
    pub fn keep_lanes(&mut self, device: &SourceId, held: &[Lane]) {
        for open in &mut self.streams {
            open.devices.retain(|known| {
                let lane = Lane { stream: known.progress.stream, epoch: known.progress.epoch };
                known.device != *device || held.contains(&lane)
            });
        }
    }

    /// An event of the stream is in its open batch: sets when that is due.
    fn pushed(&mut self, stream: Stream, waiting: Waiting, now_ms: u64) -> Ticket {
        let open = &mut self.streams[usize::from(stream.number())];
        let wait_ms = match (stream, waiting) {
            (Stream::Critical, _) => 0,
            (Stream::Samples, _) if open.builder.bytes() >= COMMIT_BYTES => 0,
            (Stream::Samples, Waiting::Producer) => self.settings.wait_max_ms,
            (Stream::Samples, Waiting::Nobody) => self.settings.samples_wait_max_ms,
        };
        let due_ms = now_ms + wait_ms;
        open.due_ms = Some(open.due_ms.map_or(due_ms, |due| due.min(due_ms)));
        Ticket { stream, commit: open.commit }
    }

    /// When the stream's open batch is to be committed; `None` while it is empty.
    pub fn due_ms(&self, stream: Stream) -> Option<u64> {
        self.streams[usize::from(stream.number())].due_ms
    }

    /// Whether the stream's open batch takes no more events.
    pub fn is_full(&self, stream: Stream) -> bool {
        self.streams[usize::from(stream.number())].full
    }

    /// Swaps the stream's open batch for the empty `spare`; gives the number of its commit.
    ///
    /// # Panics
    /// When `spare` is not empty.
    pub fn take(&mut self, stream: Stream, spare: &mut BatchBuilder) -> Option<u64> {
        assert!(spare.is_empty(), "an open batch begins empty");
        let open = &mut self.streams[usize::from(stream.number())];
        open.due_ms.take()?;
        open.put_table();
        std::mem::swap(&mut open.builder, spare);
        open.full = false;
        let commit = open.commit;
        open.commit += 1;
        Some(commit)
    }

    /// The ring log cannot be written, for this reason; or can again.
    pub fn set_trouble(&mut self, trouble: Option<Arc<str>>) {
        self.trouble = trouble;
    }

    /// Takes no more events.
    pub fn stop(&mut self) {
        self.stopped = true;
    }
}

fn unit_of<'a>(event: &Event<'a>) -> Option<&'a str> {
    match event.body {
        Body::Sample(sample) => Some(sample.unit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use afferent_protocol::event::{Quality, Sample, Value};
    use afferent_protocol::ids::{Subject, Timestamp};

    use super::*;

    #[test]
    fn what_breaks_a_rule_of_the_protocol_is_refused_at_the_hand_over() {
        let mut open = OpenBatches::new(CommitSettings::default(), 1000);
        let mut push = |value| {
            let body = Body::Sample(Sample { value, unit: "", quality: Quality::Good });
            let event = Event { time: Timestamp::default(), subject: Subject::new("a").unwrap(), body };
            open.push(&event, Waiting::Nobody, 0)
        };
        assert!(matches!(push(Value::Float(f64::NAN)), Err(Refusal::Invalid(_))));
        // The control.
        push(Value::Float(1.0)).unwrap();
    }
}
