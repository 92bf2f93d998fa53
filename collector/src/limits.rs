//! Every limit of the collector, related to each other.
//!
//! Nothing that is read from a socket or a file sizes an allocation or a loop before it was held against one of these.

use afferent_protocol::limits::MESSAGE_PAYLOAD_BYTES_MAX;
use afferent_protocol::topic::TOPIC_BYTES_MAX;
use std::time::Duration;

/// Bytes of one MQTT packet: the largest message, its topic, and MQTT 5 properties.
pub const PACKET_BYTES_MAX: u32 = (MESSAGE_PAYLOAD_BYTES_MAX + 8 * 1024) as u32;
/// Bytes of the first packet of a connection: nobody is known yet, so it may not cost much.
pub const CONNECT_BYTES_MAX: usize = 16 * 1024;
/// Messages of one connection that were read and are not yet durable.
pub const IN_FLIGHT_MAX: u16 = 256;
/// Filters in one SUBSCRIBE or UNSUBSCRIBE.
pub const FILTERS_MAX: usize = 16;
/// Control messages that wait to be written to one connection; a reader that is slower than that is disconnected.
pub const DOWN_QUEUE_MAX: usize = 64;
/// Bytes that wait to be written to one connection; a reader that is slower than that is disconnected.
pub const OUT_BYTES_MAX: usize = 256 * 1024;
/// A connection that takes nothing off its full socket for so long is given up.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// How long a last packet (CONNACK with a refusal, DISCONNECT) may take to be written.
pub const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Bytes of a connection's read buffer: an idle one has few, a busy one many.
pub const READ_BYTES_MIN: usize = 1024;
/// Bytes of a busy connection's read buffer.
pub const READ_BYTES_MAX: usize = 128 * 1024;
/// Connections above the configured number that may be told so at once; those above that are just closed.
pub const REFUSALS_AT_ONCE: usize = 64;
/// The keep-alive that an MQTT 5 client is given when it asks for none, or for a longer one.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(600);

/// Messages that wait for the writer thread.
pub const INTAKE_MESSAGES_MAX: usize = 4096;
/// Bytes of messages between the sockets and the log; reading stops while there are more.
pub const INTAKE_BYTES_MAX: usize = 64 << 20;
/// Messages that go into one commit.
pub const COMMIT_MESSAGES_MAX: usize = 1024;
/// Bytes that go into one commit (but for a last message).
pub const COMMIT_BYTES_MAX: usize = 16 << 20;
/// First and longest wait after a commit that failed.
pub const COMMIT_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Tries to commit after the collector was told to stop.
pub const COMMIT_TRIES_AT_END: u32 = 3;
/// The picture of the sources that readers get is at most so old.
pub const SNAPSHOT_EVERY: Duration = Duration::from_millis(200);

/// Acks and answers that wait for the client of an external broker.
pub const BROKER_DOWN_MAX: usize = 1024;
/// Bytes of a configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a secret's file.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;

const _: () = {
    assert!(PACKET_BYTES_MAX as usize > MESSAGE_PAYLOAD_BYTES_MAX + TOPIC_BYTES_MAX + 5);
    assert!(INTAKE_BYTES_MAX >= 2 * PACKET_BYTES_MAX as usize, "any two messages fit between socket and log");
    assert!(COMMIT_BYTES_MAX <= INTAKE_BYTES_MAX);
    assert!(OUT_BYTES_MAX > 2 * afferent_protocol::limits::CONTROL_BYTES_MAX);
    assert!(READ_BYTES_MIN < READ_BYTES_MAX);
};
