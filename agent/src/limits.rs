//! Every limit of the agent, related to each other and to those of the protocol. Those of the ring log's files, a
//! format of their own, stand apart in [`ring_log`].

pub mod ring_log;

use std::time::Duration;

use afferent_host::limits::{RESTART_SETTLED, RESTART_WAIT};
use afferent_protocol::limits::{
    BATCH_BYTES_MAX, EVENT_BYTES_MAX, FOLLOWED_BYTES_MAX, FOLLOWED_FILES_MAX, SEGMENT_BYTES_MIN, SIGNED_BYTES_MAX,
};
use afferent_protocol::topic::TOPIC_BYTES_MAX;

/// Longest line of input, its end not counted, in bytes.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Bytes that a connection's read buffer begins with: what an idle connection costs.
pub const READ_BYTES_MIN: usize = 4 * 1024;
/// Bytes that a busy connection's read buffer grows to.
pub const READ_BYTES_MAX: usize = 256 * 1024;
/// Answers that wait to be written to a connection, in bytes; while there are more, nothing is read from it.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Groups of lines of one connection that wait for their commit; more are joined to the last group.
pub const ANSWER_GROUPS_MAX: usize = 1024;
/// Least time that is taken as a number of microseconds: 2000-01-02. Seconds and milliseconds of today are below it,
/// and nanoseconds are beyond the year 9999.
pub const TIME_NUMBER_MIN: i64 = 946_771_200_000_000;
/// Looks at a ring log that finds damage while an agent may be at work on it.
pub const VERIFY_LOOKS_MAX: u32 = 6;
/// The pause between two of these looks.
pub const VERIFY_PAUSE: Duration = Duration::from_millis(50);
/// Bytes of one refusal's text.
pub const REFUSAL_BYTES_MAX: usize = 512;
/// Connections at once that a configuration can ask for.
pub const CONNECTIONS_MAX: usize = 65_536;
/// Lines of a child's standard error that are logged in a minute; more are counted.
pub const STDERR_LINES_PER_MINUTE: u64 = 60;
/// How long the last words of a child that has ended are waited for, in milliseconds.
pub const LAST_WORDS_MS: u64 = 200;
/// While all places are taken, a producer that was silent for so long loses its own to a newcomer, in milliseconds.
pub const PRODUCER_IDLE_MS: u64 = 600_000;
/// The same of one that has never sent anything.
pub const PRODUCER_MUTE_MS: u64 = 10_000;
/// How long a connection has to answer what it took when the agent stops, in milliseconds.
pub const DRAIN_MS: u64 = 5_000;

/// Units that one connection remembers as checked.
pub const UNITS_REMEMBERED_MAX: usize = 16;
/// Parentheses within each other in a unit.
pub const UNIT_DEPTH_MAX: u32 = 8;

/// Bytes of a file under /proc or /sys that are read.
pub const PROC_BYTES_MAX: usize = 1 << 20;
/// Units, mounts, interfaces, sensors that are watched of each kind.
pub const HOST_THINGS_MAX: usize = 256;
/// Records of the kernel's log that one look takes.
pub const KERNEL_RECORDS_MAX: usize = 1024;
/// Milliseconds between two events about the same trouble in the kernel's log.
pub const KERNEL_REPEAT_MS: u64 = 60_000;

/// Rows of a replayed file that are read ahead.
pub const REPLAY_ROWS_AHEAD: usize = 256;
/// Milliseconds between two records of how far a file is replayed, while it goes on: each costs a sync.
pub const REPLAY_PLACE_MS: u64 = 1000;
/// Bytes at a replayed file's beginning by which it is known again.
pub const REPLAY_KNOWN_BYTES_MAX: usize = 4096;
/// Milliseconds after which a line of a replayed file is offered again to a disk that takes nothing.
pub const REPLAY_RETRY_MS: u64 = 1000;
/// Longest row of a replayed file, in bytes.
pub const ROW_BYTES_MAX: usize = 1 << 20;
/// Cells of a row of a CSV file.
pub const COLUMNS_MAX: usize = 4096;
/// Rows at the beginning of a file that show what its columns hold.
pub const TYPED_ROWS_MAX: usize = 100;
/// Columns of a file that a message names.
pub const COLUMNS_LISTED_MAX: usize = 32;

