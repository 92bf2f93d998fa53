//! The ring log: what the machine's events are safe in until the collector has them.
//!
//! One pool of segment files (`ring-0000.seg` …) of a fixed total size, drawn from by both streams. A segment belongs
//! to one lane (one epoch of one stream) at a time; its format is [`afferent_protocol::segment`]'s. What the files hold
//! is the only truth of what can be sent; a witness outside their directory records how far was accepted (see
//! `witness`). In memory there is a line for each segment and none for each batch.
//!
//! What must hold:
//! - `Ok` from [`RingLog::append`] means that the batch is on disk. It took one write and one sync; where a segment
//!   begins, the header goes with it.
//! - Two entries are never unsynced at once in one segment, and a file that has refused a write is never written again.
//! - Sequences of a lane are dense, no sequence is given twice, and the chain goes on across restarts. Where the files
//!   do not show all that was accepted, the rest is declared as vanished, and the stream continues in a new epoch.
//! - The witness may lag and never leads; nothing waits for it but the beginning of a segment, a start and a stop.
//! - An event that was durable is held until it is released, or until a loss that names it is durable in `critical`.
//!   What was released can be read, and held again, until its file is taken: the oldest first, and after all blank
//!   ones.
//! - What is sealed again (see `reseal`) is released in the old lane once it is durable in the new one.
//! - The newest tables of devices and of followed files of each stream stay (see `devices`), acked or not.
//! - Samples are given up before anything critical; what is being written is never given up.
//! - A file is taken again only after its header was zeroed, durably: its content counts as a whole or not at all.
//!
//! The modules, in the order of a batch's life: [`append`](RingLog::append) (with `sealed`, `pool`, `evict`, `loss`),
//! [`read`](RingLog::read) (with `boundaries`), [`release`](RingLog::release), [`reseal`](RingLog::reseal);
//! [`open`](RingLog::open) (with `survey`, `vanished`, [`Recovery`]) after a restart; [`inspect`] from outside.

mod append;
mod boundaries;
mod devices;
mod error;
mod evict;
pub mod inspect;
mod lanes;
mod loss;
mod open;
mod pen;
mod pool;
mod read;
mod reader;
mod recovery;
mod release;
mod reseal;
mod sealed;
mod settings;
mod status;
mod survey;
#[cfg(test)]
pub(crate) mod tests;
mod vanished;
mod witness;

use afferent_host::disk::Disk;
use afferent_protocol::batch::BatchBuilder;
use afferent_protocol::event::Loss;
use afferent_protocol::ids::{SourceId, Stream};
use afferent_protocol::segment::Seed;

pub use append::Appended;
pub use devices::{DeviceProgress, FollowedFiles, Tables};
pub use error::{AppendError, OpenError, ReadError};
pub use read::Known;
pub use recovery::{Damage, LastCritical, RecoveredLane, Recovery, StreamStart, WitnessStart};
pub use settings::{RingIdentity, RingSettings};
pub use status::{Counters, RingStatus};
pub use witness::WitnessSync;

use lanes::{Epochs, Lanes};
use pen::{Active, Pen};
use pool::Pool;
use reader::Readers;
use reseal::Reseals;
use sealed::{Origin, WriteBuffer};
use witness::WitnessWriter;

/// A ring log that was opened; see the module.
///
/// It belongs to one thread: nothing in it locks or waits for anything but the disk.
#[derive(Debug)]
pub struct RingLog<D: Disk> {
    pool: Pool<D>,
    lanes: Lanes,
    /// The segment that each pen writes to.
    heads: [Option<Active<D::File>>; Pen::COUNT],
    /// The batch of each pen that is sealed and not on disk.
    buffers: [WriteBuffer; Pen::COUNT],
    readers: Readers<D::File>,
    who: RingIdentity,
    batch_bytes_max: usize,
    critical_reserve: usize,
    log_id: [u8; 16],
    next_generation: u64,
    /// That of the newest segment that was begun.
    newest_generation: u64,
    /// Of the machine, when the log was opened.
    boot: [u8; 16],
    witness: WitnessWriter<D>,
    former_names: Vec<SourceId>,
    reseals: Reseals,
    epochs: Epochs,
    /// The generation of the segment with the newest tables of each stream, by the stream's number.
    pinned: [Option<u64>; 2],
    undeclared: Vec<Loss>,
    loss_batch: BatchBuilder,
    counters: Counters,
}

impl<D: Disk> RingLog<D> {
    /// Bytes of the largest batch that is taken: seal before [`BatchBuilder::bytes`] goes beyond.
    pub fn batch_bytes_max(&self) -> usize {
        self.batch_bytes_max
    }

    /// Whose log this is.
    pub fn who(&self) -> &RingIdentity {
        &self.who
    }

    fn active(&self, stream: Stream) -> Option<&Active<D::File>> {
        self.heads[usize::from(stream.number())].as_ref()
    }

    fn buffer(&self, stream: Stream) -> &WriteBuffer {
        &self.buffers[usize::from(stream.number())]
    }

    /// Whether a sealed batch of the stream waits for a disk that takes it.
    pub fn is_pending(&self, stream: Stream) -> bool {
        self.buffer(stream).batch().is_some()
    }

    /// Losses that are not durable yet.
    fn undeclared_count(&self) -> usize {
        let sealed = match self.buffer(Stream::Critical).batch().map(|batch| &batch.origin) {
            Some(Origin::Losses(losses)) => losses.len(),
            _ => 0,
        };
        self.undeclared.len() + sealed
    }

    /// The seed of the segment of this generation.
    fn seed(&self, generation: u64) -> Seed {
        seed_of(&self.log_id, generation)
    }
}

fn seed_of(log_id: &[u8; 16], generation: u64) -> Seed {
    open::header_for_seed(log_id, generation).seed()
}
