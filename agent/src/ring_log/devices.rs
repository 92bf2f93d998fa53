//! What the ring log knows about devices and followed files: tables in the log itself, in the batches that the
//! sequencer
//! makes.
//!
//! Every batch with events of devices or of followed files ends with one [`Body::Progress`] event for each lane of
//! devices
//! in its stream, and one [`Body::Followed`] event for each input that follows files, so the newest such batch shows
//! all;
//! right behind the events of each device is one more progress, with their ticks (see [`crate::intake::serial`]).
//! The
//! segment with the newest tables of a stream is *pinned*: it stays although everything in it was acked, and it is
//! given
//! up only where nothing else is.

use afferent_host::disk::Disk;
use afferent_protocol::batch::{Batch, BatchBuilder};
use afferent_protocol::codec;
use afferent_protocol::event::{Body, Event, FilePlaces, Followed, Progress};
use afferent_protocol::ids::{SourceId, Stream, Subject, Timestamp};

use super::RingLog;
use super::pen::Pen;
use super::pool::Segment;

/// The progress of one lane of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceProgress {
    /// The device.
    pub device: SourceId,
    /// When the batch that ends there arrived, by the agent's clock.
    pub time: Timestamp,
    /// The progress.
    pub progress: Progress,
}

impl DeviceProgress {
    /// Appends it to a batch.
    ///
    /// # Panics
    /// When the batch has no room: whoever fills it keeps some.
    pub fn push(&self, batch: &mut BatchBuilder) {
        let subject = Subject::new(self.device.as_str()).expect("every source name is a subject");
        let event = Event { time: self.time, subject, body: Body::Progress(self.progress) };
        batch.push(&event).expect("there is room for the table of devices");
    }
}

/// How far the files that one input follows are in the log, in one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FollowedFiles {
    /// The agent.
    pub agent: SourceId,
    /// The input's name.
    pub input: String,
    /// When a line was last taken, by the agent's clock.
    pub time: Timestamp,
    /// See [`Followed::number`].
    pub number: u64,
    /// See [`Followed::horizon`].
    pub horizon: Timestamp,
    /// The files, as [`FilePlaces`] has them.
    pub places: Vec<u8>,
}

impl FollowedFiles {
    /// Bytes that it takes in a batch, at most.
    pub fn bytes(&self) -> usize {
        self.places.len() + self.input.len() + self.agent.as_str().len() + 48
    }

    /// Adds it to a batch of the stream.
    ///
    /// # Panics
    /// When the batch has no room: whoever fills it keeps some.
    pub fn push(&self, stream: Stream, batch: &mut BatchBuilder) {
        let subject = Subject::new(self.agent.as_str()).expect("every source name is a subject");
        let files = FilePlaces::from_bytes(&self.places);
        let followed = Followed { stream, input: &self.input, number: self.number, horizon: self.horizon, files };
        let event = Event { time: self.time, subject, body: Body::Followed(followed) };
        batch.push(&event).expect("there is room for the table of files");
    }
}

/// The tables of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// How far the lanes of devices are.
    pub devices: Vec<DeviceProgress>,
    /// How far the files are that inputs follow.
    pub files: Vec<FollowedFiles>,
}

impl Tables {
    /// Whether there is nothing in them.
    pub fn is_empty(&self) -> bool {
        self.devices.is_empty() && self.files.is_empty()
    }
}

/// The tables in a batch; empty when there are none.
pub(super) fn tables_in(batch: &Batch<'_>) -> Tables {
    let mut tables = Tables::default();
    let Ok(records) = codec::records(batch, &mut []) else { return tables };
    // Few batches of samples have a subject that could be a device's or agent's name: the others need no look at their
    // rows.
    if !records.subjects().iter().any(|subject| SourceId::new(subject.as_str()).is_ok()) {
        return tables;
    }
    for record in records.map_while(Result::ok) {
        let Event { time, subject, body } = record.event;
        let Ok(name) = SourceId::new(subject.as_str()) else { continue };
        match body {
            Body::Progress(progress) => tables.devices.push(DeviceProgress { device: name, time, progress }),
            Body::Followed(Followed { input, number, horizon, files, .. }) => {
                let (agent, input, places) = (name, input.to_owned(), files.bytes().to_vec());
                tables.files.push(FollowedFiles { agent, input, number, time, horizon, places });
            }
            _ => {}
        }
    }
    tables
}

impl<D: Disk> RingLog<D> {
    /// The batch that is about to be appended to the stream carries the table; once it is on disk, no older one counts.
    pub(super) fn is_pinned(&self, segment: &Segment) -> bool {
        let pinned = self.pinned[usize::from(segment.lane.stream.number())];
        pinned.is_some_and(|generation| segment.generation == generation)
    }

    /// The table of the stream is now in the segment of this generation, which the pen writes to. One that is copied is
    /// as old as its original: it counts where that did.
    pub(super) fn pin(&mut self, pen: Pen, generation: u64) {
        let stream = match pen {
            Pen::Of(stream) => stream,
            Pen::Copy => match self.table_moves() {
                Some(stream) => stream,
                None => return,
            },
        };
        let before = self.pinned[usize::from(stream.number())].replace(generation);
        if before != Some(generation) {
            // The segment that was pinned until now may be free of everything else.
            self.sweep_where(|segment| Some(segment.generation) == before);
        }
    }
}