/// Milliseconds after which a replay asks again how far the run before it came, while the agent still takes lines of
/// that.
pub const REPLAY_ASK_MS: u64 = 50;
/// Replays by hand of which it is known how far they came.
pub const REPLAYS_MAX: usize = 64;
/// Bytes of the name of a replay's run.
pub const REPLAY_NAME_BYTES_MAX: usize = 64;

/// Serial ports that a configuration can ask for.
pub const SERIAL_PORTS_MAX: usize = 16;
/// Bytes of a device's batch that can come in pieces: what its firmware makes at most.
pub const PIECED_BYTES_MAX: usize = 4608;
/// Batches of a device that come in pieces at the same time.
pub const PIECED_BATCHES_MAX: usize = 4;
/// Lanes of devices in the table of one stream.
pub const DEVICE_LANES_MAX: usize = 64;
/// Bytes of batches of a stream after which the table of devices is repeated: a fraction of the smallest segment, so
/// that the newest table is never far behind.
pub const TABLE_EVERY_BYTES: usize = 16 * 1024;
/// Inputs that follow files, at most.
pub const TAIL_INPUTS_MAX: usize = 8;
/// Milliseconds between two looks at followed files, at least and at most.
pub const TAIL_INTERVAL_MS_MIN: u32 = 10;
/// Milliseconds between two looks at followed files, at most.
pub const TAIL_INTERVAL_MS_MAX: u32 = 60_000;
/// Files that the paths of an input match, at most; more are an error.
pub const MATCHES_MAX: usize = 16_384;
/// Followed files of an input that are open at once.
pub const OPEN_FILES_MAX: usize = 16;
/// Bytes of a text's beginning by which a followed file is known again.
pub const FINGERPRINT_BYTES_MAX: usize = 1024;
/// Milliseconds that a followed file is read on after it is gone or renamed: a process that has it open may still
/// write.
pub const TAIL_GONE_MS: u64 = 1000;
/// Milliseconds after which a compressed file that ends in the middle, and does not grow, counts as damaged.
pub const TAIL_DAMAGED_MS: u64 = 60_000;
/// Microseconds after which a file that was read to its end may be forgotten in favour of a newer one.
pub const TAIL_SETTLED_US: i64 = 60_000_000;
/// Lines of a followed file that are taken at once.
pub const TAIL_GROUP_LINES: usize = 512;
/// Bytes of lines of a followed file that are taken at once, or one line.
pub const TAIL_GROUP_BYTES: usize = 32 * 1024;
/// Bytes of the head of a gzip member.
pub const GZIP_HEAD_BYTES_MAX: usize = 128 * 1024;
/// Bytes that are read of a compressed file at once.
pub const GZIP_READ_BYTES: usize = 16 * 1024;
/// Longest frame of a device, encoded, in bytes.
pub const FRAME_BYTES_MAX: usize = 4608;
/// First wait before a port is opened again, in milliseconds.
pub const PORT_WAIT_MS_MIN: u64 = 100;
/// Longest wait before a port is opened again, in milliseconds.
pub const PORT_WAIT_MS_MAX: u64 = 5_000;
/// How long the answers to a device may take to be written, in milliseconds: a line that takes nothing is down.
pub const PORT_WRITE_MS_MAX: u64 = 5_000;
/// After this long without a frame a device counts as gone, in milliseconds: a device sends a frame at least every 60
/// s.
pub const DEVICE_SILENT_MS_MAX: u64 = 150_000;
/// The least difference between the courses of a device's clock and the agent's that counts as a jump, in microseconds:
/// more than a frame waits on a busy line.
pub const DEVICE_CLOCK_STEP_US_MIN: u64 = 2_000_000;

/// First wait before a child is started again, in milliseconds.
pub const RESTART_WAIT_MS_MIN: u64 = RESTART_WAIT.0.as_millis() as u64;
/// Longest wait before a child is started again, in milliseconds.
pub const RESTART_WAIT_MS_MAX: u64 = RESTART_WAIT.1.as_millis() as u64;

/// After so long a task that was started again counts as well, in milliseconds.
pub const RESTART_STABLE_MS: u64 = RESTART_SETTLED.as_millis() as u64;
/// Milliseconds between two warnings about trouble of one kind.
pub const TROUBLE_REPEAT_MS: u64 = 60_000;
/// Kinds of trouble that are remembered.
pub const TROUBLES_MAX: usize = 256;

