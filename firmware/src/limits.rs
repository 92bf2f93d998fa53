//! Every limit of the firmware, related to each other and to those of the protocol.

use afferent_protocol::batch::HEADER_LEN;
use afferent_protocol::frame::frame_len_max;

/// Bytes of a batch's body, at most.
pub const BATCH_BODY_BYTES_MAX: usize = 4096;
/// Subjects in one batch.
pub const SUBJECTS_MAX: usize = 16;
/// Units in one batch.
pub const UNITS_MAX: usize = 16;
/// Lanes that are offered at a time.
pub const LANES_MAX: usize = 4;
/// Bytes of one stream that are under way.
pub const WINDOW_BYTES: usize = 8192;
/// Waits of the session begin with this, in units of 1024 µs.
pub const TIMEOUT_TICKS: u32 = 2000;
/// A stream's wait for acks doubles so often.
pub const PATIENCE_MAX: u8 = 4;
/// Waits for a welcome double from hello to hello, so many times, then start over.
pub const HELLO_TRIES_MAX: u8 = 3;
/// One turn in so many goes to samples while both streams have something to send, so that they never starve.
pub const SAMPLES_TURN: u8 = 8;
/// An epoch ends when more sequences than this are used up, at its next empty batch.
pub const SEQUENCES_MAX: u32 = 1 << 31;
/// Runs of batches without a hole that one stream keeps; no new hole is made before one of them is gone.
pub const RUNS_MAX: usize = 8;
/// Losses that wait to be declared.
pub const LOSSES_MAX: usize = 8;
/// Bytes of a frame from the agent, the delimiter not counted.
pub const DOWN_FRAME_BYTES_MAX: usize = 264;
/// Bytes that are read from the line at once.
pub const READ_BYTES: usize = 32;
/// Noise came, or an agent answered and batches got no acks all the same, before so many hellos: batches go in pieces.
pub const NOISY_FROM: u8 = 2;
/// How often it counts.
pub const NOISY_MAX: u8 = NOISY_FROM + 3;
/// So many releases in a row take one such hello back.
pub const QUIET_AFTER: u8 = 8;
/// The agent is asked for the time this often, in µs.
pub const CLOCK_PERIOD_US: u64 = 60_000_000;
/// A clock reply that took longer is not believed, in µs.
pub const CLOCK_ROUND_TRIP_US_MAX: u64 = 1_000_000;
/// Samples wait so long for others before their batch is sealed, in µs, unless set differently.
pub const SEAL_SAMPLES_AFTER_US: u64 = 1_000_000;
/// Bytes of a panic's or fault's text that are kept.
pub const CRASH_TEXT_BYTES_MAX: usize = 120;

/// Bytes by which a batch is longer when it is sealed again: a subject, what it was, the time of the next row.
pub const RESEALED_BYTES_MAX: usize = 1 + (2 + 1 + 10 + 5 + 1) + 1;

/// Bytes of the work buffer that a body of `body` bytes needs: the batch with its header, and its frame.
pub const fn frame_bytes(body: usize) -> usize {
    frame_len_max(HEADER_LEN + body + RESEALED_BYTES_MAX)
}

const _: () = {
    assert!(LANES_MAX <= afferent_protocol::limits::LANES_MAX);
    assert!(SUBJECTS_MAX <= afferent_protocol::limits::BATCH_SUBJECTS_MAX && SUBJECTS_MAX < 128);
    assert!(BATCH_BODY_BYTES_MAX + RESEALED_BYTES_MAX + HEADER_LEN <= afferent_protocol::limits::BATCH_BYTES_MAX);
    assert!(
        BATCH_BODY_BYTES_MAX + RESEALED_BYTES_MAX + HEADER_LEN <= u16::MAX as usize,
        "a fragment has two bytes for its place"
    );
    // Kind, session, count, then per lane: stream, epoch, end, option of a check; magic and two checksums; COBS.
    assert!(8 + 1 + 5 + 1 + LANES_MAX * 32 + 4 + 2 <= DOWN_FRAME_BYTES_MAX, "a welcome fits");
};
