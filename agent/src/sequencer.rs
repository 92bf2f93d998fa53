//! The sequencer: all inputs push into one open batch per stream, and learn when it is on disk.
//!
//! [`OpenBatches`] is the state, driven with times from outside. It encodes an event into the open batch of its stream
//! and gives a [`Ticket`]; the writer takes the batch out when it is due, commits it to the ring log, and moves the
//! durable commits on.
//!
//! The open batches also hold the *tables*: how far each lane of each device is in the log, and how far the files are
//! that inputs follow. A device's batch is taken as a whole, and so are lines of a file; a batch that has events of
//! either ends with its stream's tables, so that they cannot part.

use std::collections::BTreeSet;
use std::sync::Arc;

use afferent_protocol::batch::BatchBuilder;
use afferent_protocol::event::{Body, Event, Progress, Sample, Value};
use afferent_protocol::ids::{SourceId, Stream};
use afferent_protocol::limits::{EVENT_BYTES_MAX, TEXT_BYTES_MAX};
use afferent_protocol::session::Lane;

use crate::intake::sink::{Refusal, Ticket, Waiting};
use crate::limits::{COMMIT_BYTES, DEVICE_LANES_MAX, TABLE_EVERY_BYTES, TAIL_INPUTS_MAX};
use crate::ring_log::{DeviceProgress, FollowedFiles, Tables};

/// How long commits may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitSettings {
    /// Milliseconds that a sample waits to be committed with others while a producer waits for it.
    pub wait_max_ms: u64,
    /// Milliseconds that a sample waits to be committed with others while no producer waits for it: a commit wears
    /// flash.
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
    /// How far the files are that inputs follow, the input that moved last at the end.
    files: Vec<FollowedFiles>,
    /// Whether this batch must carry the tables.
    table_is_due: bool,
    /// Bytes of batches since the tables were last in one.
    bytes_since_table: usize,
}

/// Subjects of the tables in a batch: one for each device, and the agent.
const TABLE_SUBJECTS_MAX: usize = DEVICE_LANES_MAX + 1;
/// Rows of the tables in a batch.
const TABLE_ROWS_MAX: usize = DEVICE_LANES_MAX + TAIL_INPUTS_MAX;

impl OpenBatch {
    /// Whether it takes no more events. Room is kept for the tables.
    fn is_full(&self, bytes_max: usize) -> bool {
        let has_room = self.builder.has_room(1 + TABLE_SUBJECTS_MAX, 1, 1 + TABLE_ROWS_MAX as u32);
        let bytes = self.builder.bytes() + self.table_bytes();
        self.full || (!self.builder.is_empty() && (bytes >= bytes_max || !has_room))
    }

    /// Bytes of the table of files.
    fn table_bytes(&self) -> usize {
        self.files.iter().map(FollowedFiles::bytes).sum()
    }

    /// Marks the batch as due now: an event found no room.
    fn turned_away(&mut self, now_ms: u64) -> Refusal {
        self.full = true;
        self.due_ms = self.due_ms.min(Some(now_ms));
        Refusal::Full
    }

    /// Records how far a lane of a device is. What moved longest ago goes where there are too many.
    fn note(&mut self, device: DeviceProgress) {
        let lane = |known: &DeviceProgress| (known.device, known.progress.epoch);
        self.devices.retain(|known| lane(known) != lane(&device));
        if self.devices.len() == DEVICE_LANES_MAX {
            self.devices.remove(0);
        }
        self.devices.push(device);
        self.table_is_due = true;
    }

    /// Records how far the files of an input are. The input that moved longest ago goes where there are too many.
    fn note_files(&mut self, files: FollowedFiles) {
        self.files.retain(|known| known.input != files.input);
        if self.files.len() == TAIL_INPUTS_MAX {
            self.files.remove(0);
        }
        self.files.push(files);
        self.table_is_due = true;
    }