/// How long a hop on the way to the collector may take while the way is checked, in milliseconds.
pub const HOP_MS_MAX: u64 = 10_000;
/// Bytes of a broker's answer that are looked at then.
pub const CONNACK_BYTES_MAX: usize = 1024;

/// Bytes of one configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;
/// Files in `conf.d`.
pub const CONFIG_FILES_MAX: usize = 256;

/// Bytes of an HTTP request's head.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;
/// HTTP connections at once.
pub const HTTP_CONNECTIONS_MAX: usize = 32;
/// How long a client has to send its request's head, in milliseconds.
pub const HTTP_HEAD_MS_MAX: u64 = 5_000;
/// How long a whole HTTP connection may last, in milliseconds.
pub const HTTP_CONNECTION_MS_MAX: u64 = 60_000;

/// The least difference between the clocks' courses that counts as a step, in microseconds.
pub const CLOCK_STEP_US_MIN: u64 = 100_000;

/// An open batch of this many bytes takes no more events until it was committed: brokers' default packet limits
/// (EMQX: 1 MiB) stay far away, and memory stays small.
pub const OPEN_BATCH_BYTES_MAX: usize = 192 * 1024;
/// An open batch of this many bytes is committed at once.
pub const COMMIT_BYTES: usize = 64 * 1024;
/// Messages that wait for the transport: few, because what is in here goes before any breakdown.
pub const OUTBOX_MESSAGES_MAX: usize = 2;
/// Control messages from the collector that wait for the writer; more are dropped, for every one of them repeats
/// itself.
pub const INBOX_MESSAGES_MAX: usize = 1024;
/// Milliseconds after which a disk that refused a write is tried again.
pub const DISK_RETRY_MS: u64 = 1000;
/// Milliseconds between two syncs of the ring's witness in the background.
pub const WITNESS_SYNC_MS: u64 = 1000;
/// Milliseconds after which a disk that refused a read is tried again.
pub const READ_RETRY_MS: u64 = 100;
/// How often a read is retried before its result counts as unknown.
pub const READ_TRIES_MAX: u8 = 8;
/// Bytes a second that a line counts with until it was measured.
pub const LINE_START: u64 = 4096;
/// Bytes a second above which the rate of a line does not matter.
pub const LINE_FAST: u64 = 1 << 20;
/// Bytes of one MQTT message that carries batches, at most.
pub const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// Bytes of a piece of a batch, at least, where the peer's packet limit allows it.
pub const PIECE_BYTES_MIN: usize = 1024;
/// Bytes without a PUBACK.
pub const UNACKED_BYTES_MAX: usize = 1 << 20;
/// Bytes without a PUBACK beyond what the line takes in a round trip: a breakdown waits behind them.
pub const AHEAD_BYTES_MAX: usize = 64 * 1024;
/// Messages without a PUBACK.
pub const UNACKED_MESSAGES_MAX: usize = 256;
/// Bytes of MQTT's own around the payload of a message, its topic included.
pub const MQTT_HEAD_BYTES_MAX: usize = 128;
/// Addresses of a host that are tried.
pub const ADDRESSES_MAX: usize = 8;
/// Milliseconds in which a connection is made and subscribed, at first; doubled as long as that is too short.
pub const CONNECT_MS_MIN: u64 = 15_000;
/// The same, at most.
pub const CONNECT_MS_MAX: u64 = 120_000;
/// Bytes of a packet from the broker that are taken: control messages, and some room for MQTT's own.
pub const MQTT_INCOMING_BYTES_MAX: u32 = 16 * 1024;
/// Milliseconds that a stopping agent gives its last events to arrive; what has not by then is sent after the next
/// start.
pub const WRITER_DRAIN_MS: u64 = 2000;
/// Keys of collectors in the pin.
pub const PINS_MAX: usize = 8;
/// Keys of collectors that a configuration names.
pub const COLLECTOR_KEYS_MAX: usize = 16;
/// Attestations that are kept beside the ring log.
pub const ATTESTATIONS_MAX: usize = 8;
/// Milliseconds between two receipts that are written: what a start finds is at most that old.
pub const RECEIPT_MS: u64 = 60_000;
/// Milliseconds between two reports of messages that did not count.
pub const REPORT_MS: u64 = 60_000;
/// Former names that have a session of their own; events under further names wait for the next start.
pub const FORMER_SESSIONS_MAX: usize = 8;
/// Milliseconds after which a collector that does not answer under a former name is asked again.
pub const FORMER_REST_MS: u64 = 60_000;
/// Ranges that the collector can ask for once more at the same time.
pub const AGAIN_MAX: usize = 16;
/// Bytes of a message that answers that.
pub const AGAIN_BYTES_MAX: usize = 128 * 1024;
/// What waits to be written beside the ring log; more is tried again later.
pub const KEEPER_JOBS_MAX: usize = 4;
/// Seconds between two heartbeats that a configuration can ask for, at most.
pub const HEARTBEAT_S_MAX: u32 = 3600;
/// Seconds that an agent stays away when its MQTT session was taken over, at least; with as much chance again.
pub const TAKEN_OVER_S: u64 = 120;
/// Milliseconds in which changes of the connection are counted, and after which a calm one is reported.
pub const LINK_CALM_MS: u64 = 60_000;
/// Changes of the connection that are events of their own within that time; more become one.
pub const LINK_EVENTS_MAX: usize = 4;
/// Milliseconds after which a connection that never gets calm is reported all the same.
pub const LINK_REPORT_MS: u64 = 600_000;
/// Seconds in which a new connection to the collector must work, at least: a pause before the first attempt, the
/// connection, hello and welcome, and the second for which the writer may sleep before it reports them.
pub const CONFIRM_S_MIN: u32 = 5;
/// Milliseconds between two looks at the writer's state from outside.
pub const STATUS_MS: u64 = 250;
/// Bytes that are read at a start of a file beside the ring log, at most.
pub const KEPT_BYTES_MAX: u64 = 64 * 1024;
/// Files that were no keys and lie beside the agent's key, at most.
pub const KEYS_ASIDE_MAX: u32 = 1000;
/// Lines that `emit` and `replay` read ahead of what they have written.
pub const CLIENT_LINES_AHEAD: usize = 1024;
/// Wrong rows that `replay` reports one by one.
pub const ROWS_REPORTED_MAX: u64 = 10;
/// First wait before a connection is made again, in milliseconds, at most.
pub const RECONNECT_WAIT_MS_MIN: u64 = 500;
/// Longest wait before a connection is made again, in milliseconds.
pub const RECONNECT_WAIT_MS_MAX: u64 = 30_000;
/// Bytes that are read from the collector at once.
pub const MQTT_READ_BYTES: usize = 4096;
/// One turn in so many goes to samples while both streams wait.
pub const SAMPLES_TURN: u8 = 8;
/// A goodbye to the broker takes no longer than this.
pub const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// A connection that brings nothing at all for this long is dead: a ping waits some seconds on a slow line.
pub const LINK_SILENCE_MAX: Duration = Duration::from_secs(60);
/// A message that finds no room for this long waits for PUBACKs that do not come, however well pings are answered.
pub const PUBLISH_MAX: Duration = Duration::from_secs(90);
/// Between two pings, at most, unless the peer asks for less.
pub const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Milliseconds of the line that are under way beside a round trip, at most.
pub const AHEAD_MS: u64 = 2_000;
/// Bytes a second that a line counts as at least.
pub const LINE_MIN: u64 = 128;
/// How long an attempt to connect is waited for before the next one begins beside it (RFC 8305, section 5).
pub const DIAL_STAGGER: Duration = Duration::from_millis(250);
/// The longest that the writer sleeps: it feeds a watchdog.
pub const WRITER_NAP_MS: u64 = 1000;
/// Between two looks at how long the ring log still lasts: over so long the rate is taken.
pub const AUTONOMY_LOOK: Duration = Duration::from_secs(60);
/// How often a way on probation is looked at.
pub const PROBATION_LOOK: Duration = Duration::from_millis(250);
/// So many good looks in a row confirm a new connection: a look can be a second old, and of the previous one. They may
/// go on past the end of the probation, which may be shorter than they take.
pub const GOOD_LOOKS: u8 = 8;
/// How often the clocks are compared, to notice that one was set.
pub const CLOCK_LOOK: Duration = Duration::from_secs(1);
/// Events that wait for so long without one of them getting through are trouble, in milliseconds.
pub const STALLED_MS_MAX: u64 = 30_000;
/// Between two looks at whether the agent is healthy.
pub const HEALTH_LOOK: Duration = Duration::from_secs(1);
/// An agent that has just started need not be healthy for so long.
pub const HEALTH_PATIENCE: Duration = Duration::from_secs(10);
/// The machine is looked at twice within this time at first, as usage is a difference of two looks.
pub const HOST_FIRST_INTERVAL: Duration = Duration::from_secs(1);
/// After so much quiet the connection of a producer gives its large buffer back.
pub const CONNECTION_IDLE: Duration = Duration::from_secs(1);
/// Boots of one device that are remembered: what an earlier boot has left behind comes soon after the next one.
pub const DEVICE_BOOTS_MAX: usize = 4;

