//! What the ring log knows about devices: a table in the log itself, in the batches that the sequencer makes.
//!
//! Every batch with events of devices ends with one [`Body::Progress`] event for each lane of devices in its stream, so
//! the newest such batch says all; right behind the events of each device stands another one, with their ticks (see
//! [`crate::intake::serial`]). The segment with the newest table of a stream is *pinned*: it stays although everything
//! in it was acked, and it is given up only where nothing else is.

use afferent_host::disk::Disk;
use afferent_protocol::batch::{Batch, BatchBuilder};
use afferent_protocol::codec;
use afferent_protocol::event::{Body, Event, Progress};
use afferent_protocol::ids::{SourceId, Subject, Timestamp};

use super::RingLog;
use super::pen::Pen;
use super::pool::Segment;

/// How far one lane of a device is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceProgress {
    /// The device.
    pub device: SourceId,
    /// When the batch that ends there came, by the agent's clock.
    pub time: Timestamp,
    /// How far.
    pub progress: Progress,
}

impl DeviceProgress {
    /// Adds it to a batch.
    ///
    /// # Panics
    /// When the batch has no room: whoever fills it keeps some.
    pub fn push(&self, batch: &mut BatchBuilder) {
        let subject = Subject::new(self.device.as_str()).expect("every source name is a subject");
        let event = Event { time: self.time, subject, body: Body::Progress(self.progress) };
        batch.push(&event).expect("there is room for the table of devices");
    }
}

/// The table in a batch; empty when there is none.
pub(super) fn progress_in(batch: &Batch<'_>) -> Vec<DeviceProgress> {
    let Ok(records) = codec::records(batch, &mut []) else { return Vec::new() };
    // Few batches of samples have a subject that could be a device's name: the others need no look at their rows.
    if !records.subjects().iter().any(|subject| SourceId::new(subject.as_str()).is_ok()) {
        return Vec::new();
    }
    let progress = records.map_while(Result::ok).filter_map(|record| match record.event.body {
        Body::Progress(progress) => {
            let device = SourceId::new(record.event.subject.as_str()).ok()?;
            Some(DeviceProgress { device, time: record.event.time, progress })
        }
        _ => None,
    });
    progress.collect()
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