    /// Adds the tables to the batch, when they are due.
    fn put_table(&mut self, stream: Stream) {
        self.bytes_since_table += self.builder.bytes();
        if self.table_is_due || self.bytes_since_table >= TABLE_EVERY_BYTES {
            self.devices.iter().for_each(|device| device.push(&mut self.builder));
            self.files.iter().for_each(|files| files.push(stream, &mut self.builder));
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
    /// When an event is of a different stream.
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
        let rows = (events.len() + 1 + TABLE_ROWS_MAX) as u32;
        let has_room = open.builder.has_room(subjects.len() + TABLE_SUBJECTS_MAX, units.len(), rows);
        if open.is_full(self.bytes_max) || !has_room {
            return Err(open.turned_away(now_ms));
        }
        for event in events {
            open.builder.push(event).expect("there is room for all of them");
        }
        assert_eq!(device.progress.stream, stream, "progress is kept in the stream of its events");
        // Right behind them, how their times were made of ticks: the table does not repeat that.
        device.push(&mut open.builder);
        open.note(DeviceProgress { progress: Progress { ticks: None, ..device.progress }, ..device });
        open.noted = open.commit;
        Ok(self.pushed(stream, Waiting::Producer, now_ms))
    }

    /// Adds all events of some lines, and how far the files of their input are with them, or nothing: they go into one
    /// batch. There may be no event: then only the place moves.
    ///
    /// # Panics
    /// When an event is of a different stream.
    pub fn push_lines(
        &mut self,
        stream: Stream,
        events: &[Event<'_>],
        files: FollowedFiles,
        now_ms: u64,
    ) -> Result<Ticket, Refusal> {
        events.iter().try_for_each(|event| event.check())?;
        assert!(events.iter().all(|event| event.stream() == stream), "lines are taken stream by stream");
        self.takes()?;
        let open = &mut self.streams[usize::from(stream.number())];
        let others = open.files.iter().filter(|known| known.input != files.input);
        let table_bytes = files.bytes() + others.map(FollowedFiles::bytes).sum::<usize>();
        let bytes = events.iter().map(bytes_of).sum::<usize>() + table_bytes;
        let subjects: BTreeSet<_> = events.iter().map(|event| event.subject.as_str()).collect();
        let units: BTreeSet<_> = events.iter().filter_map(|event| unit_of(event)).collect();
        let rows = (events.len() + 1 + TABLE_ROWS_MAX) as u32;
        let has_room = open.builder.has_room(subjects.len() + TABLE_SUBJECTS_MAX, units.len(), rows)
            && open.builder.bytes() + bytes <= self.bytes_max + EVENT_BYTES_MAX;
        if (open.builder.is_empty() && !has_room) || table_bytes > self.bytes_max / 2 {
            return Err(Refusal::TooMuch);
        }
        if open.is_full(self.bytes_max) || !has_room {
            return Err(open.turned_away(now_ms));
        }
        for event in events {
            open.builder.push(event).expect("there is room for all of them");
        }
        open.note_files(files);
        open.noted = open.commit;
        Ok(self.pushed(stream, Waiting::Nobody, now_ms))
    }

    /// Whether events are accepted now.
    fn takes(&self) -> Result<(), Refusal> {
        if let Some(reason) = &self.failed {
            return Err(Refusal::Failed(reason.clone()));
        }
        if self.stopped {
            return Err(Refusal::Stopped);
        }
        self.trouble.as_ref().map_or(Ok(()), |trouble| Err(Refusal::Unwritable(trouble.clone())))
    }

    /// Accepts nothing any more: the writer has failed.
    pub(crate) fn fail(&mut self, reason: &str) {
        self.failed.get_or_insert_with(|| reason.into());
    }

    /// Why nothing is accepted any more.
    pub(crate) fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Continues from the tables that the ring log has.
    pub fn restore(&mut self, tables: [Tables; 2]) {
        for (open, Tables { devices, files }) in self.streams.iter_mut().zip(tables) {
            devices.into_iter().for_each(|device| open.note(device));
            files.into_iter().for_each(|files| open.note_files(files));
            // Where the ring's segments are smaller than before, the newest ones stay that leave room for events.
            while open.table_bytes() > self.bytes_max / 2 {
                open.files.remove(0);
            }
        }
    }

    /// How far the files of an input are in each stream when these tickets are durable.
    pub fn followed(&self, input: &str) -> ([Option<FollowedFiles>; 2], [Ticket; 2]) {
        let of = |open: &OpenBatch| open.files.iter().find(|known| known.input == input).cloned();
        ([of(&self.streams[0]), of(&self.streams[1])], self.noted())
    }

    /// The commits that the newest changes of the tables go with.
    fn noted(&self) -> [Ticket; 2] {
        Stream::ALL.map(|stream| Ticket { stream, commit: self.streams[usize::from(stream.number())].noted })
    }

    /// How far a device's lanes are in the log when these tickets are durable.
    pub fn device(&self, device: &SourceId) -> (Vec<DeviceProgress>, [Ticket; 2]) {
        let all = self.streams.iter().flat_map(|open| &open.devices);
        (all.filter(|known| known.device == *device).copied().collect(), self.noted())
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

    /// When the stream's open batch is due; `None` while it is empty.
    pub fn due_ms(&self, stream: Stream) -> Option<u64> {
        self.streams[usize::from(stream.number())].due_ms
    }

    /// Whether the stream's open batch takes no more events.
    pub fn is_full(&self, stream: Stream) -> bool {
        self.streams[usize::from(stream.number())].full
    }

    /// Swaps the stream's open batch for the empty `spare`; returns the number of its commit.
    ///
    /// # Panics
    /// When `spare` is not empty.
    pub fn take(&mut self, stream: Stream, spare: &mut BatchBuilder) -> Option<u64> {
        assert!(spare.is_empty(), "an open batch begins empty");
        let open = &mut self.streams[usize::from(stream.number())];
        open.due_ms.take()?;
        open.put_table(stream);
        std::mem::swap(&mut open.builder, spare);
        open.full = false;
        let commit = open.commit;
        assert!(open.noted <= commit, "a table's newest change is in a batch that was taken");
        assert!(!spare.is_empty(), "a batch that is due holds an event");
        open.commit += 1;
        Some(commit)
    }

    /// Sets why the ring log cannot be written; `None` when it can again.
    pub fn set_trouble(&mut self, trouble: Option<Arc<str>>) {
        self.trouble = trouble;
    }

    /// Takes no more events.
    pub fn stop(&mut self) {
        self.stopped = true;
    }
}

/// Bytes that an event takes in a batch, at most.
fn bytes_of(event: &Event<'_>) -> usize {
    let texts = match event.body {
        Body::Sample(Sample { value, unit, .. }) => {
            unit.len() + if let Value::Text(text) = value { text.len() } else { 0 }
        }
        Body::Breakdown(body) => body.code.len() + body.message.len(),
        Body::Recovery(body) => body.code.len() + body.message.len(),
        Body::State(body) => body.reason.len(),
        Body::Alarm(body) => body.condition.len() + body.message.len(),
        Body::Derived(body) => body.kind.len() + body.json.len(),
        Body::LifeCycle(_) => 3 * TEXT_BYTES_MAX,
        _ => EVENT_BYTES_MAX,
    };
    event.subject.as_str().len() + texts + 48
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