const _: () = {
    assert!(PORT_WAIT_MS_MIN <= PORT_WAIT_MS_MAX);
    assert!(4 * TABLE_EVERY_BYTES <= SEGMENT_BYTES_MIN as usize);
    assert!(TAIL_INTERVAL_MS_MIN <= TAIL_INTERVAL_MS_MAX);
    assert!(OPEN_FILES_MAX <= FOLLOWED_FILES_MAX && FOLLOWED_FILES_MAX <= MATCHES_MAX);
    assert!(TAIL_INPUTS_MAX * (FOLLOWED_BYTES_MAX + 256) <= OPEN_BATCH_BYTES_MAX / 2, "tables leave room for events");
    assert!(FINGERPRINT_BYTES_MAX < LINE_BYTES_MAX && TAIL_GROUP_BYTES <= LINE_BYTES_MAX);
    // Head, name and comment of a member, each of up to 64 KiB, are not all that long at once.
    assert!(GZIP_HEAD_BYTES_MAX >= 2 * 65_536);
    assert!(DEVICE_LANES_MAX >= SERIAL_PORTS_MAX * 4, "four lanes a device");
    assert!(FRAME_BYTES_MAX > 256 + 4096 + 21 && PIECED_BYTES_MAX >= 256 + 4096 + 21);
    assert!(COMMIT_BYTES < OPEN_BATCH_BYTES_MAX);
    assert!(OPEN_BATCH_BYTES_MAX + 2 * EVENT_BYTES_MAX < BATCH_BYTES_MAX, "an open batch always takes one more event");
    assert!(LINE_BYTES_MAX > EVENT_BYTES_MAX, "any event without escapes fits a line");
    assert!(READ_BYTES_MAX >= 2 * LINE_BYTES_MAX, "a full buffer holds a whole line or shows that it is too long");
    assert!(READ_BYTES_MIN <= READ_BYTES_MAX);
    assert!(ANSWER_BYTES_MAX > 2 * REFUSAL_BYTES_MAX);
    assert!(MESSAGE_BYTES_MAX <= UNACKED_BYTES_MAX && PIECE_BYTES_MIN <= MESSAGE_BYTES_MAX);
    assert!(MQTT_INCOMING_BYTES_MAX as usize >= SIGNED_BYTES_MAX + MQTT_HEAD_BYTES_MAX);
    assert!(TOPIC_BYTES_MAX + 16 <= MQTT_HEAD_BYTES_MAX);
    assert!(CONNECT_MS_MIN <= CONNECT_MS_MAX);
    // hyper asks for at least this much.
    assert!(HTTP_HEAD_BYTES_MAX >= 8192);
    assert!(RECONNECT_WAIT_MS_MIN <= RECONNECT_WAIT_MS_MAX);
    assert!(2 * KEEP_ALIVE.as_secs() <= LINK_SILENCE_MAX.as_secs());
    let at_first_ms = RECONNECT_WAIT_MS_MIN + WRITER_NAP_MS;
    assert!(CONFIRM_S_MIN as u64 * 1000 > at_first_ms + STATUS_MS, "a new way has time for its first attempt");
    let looked_ms = GOOD_LOOKS as u64 * PROBATION_LOOK.as_millis() as u64;
    assert!(looked_ms > WRITER_NAP_MS + STATUS_MS, "not all good looks can be of the way before");
    assert!(INBOX_MESSAGES_MAX * MQTT_INCOMING_BYTES_MAX as usize <= 16 << 20, "what waits for the writer is bounded");
    assert!(OUTBOX_MESSAGES_MAX * MESSAGE_BYTES_MAX <= UNACKED_BYTES_MAX);
    assert!(CLIENT_LINES_AHEAD * LINE_BYTES_MAX <= 64 << 20);
    assert!(REPLAY_ROWS_AHEAD * ROW_BYTES_MAX <= 256 << 20);
};
