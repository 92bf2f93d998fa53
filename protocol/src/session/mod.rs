//! Getting rid of one log by filling the next: the same session on both hops, without IO and without a clock.
//!
//! [`Sender`] has a log to get rid of, [`ReceiverLane`] has one to fill. A *lane* is one epoch of one stream: what is
//! sequenced, acked and resumed by itself. Whoever drives them passes messages, times (milliseconds of a clock that
//! only goes forward) and log positions in, and carries out the [`Action`]s that come out.
//!
//! A microcontroller speaks the same session, with a sending half of its own (`afferent_firmware::session`): its log is
//! small enough to be asked, where [`Sender`] keeps an account of every batch that is under way.
//!
//! ```text
//! Sender                                Receiver
//!   │ Hello: per lane, first and end ────▶│
//!   │◀──────── Welcome: per lane, end ────│   the receiver's log: where to continue
//!   │ Batch, Batch, Batch … ─────────────▶│   as far as the window goes
//!   │◀───────────── Ack: lane, end ───────│   once that is on disk; cumulative, so a lost one costs nothing
//!   │◀───────────── Nack: lane, from ─────│   a gap: send again from here
//!   │                                     │
//!   │ Ask: ends and checks of a lane ────▶│   its welcome contradicts the log here
//!   │◀──────────── Common: lane, end ─────│   the largest that it has as well; what follows goes into a new epoch
//!   │◀─────────── Again: lane, range ─────│   its log is damaged
//! ```
//!
//! Over MQTT every one of these but the batches is signed, and the first hello of a connection is repeated over the
//! answer that its welcome brings; see `signed`. A sender never drops what it holds because of what comes in.
//!
//! Every wait of the sender ends in a timeout that leads back to `Hello`. An ack names, beside the end, the *check* of
//! the batch that ends there (a piece of its chain hash): a sender releases only what the receiver has, not what
//! somebody else with the same name has sent.

mod control;
mod receiver;
mod sender;
#[cfg(all(feature = "sign", feature = "alloc"))]
pub mod signed;

pub use control::{
    Answer, AnswerKind, Control, ControlError, Held, Hello, Lane, Resume, Welcome, is_control, write_ask, write_hello,
};
pub use receiver::{Offered, ReceiverLane, Verdict};
pub use sender::{Action, Holding, Sender, SenderSettings, SentBatch};

use crate::batch::ChainHash;

/// Tells two batches with the same range apart: the first eight bytes of the chain hash (over serial, a checksum).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Check(pub u64);

impl Check {
    /// The check of the batch with this chain hash.
    pub fn of(chain: &ChainHash) -> Self {
        Self(u64::from_le_bytes(*chain.first_chunk().expect("a chain hash has 32 bytes")))
    }
}
