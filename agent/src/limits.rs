//! The agent's own limits, related to those of the protocol.

use afferent_protocol::limits::{BATCH_BYTES_MAX, EVENT_BYTES_MAX};

/// An open batch of this many bytes takes no more events until it was committed: brokers' default packet limits
/// (EMQX: 1 MiB) stay far away, and memory stays small.
pub const OPEN_BATCH_BYTES_MAX: usize = 192 * 1024;
/// An open batch of this many bytes is committed at once, whoever waits for it.
pub const COMMIT_BYTES: usize = 64 * 1024;
/// Messages that wait for the transport: few, because what is in here goes before any breakdown.
pub const OUTBOX_MESSAGES_MAX: usize = 2;
/// Control messages from the collector that wait for the writer; more are dropped, for every one of them repeats itself.
pub const INBOX_MESSAGES_MAX: usize = 1024;
/// Milliseconds after which a disk that refused a write is tried again.
pub const DISK_RETRY_MS: u64 = 1000;
/// Milliseconds after which a disk that refused a read is tried again.
pub const READ_RETRY_MS: u64 = 100;
/// Bytes of a packet from the broker that are taken: control messages, and some room for MQTT's own.
pub const MQTT_INCOMING_BYTES_MAX: u32 = 16 * 1024;
/// Milliseconds that a stopping agent gives its last events to arrive; what has not by then is sent after the next start.
pub const DRAIN_MS: u64 = 2000;
/// Milliseconds between two looks at the writer's state from outside.
pub const STATUS_MS: u64 = 250;

const _: () = {
    assert!(COMMIT_BYTES < OPEN_BATCH_BYTES_MAX);
    assert!(OPEN_BATCH_BYTES_MAX + 2 * EVENT_BYTES_MAX < BATCH_BYTES_MAX, "an open batch always takes one more event");
};
