//! Every limit of the protocol, related to each other.
//!
//! Nothing that is read from outside sizes an allocation or a loop before it was held against one of these.

/// Longest source name, in bytes: what fits the batch header beside its length byte.
pub const SOURCE_BYTES_MAX: usize = 63;
/// Longest subject, in bytes.
pub const SUBJECT_BYTES_MAX: usize = 255;
/// Longest unit (a UCUM code), in bytes.
pub const UNIT_BYTES_MAX: usize = 32;
/// Longest short text (a text value, a code, a condition id, a reason), in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;
/// Longest message or derived JSON document of an event, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 48 * 1024;
/// Bytes that one encoded event can take at most, its subject and unit included.
pub const EVENT_BYTES_MAX: usize = 56 * 1024;

/// Events in one batch.
pub const BATCH_COUNT_MAX: u32 = 65_536;
/// Bytes of one whole batch, header included.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
/// Bytes of a batch's body after it was decompressed: what a reader must be ready to hold.
pub const BATCH_DECODED_BYTES_MAX: usize = 4 << 20;
/// Subjects in the dictionary of one batch.
pub const BATCH_SUBJECTS_MAX: usize = 1024;
/// Units in the dictionary of one batch.
pub const BATCH_UNITS_MAX: usize = 128;

/// Bytes of one message (an MQTT payload): several whole batches, or one control message.
pub const MESSAGE_PAYLOAD_BYTES_MAX: usize = 2 << 20;
/// Bytes of one control message.
pub const CONTROL_BYTES_MAX: usize = 1536;
/// Epochs of all streams that one hello names.
pub const LANES_MAX: usize = 16;
/// Epochs of all streams that one heartbeat names.
pub const HEARTBEAT_LANES_MAX: usize = 64;
/// Bytes of the ends of that many lanes.
pub const HEARTBEAT_BYTES_MAX: usize = HEARTBEAT_LANES_MAX * (1 + 10 + 10 + 8);
/// Files in the table of one input that follows files.
pub const FOLLOWED_FILES_MAX: usize = 64;
/// Bytes of the name of a followed file in it.
pub const FOLLOWED_NAME_BYTES_MAX: usize = 64;
/// Bytes of the name of an input that follows files.
pub const INPUT_NAME_BYTES_MAX: usize = 64;
/// Bytes of the places of that many files: seven varints, a fingerprint, a byte, and the name with its length.
pub const FOLLOWED_BYTES_MAX: usize = FOLLOWED_FILES_MAX * (7 * 10 + 8 + 1 + 1 + FOLLOWED_NAME_BYTES_MAX);
/// Bytes of an attestation or of an endorsement.
pub const STATEMENT_BYTES_MAX: usize = 256;
/// Bytes of one signed message of the session.
pub const SIGNED_BYTES_MAX: usize = 4096;
/// Names that a source had before and still holds events under, in one hello.
pub const FORMER_NAMES_MAX: usize = 16;
/// Endorsements that lead from a key that an agent trusts to the one that signed.
pub const ENDORSEMENTS_MAX: usize = 4;
/// Batches that are under way (sent and not yet acked).
pub const WINDOW_BATCHES_MAX: usize = 256;

/// Bytes of one segment file, at least and at most.
pub const SEGMENT_BYTES_MIN: u64 = 64 * 1024;
/// Bytes of one segment file, at most.
pub const SEGMENT_BYTES_MAX: u64 = 256 << 20;

/// Earliest event time that is taken: 1970-01-01T00:00:00Z, in microseconds.
pub const TIME_MIN: i64 = 0;
/// Latest event time that is taken: 9999-12-31T23:59:59.999999Z, in microseconds.
pub const TIME_MAX: i64 = 253_402_300_799_999_999;

const _: () = {
    assert!(EVENT_BYTES_MAX > MESSAGE_BYTES_MAX + SUBJECT_BYTES_MAX + UNIT_BYTES_MAX + 2 * TEXT_BYTES_MAX);
    assert!(BATCH_BYTES_MAX > EVENT_BYTES_MAX + SUBJECT_BYTES_MAX, "any single event fits a batch");
    assert!(FOLLOWED_BYTES_MAX + INPUT_NAME_BYTES_MAX < MESSAGE_BYTES_MAX, "a table of files is a small event");
    assert!(FOLLOWED_NAME_BYTES_MAX < 128, "the length of a name is one byte");
    assert!(MESSAGE_PAYLOAD_BYTES_MAX >= BATCH_BYTES_MAX, "any single batch fits a message");
    assert!(BATCH_DECODED_BYTES_MAX >= BATCH_BYTES_MAX);
    assert!(SEGMENT_BYTES_MIN < SEGMENT_BYTES_MAX);
};
