//! Every limit of the collector, related to each other and to those of the protocol.
//!
//! Nothing that is read from a socket or a file sizes an allocation or a loop before it is checked against one of
//! these.

use std::time::Duration;

use afferent_protocol::limits::{
    BATCH_BYTES_MAX, LANES_MAX, MESSAGE_PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};
use afferent_protocol::topic::TOPIC_BYTES_MAX;

/// Bytes of a segment of the unified log, unless configured otherwise.
pub const LOG_SEGMENT_BYTES: u64 = 64 << 20;
/// Largest number of bytes that one write and its sync cover (except for a single larger entry). A start syncs this
/// much again, because it is unknown whether the last sync was completed.
pub const COMMIT_PART_BYTES_MAX: usize = 8 << 20;
/// A writer commits when this number of bytes waits, whatever else it has to do.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;
/// Time in µs from the first batch without an attestation to the next attestation of the log.
pub const ATTEST_AFTER_US: u64 = 60_000_000;
/// Batches without an attestation after which the log is attested: this bounds the memory that a start needs for them.
pub const ATTEST_BATCHES_MAX: usize = 65_536;
/// Terms of a log that are kept: the newest ones. Each opening of the log begins one.
pub const TERMS_MAX: usize = 4096;
/// Agents whose acknowledgements show that the log was restored; above it they are not listed one by one for a term.
pub const ROLLED_BACK_EVENTS_MAX: usize = 16;
/// Heartbeats of each source that are kept.
pub const HEARTBEATS_KEPT: usize = 4;
/// Times of a source's lost ring logs that are kept: the newest ones.
pub const RINGS_REPLACED_KEPT: usize = 16;
/// Former names of a source that are kept.
pub const ALIASES_MAX: usize = 64;
/// Endorsements that are kept.
pub const ENDORSEMENTS_KEPT: usize = 256;
/// Interval of retries for attestations that could not be appended to the operator's file.
pub const ATTEST_RETRY_EVERY: Duration = Duration::from_secs(30);
/// Interval of checks, at the end, whether a thread that writes elsewhere has finished.
pub const FAREWELL_LOOKS_EVERY: Duration = Duration::from_millis(10);
/// Damaged ranges of the log that wait to be reported.
pub const DAMAGE_WAITING_MAX: usize = 256;
/// Pages at the log's end that followers share.
pub const TAIL_PAGES_MAX: usize = 64;
/// Bytes of these pages; one page is kept whatever its size.
pub const TAIL_BYTES_MAX: usize = 8 << 20;
/// From this number of followers with filters on, all events are rendered once, and each follower selects its own.
pub const TAIL_FILTERED_MIN: usize = 8;
/// A follower that is more events behind the end reads its own pages.
pub const TAIL_EVENTS_MAX: u64 = 100_000;
/// Texts of one kind in a certificate.
pub const CERTIFICATE_TEXTS_MAX: usize = 100;
/// Lines of a printed certificate: a page.
pub const CERTIFICATE_LINES_MAX: usize = 60;
/// Losses of one lane that a certificate keeps one by one; consecutive ones count as one.
pub const CERTIFICATE_LOSSES_MAX: usize = 4096;
/// Statements of one source that a certificate keeps until their ends have come.
pub const CERTIFICATE_STATEMENTS_MAX: usize = 256;
/// Batches of ring logs that are compared with a log.
pub const CERTIFICATE_RING_BATCHES_MAX: usize = 1 << 20;
/// Bytes of a file of attestations, or of a public key.
pub const WITNESS_FILE_BYTES_MAX: u64 = 256 << 20;
/// Bytes of a segment between two points of the sparse index.
pub const INDEX_EVERY_BYTES: u64 = 64 << 10;
/// Entries of a segment that only attestations in other segments bind: an extract holds their hashes one by one.
pub const EXTRACT_HEAD_ENTRIES_MAX: usize = 65_536;
/// Machines and sources in the index of one segment; of a segment with more, every block is read.
pub const INDEX_NAMES_MAX: usize = 65_536;
/// Names of a segment that stay in memory, so that its index need not be loaded if it has none of the wanted ones.
pub const INDEX_NAMES_HELD_MAX: usize = 256;
/// Bytes of points and names of finished segments in memory, the last used ones; one segment stays whatever its size.
pub const POINTS_CACHE_BYTES: usize = 4 << 20;
/// Finished segments whose points are in memory.
pub const POINTS_CACHE_SEGMENTS_MAX: usize = 64;
/// Bytes of a segment that are read at a time when all of it is read.
pub const SEGMENT_READ_BYTES: usize = 1 << 20;
/// Shortest interval of searches for segments without an index.
pub const INDEX_WAKE_EVERY: Duration = Duration::from_secs(1);
/// Interval of progress reports while many indexes are made.
pub const INDEX_PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Forwards of one collector; each has a thread.
pub const FORWARDS_MAX: usize = 64;
/// Bytes of a forward's file.
pub const FORWARD_FILE_BYTES_MAX: u64 = 64 << 10;
/// Interval at which the copy of a checkpoint is written that a destination keeps.
pub const FORWARD_SINK_SAVE_EVERY: Duration = Duration::from_secs(1);
/// Interval at which a checkpoint moves over events that the forward's filter leaves out.
pub const FORWARD_SAVE_EVERY: Duration = Duration::from_secs(10);
/// Events that a forward's filter leaves out, after which its checkpoint moves without an interval.
pub const FORWARD_BEHIND_MAX: u64 = 1 << 20;
/// How long the log is searched for more events before a part is delivered.
pub const FORWARD_SEARCH_MAX: Duration = Duration::from_secs(1);
/// First and longest wait after a failed delivery.
pub const FORWARD_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// Longest wait that a destination can ask for.
pub const FORWARD_RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);
/// Events that a destination refuses in a row before each further one waits as after a failure.
pub const REFUSED_IN_A_ROW_MAX: u32 = 100;
/// Characters of a destination's answer in a dead letter.
pub const DEAD_LETTER_REASON_CHARS_MAX: usize = 1000;

/// Bytes of a part of a forward: its destination gets so much at a time.
pub const FORWARD_PART_BYTES: usize = 4 << 20;
/// How long a connection to a destination over HTTP may take.
pub const HTTP_CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long an unused connection over HTTP stays open.
pub const HTTP_IDLE_TIME: Duration = Duration::from_secs(30);
/// Unused connections over HTTP that a forward keeps open.
pub const HTTP_IDLE_MAX: usize = 64;
/// Bytes of an answer over HTTP that are read.
pub const HTTP_ANSWER_BYTES_MAX: usize = 16 << 10;
/// Characters of an answer over HTTP in an error.
pub const HTTP_ANSWER_CHARS_MAX: usize = 300;
/// Largest number of events of one request of a webhook.
pub const WEBHOOK_EVENTS_MAX: usize = 10_000;
/// Events of a part that a webhook sends one by one.
pub const WEBHOOK_SINGLE_EVENTS_MAX: usize = 500;
/// Largest number of requests of a webhook at the same time.
pub const WEBHOOK_CONCURRENCY_MAX: usize = 64;
/// Bytes of a body that a template makes.
pub const WEBHOOK_BODY_BYTES_MAX: usize = 1 << 20;
/// Breakdowns that are open at the same time, of which a webhook delivers the first event only.
pub const WEBHOOK_EPISODES_MAX: usize = 65_536;

/// Largest number of events of one request to InfluxDB.
pub const INFLUX_EVENTS_MAX: usize = 50_000;
/// How long a request to InfluxDB waits for more events.
pub const INFLUX_PART_WAIT: Duration = Duration::from_millis(50);
/// Bytes of measurement and tags of a line, as InfluxDB takes them.
pub const INFLUX_KEY_BYTES_MAX: usize = 65_535;
/// Bytes before the names of measurements.
pub const INFLUX_PREFIX_BYTES_MAX: usize = 64;

/// Largest number of messages of a part that a forward publishes over MQTT.
pub const MQTT_EVENTS_MAX: usize = 1000;
/// Messages that a forward has published over MQTT and the broker has not confirmed.
pub const MQTT_IN_FLIGHT_MAX: u16 = 256;
/// Bytes of a topic, as MQTT takes them.
pub const MQTT_TOPIC_BYTES_MAX: usize = 65_535;
/// Bytes of a published packet beside its topic and payload, and of its memory.
pub const MQTT_HEAD_BYTES: usize = 128;
/// Bytes of a packet from the broker of a forward: all are answers.
pub const MQTT_INCOMING_BYTES_MAX: u32 = 64 << 10;
/// Bytes of the client id of a forward, as MQTT lets brokers limit them.
pub const MQTT_CLIENT_ID_BYTES_MAX: usize = 128;
/// Characters of the broker's answer in an error of a forward.
pub const MQTT_REASON_CHARS_MAX: usize = 300;

/// Largest number of events of one transaction at Kafka.
pub const KAFKA_EVENTS_MAX: usize = 10_000;
/// How long a transaction waits for more events: commits are what is scarce at Kafka.
pub const KAFKA_WAIT: Duration = Duration::from_millis(25);
/// Records that Kafka's client holds a copy of.
pub const KAFKA_IN_FLIGHT_MAX: usize = 4096;
/// Bytes of one record, beyond which Kafka's client does not send it.
pub const KAFKA_RECORD_BYTES_MAX: usize = 8 << 20;
/// Bytes of a checkpoint in a record.
pub const KAFKA_CHECKPOINT_BYTES_MAX: usize = 4096;
/// Records that are read from the end of the checkpoints' topic at first.
pub const KAFKA_CHECKPOINTS_READ: i64 = 1000;
/// How long an interrupted transaction may take to abort.
pub const KAFKA_ABORT_TIME: Duration = Duration::from_secs(2);
/// Wait after another collector has taken over.
pub const KAFKA_FENCED_WAIT: Duration = Duration::from_secs(30);
/// Characters of what Kafka's client says, in an error.
pub const KAFKA_REASON_CHARS_MAX: usize = 300;
/// Largest number of events of one transaction in PostgreSQL.
pub const POSTGRES_EVENTS_MAX: usize = 50_000;
/// How long a transaction in PostgreSQL waits for more events.
pub const POSTGRES_PART_WAIT: Duration = Duration::from_millis(50);
/// Bytes of one message of a `COPY`.
pub const POSTGRES_CHUNK_BYTES: usize = 256 << 10;
/// How long a connection to PostgreSQL may take.
pub const POSTGRES_CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long an idle connection to PostgreSQL is silent before the system asks whether it still stands.
pub const POSTGRES_KEEPALIVE: Duration = Duration::from_secs(30);
/// How long the last words of a connection to PostgreSQL that has ended are waited for.
pub const POSTGRES_GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Characters of PostgreSQL's answer in an error.
pub const POSTGRES_ANSWER_CHARS_MAX: usize = 500;
/// Characters of a checkpoint that are read from PostgreSQL.
pub const POSTGRES_CHECKPOINT_CHARS_MAX: usize = 4096;
/// Bytes of the name of a schema or table: PostgreSQL cuts names at 63, and a day follows in the names of partitions.
pub const POSTGRES_NAME_BYTES_MAX: usize = 52;
/// Events of a part of parquet files.
pub const PARQUET_ROWS_MAX: usize = 1_000_000;
/// Seconds that a part of parquet files may wait for more events.
pub const PARQUET_EVERY_MAX_S: f64 = 86_400.0;
/// A part of parquet files with so many bytes in memory is written: encoded files, and rows that are not encoded yet.
pub const PARQUET_PART_BYTES: usize = 10 << 20;
/// Rows of a row group; so many of one file are in memory before they are encoded.
pub const PARQUET_ROW_GROUP_ROWS: usize = 32_768;
/// Encoded columns, of which all rows are the same, that a forward keeps.
pub const PARQUET_UNIFORM_MAX: usize = 256;
/// Bytes of memory of a row, beside its texts.
pub const PARQUET_ROW_BYTES: usize = 112;
/// Bytes of memory of a file beside its rows. A part with events of very many days ends before it has too many files.
pub const PARQUET_FILE_BYTES: usize = 128 << 10;
/// Files that are written at the same time.
pub const PARQUET_PUTS: usize = 4;
/// Tries of one request to a bucket after its first one, before the part fails.
pub const PARQUET_RETRIES: usize = 2;
/// Ranges of offsets in names of files that are kept in memory after a rewind.
pub const PARQUET_PRESENT_MAX: usize = 262_144;
/// Characters of the answer of a disk or a bucket in an error.
pub const PARQUET_ERROR_CHARS_MAX: usize = 400;
const _: () = assert!(PARQUET_PART_BYTES / PARQUET_FILE_BYTES <= 128, "a part has at most so many files");
const _: () = assert!(PARQUET_ROW_GROUP_ROWS * PARQUET_ROW_BYTES < PARQUET_PART_BYTES, "a part has a whole row group");

/// Interval of retention runs. Before a run removes segments, it logs the state of every lane again.
pub const RETENTION_EVERY: Duration = Duration::from_secs(60);

/// Difference in µs between the collector's clock and attestations or agents above which retention warns.
pub const CLOCK_DIFFERENCE_MAX_US: u64 = 86_400_000_000;

/// Bytes of batches that came ahead of their turn, kept per source.
pub const EARLY_BYTES_MAX: usize = 8 << 20;
/// Batches that came ahead of their turn, kept per source.
pub const EARLY_BATCHES_MAX: usize = 256;
/// Bytes of batches that came ahead of their turn, kept for all sources together.
pub const EARLY_BYTES_TOTAL_MAX: usize = 64 << 20;
/// Bytes of batches in pieces that are incomplete, of all sources together.
pub const PIECES_BYTES_TOTAL_MAX: usize = 64 << 20;
/// Microseconds without a piece after which an incomplete batch makes room for the next one.
pub const PIECES_IDLE_US: u64 = 60_000_000;
/// Sources that are kept.
pub const SOURCES_MAX: usize = 65_536;
/// Of these, names that have proved a key and delivered no event: the longest idle ones give way.
pub const NAMES_NEW_MAX: usize = 4096;
/// Names with refusals only: the oldest of them give way.
pub const NAMES_REFUSED_MAX: usize = 1024;
/// New names that one client address can bring at once, unless configured otherwise; behind a broker, all agents
/// together.
pub const NAMES_NEW_OF_ONE: u32 = 1024;
/// The time in which it can bring as many again, spread evenly.
pub const NAMES_FILL_TIME: Duration = Duration::from_secs(600);
/// Client addresses whose new names are counted one by one; all others share one count.
pub const NAMES_ADDRESSES_MAX: usize = 16_384;
/// Largest configurable number of new names of one client address.
pub const NAMES_NEW_OF_ONE_MAX: u32 = 65_536;
/// Lanes (epochs of both streams) of one source that are kept.
pub const SOURCE_LANES_MAX: usize = 4096;
/// Lanes of one source without events: the oldest ones give way. As many as those of all answered runs.
pub const SOURCE_LANES_NEW_MAX: usize = (SESSIONS_PROVED_MAX + SESSIONS_UNPROVED_MAX) * LANES_MAX;
/// Separate ranges in a set of sequences.
pub const RANGES_MAX: usize = 1024;
/// Declared losses of one lane that are kept one by one; older ones only in the sum.
pub const LOSSES_MAX: usize = 64;
/// Shortest interval, in µs, between two refusals that become events, per source and reason.
pub const REFUSED_EVENT_EVERY_US: u64 = 60_000_000;
/// Refusals of all sources that become events within [`REFUSED_EVENT_EVERY_US`].
pub const REFUSED_EVENTS_MAX: usize = 60;
/// The collector's own events that wait for a commit; more are only counted.
pub const NOTICES_MAX: usize = 1024;
/// Runs of one agent that have proved their key and are kept: two, where a machine was cloned.
pub const SESSIONS_PROVED_MAX: usize = 4;
/// Runs of one agent that have sent a hello without a proof of their key, and are answered all the same.
pub const SESSIONS_UNPROVED_MAX: usize = 4;
/// Names that are claimed without a proof of the key, and are answered all the same.
pub const SESSIONS_CLAIMED_MAX: usize = 16_384;
/// A challenge is valid in the minute in which it was made and for this number of minutes more.
pub const CHALLENGE_MINUTES: u64 = 2;
/// Boots of one source whose clocks are measured: two, where a machine was cloned, and those before a restart.
pub const BOOTS_MEASURED_MAX: usize = 4;
/// Drift between two clocks, in parts per million: ten times that of cheap quartz.
pub const CLOCK_DRIFT_PPM_MAX: u64 = 500;
/// Age of a connected agent's newest batch above which it counts as behind: two heartbeats, and some time to arrive.
pub const LAG_QUIET_MAX_US: i64 = 150_000_000;
/// Holes of a lane that one hello asks for again.
pub const AGAIN_MAX: usize = 4;
/// Questions of agents for a common end that wait to be answered.
pub const QUESTIONS_MAX: usize = 64;
/// Smallest number of bytes of a codec 1 row: time, subject, variant and two bytes of body.
pub const ROW_BYTES_MIN: u32 = 4;

const _: () = {
    assert!(LOG_SEGMENT_BYTES >= SEGMENT_BYTES_MIN && LOG_SEGMENT_BYTES <= SEGMENT_BYTES_MAX);
    assert!(SEGMENT_BYTES_MAX <= u32::MAX as u64, "positions in the index have four bytes");
    assert!(COMMIT_PART_BYTES_MAX > 2 * BATCH_BYTES_MAX);
    assert!(COMMIT_BYTES_MAX >= MESSAGE_PAYLOAD_BYTES_MAX);
    assert!(PIECES_BYTES_TOTAL_MAX >= 16 * BATCH_BYTES_MAX);
    assert!(NAMES_NEW_MAX + NAMES_REFUSED_MAX < SOURCES_MAX / 4, "most names are of those that deliver");
    assert!(NAMES_NEW_OF_ONE as usize * 2 <= NAMES_NEW_MAX, "one address cannot push out all others at once");
    assert!(NAMES_NEW_OF_ONE >= 1000, "a plant of a thousand agents behind one address starts at once");
    assert!(EARLY_BYTES_MAX >= BATCH_BYTES_MAX && EARLY_BYTES_TOTAL_MAX >= EARLY_BYTES_MAX);
};

/// Bytes of one MQTT packet: the largest message, its topic, and MQTT 5 properties.
pub const PACKET_BYTES_MAX: u32 = (MESSAGE_PAYLOAD_BYTES_MAX + 8 * 1024) as u32;
/// Bytes of the first packet of a connection: its sender is unknown, so it must not cost much.
pub const CONNECT_BYTES_MAX: usize = 16 * 1024;
/// Messages of one connection that were read and are not yet durable.
pub const IN_FLIGHT_MAX: u16 = 256;
/// Filters in one SUBSCRIBE or UNSUBSCRIBE.
pub const FILTERS_MAX: usize = 16;
/// Control messages that wait to be written to one connection; a reader that is slower than that is disconnected.
pub const DOWN_QUEUE_MAX: usize = 64;
/// Bytes that wait to be written to one connection; a reader that is slower than that is disconnected.
pub const OUT_BYTES_MAX: usize = 256 * 1024;
/// Time without progress on a full socket after which its connection is closed.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// How long a last packet (CONNACK with a refusal, DISCONNECT) may take to be written.
pub const FAREWELL_MAX: Duration = Duration::from_secs(2);
/// Interval of checks whether a client's certificate has expired by a clock that was set.
pub const CLOCK_LOOKS_EVERY: Duration = Duration::from_secs(30);
/// Bytes that one read of a socket takes. The buffer is on the stack: an idle connection has none.
pub const READ_BYTES: usize = 64 * 1024;
/// Largest configurable number of connections.
pub const CONNECTIONS_MAX: u64 = 1_000_000;
/// Open files that the collector itself needs: log, indexes, models, posted ids, and files opened between two checks.
pub const FILES_OWN: u64 = 128;
/// Open files of one HTTP connection: its socket, and the segment that it reads.
pub const FILES_OF_HTTP_CONNECTION: u64 = 2;
/// Smallest number of open files with which the collector starts.
pub const FILES_MIN: u64 = 256;
/// Connections above the configured number that get a refusal at the same time; more are just closed.
pub const REFUSALS_AT_ONCE: usize = 64;
/// The keep-alive of an MQTT 5 client that asks for none, or for a longer one.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(600);
/// Longest silence of a client without keep-alive: MQTT lets a server close inactive connections.
pub const SILENCE_MAX: Duration = Duration::from_secs(900);
/// Longest time of an unauthenticated connection without an agent's name; pings do not count.
pub const UNNAMED_MAX: Duration = Duration::from_secs(60);

/// Messages that wait for the writer thread.
pub const INTAKE_MESSAGES_MAX: usize = 4096;
/// Bytes of messages between the sockets and the log; reading stops while there are more.
pub const INTAKE_BYTES_MAX: usize = 64 << 20;
/// Messages in one commit.
pub const COMMIT_MESSAGES_MAX: usize = 1024;
/// First and longest wait after a commit that failed.
pub const COMMIT_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Tries to commit after the collector was stopped.
pub const COMMIT_TRIES_AT_END: u32 = 3;
/// Interval at which an idle writer checks whether an attestation is due, or damage must be reported.
pub const WRITER_LOOKS_EVERY: Duration = Duration::from_secs(5);
/// Largest age of the published snapshot of the sources.
pub const SNAPSHOT_EVERY: Duration = Duration::from_millis(200);

/// Interval of checks for a stop while a part waits for its restart.
pub const RESTART_LOOKS_EVERY: Duration = Duration::from_millis(50);
/// Time for a part to report its reason, when a thread returns early without a panic: the thread's end may be a
/// consequence.
pub const REASON_TIME: Duration = Duration::from_secs(1);
/// Longest time in which the collector ends after the end of a required part.
pub const EXIT_TIME_MAX: Duration = Duration::from_secs(10);

/// The nice value of threads that follow the log: a tenth of the weight of threads on the path of events.
pub const FOLLOWER_NICE: i32 = 10;
/// The same of forwards, of which there are many: their weight is a seventieth.
pub const FORWARD_NICE: i32 = 19;
/// Time that a follower works without giving way to pending commits, once it has waited long enough.
pub const FOLLOWER_BURST: Duration = Duration::from_millis(2);
/// Interval at which it checks again whether commits are pending.
pub const FOLLOWER_SLICE: Duration = Duration::from_micros(500);
/// Longest wait before its next burst: a fifth of the time is its own, whatever the load is.
pub const FOLLOWER_WAIT_MAX: Duration = Duration::from_millis(8);
/// Cores for one of the followers that share their turns.
pub const SHARED_TURNS_CORES: usize = 2;
/// Most of them that work at a time.
pub const SHARED_TURNS_MAX: usize = 64;
/// How much longer than a turn they rest while commits are pending: a twentieth of a core is theirs, whatever the load is.
pub const SHARED_TURN_REST: u32 = 19;
/// The same between two commits, for each of those that work at a time: a fifth of its core is theirs then.
pub const SHARED_TURN_REST_BETWEEN: u32 = 4;
/// How long after a commit the next one is expected.
pub const SHARED_TURN_BETWEEN: Duration = Duration::from_millis(100);
/// Interval at which one that rests checks whether it still has to.
pub const SHARED_TURN_SLICE: Duration = Duration::from_millis(5);
/// Longest rest.
pub const SHARED_TURN_REST_MAX: Duration = Duration::from_secs(1);

/// Refused names that are kept, of all kinds.
pub const REFUSED_KEPT_MAX: usize = 256;
/// Shortest interval between two reports of a repeated event.
pub const TELL_EVERY: Duration = Duration::from_secs(60);
/// Warnings about refusals a minute, of all names together.
pub const REFUSED_WARNINGS_MAX: usize = 30;
/// Characters that are kept of a refused client's name, user or topic.
pub const REFUSED_TEXT_CHARS_MAX: usize = 64;

/// Wait for the writer, while commits fail, after which a request is answered.
pub const WRITE_FAILING_WAIT: Duration = Duration::from_secs(2);
/// Wait for the writer, while the disk does not answer, after which a request is answered.
pub const WRITE_SILENT_WAIT: Duration = Duration::from_secs(30);
/// Interval at which it checks whether commits fail.
pub const WRITE_LOOKS_EVERY: Duration = Duration::from_millis(100);

/// Acks and answers that wait for the client of an external broker.
pub const BROKER_DOWN_MAX: usize = 1024;
/// Keep-alive towards the broker.
pub const BROKER_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Time without activity, not even a ping, after which a connection to the broker counts as hung.
pub const BROKER_SILENCE_MAX: Duration = Duration::from_secs(75);
/// Seconds from the open socket to the broker's CONNACK.
pub const BROKER_HANDSHAKE_S_MAX: u64 = 15;
/// First and longest wait before the broker is tried again; the wait is drawn between half and all of it.
pub const BROKER_RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// Time for the HTTP server's streams to end, when the collector stops.
pub const HTTP_FAREWELL_MAX: Duration = Duration::from_secs(5);
/// Bytes of a configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// JSON that is rendered before it is handed to a reader's connection: the memory of one reader, beside the log's
/// bytes.
pub const PAGE_BYTES: usize = 512 * 1024;
/// The same while [`PAGES_BYTES_MAX`] are rendered and not yet sent.
pub const PAGE_SMALL_BYTES: usize = 32 * 1024;
/// Bytes of each buffer that a reader keeps between the pages of a long answer.
pub const PAGE_BUFFERS_KEPT_BYTES: usize = 1 << 20;
/// Bytes of rendered JSON, not yet sent, above which pages become small: the memory that stalled readers can hold,
/// beside a small page each.
pub const PAGES_BYTES_MAX: usize = 32 << 20;
/// Pages that are rendered at the same time: enough to keep cores and disk busy, and few enough to leave cores for the
/// path of events.
pub const RENDERING_MAX: usize = 8;
/// Bytes of the log that one page reads: a filter without matches must not hold a thread for long.
pub const PAGE_SCAN_BYTES: usize = 16 << 20;
/// Bytes of a subject pattern, and of any other text in a query.
pub const QUERY_TEXT_BYTES_MAX: usize = 256;
/// Bytes of the log that are read at a time.
pub const LOG_READ_BYTES: usize = 128 * 1024;
/// Types or sources that one filter names.
pub const QUERY_NAMES_MAX: usize = 32;
/// Events that `/v1/events` returns without a limit in the request.
pub const EVENTS_DEFAULT: u64 = 1000;
/// Named subscriptions.
pub const SUBSCRIPTIONS_MAX: usize = 1000;
/// Subscriptions of one client address: others find room beside them. Behind a proxy all clients have one address.
pub const SUBSCRIPTIONS_OF_ONE_MAX: usize = 750;
/// Of these, subscriptions that were never moved.
pub const SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX: usize = 250;
/// Age from which on an unread subscription may give way to a new one.
pub const SUBSCRIPTION_IDLE_TIME: Duration = Duration::from_secs(60);
/// Names of subscriptions that gave way and are kept, so that their clients get the reason.
pub const SUBSCRIPTIONS_GONE_KEPT: usize = 1000;
/// Largest number of shares of one subscription.
pub const SHARES_MAX: u32 = 64;
/// Number of shares of a subscription without a number in the request.
pub const SHARES_DEFAULT: u32 = 16;
/// Members of one subscription at the same time.
pub const MEMBERS_MAX: usize = 64;
/// Bytes of a member's name.
pub const MEMBER_BYTES_MAX: usize = 128;
/// Time without a fetch or commit after which a member loses its shares.
pub const LEASE_TIME: Duration = Duration::from_secs(30);
/// Longest wait of a fetch for events, in seconds.
pub const FETCH_WAIT_S_MAX: u64 = 20;
/// Bytes of a subscription's file.
pub const SUBSCRIPTION_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of one request that posts events.
pub const POST_BYTES_MAX: usize = 4 << 20;
/// Events of one request that posts events.
pub const POST_EVENTS_MAX: usize = 1000;
/// Bytes of memory for the index of posted events.
pub const POSTED_IDS_CACHE_BYTES: usize = 16 << 20;
/// Ids of posted events that wait to be indexed; above it, posts are refused.
pub const POSTED_IDS_UNWRITTEN_MAX: usize = 1 << 20;
/// Longest interval of syncs of the index of posted events; entries lost in a crash are read from the log.
pub const POSTED_IDS_SYNC_EVERY: Duration = Duration::from_secs(10);
/// Largest limit of events with which an answer is rendered before it is sent; longer ones are rendered while sent.
pub const EVENTS_PAGED_MAX: u64 = 2000;
/// Bytes at which such an answer ends, whatever its limit.
pub const EVENTS_PAGED_BYTES_MAX: usize = 4 << 20;

/// HTTP connections at the same time, including the reserve.
pub const HTTP_CONNECTIONS_MAX: usize = 2048;
/// One of this number of connections is in the reserve, where health and metrics are answered when all others are
/// taken.
pub const HTTP_RESERVE_OF: usize = 32;
/// Time for a client in the reserve to send a request's head, and to read the answer.
pub const HTTP_RESERVE_TIME: Duration = Duration::from_secs(2);
/// The part of all connections outside the reserve that one client address may have: others find room beside it. Behind
/// a proxy all clients have one address, so it is most of them.
pub const HTTP_CONNECTIONS_OF_ONE: (usize, usize) = (3, 4);
/// The part of them that may be event streams: short requests find room beside them.
pub const HTTP_STREAMS: (usize, usize) = (3, 4);
/// The part of them that may be event streams of one client address: a thousand followers behind one proxy are served.
pub const HTTP_STREAMS_OF_ONE: (usize, usize) = (5, 8);
/// Answers at the same time that are rendered while they are sent: each holds two pages while its client reads.
pub const HTTP_LONG_ANSWERS_MAX: usize = 48;
/// Those of one client address.
pub const HTTP_LONG_ANSWERS_OF_ONE_MAX: usize = 32;
/// Bytes of bodies at the same time, each from its first byte until the request is answered.
pub const HTTP_BODIES_BYTES_MAX: usize = 64 << 20;
/// Those of one client address: a dozen of the largest posts.
pub const HTTP_BODIES_BYTES_OF_ONE_MAX: usize = 48 << 20;
/// Bytes of a body that is a small document.
pub const HTTP_DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// Longest pause of a client within a body.
pub const HTTP_BODY_STALL_TIME: Duration = Duration::from_secs(10);
/// Required average speed of a body, in bytes a second: about a line of 9600 baud. A client that drips single bytes
/// would hold its connection for hours.
pub const HTTP_BODY_BYTES_PER_S_MIN: u64 = 512;
/// Total wait of a body for room in the budget, before it is refused.
pub const HTTP_ROOM_TIME: Duration = Duration::from_secs(2);
/// Interval of checks for room.
pub const HTTP_ROOM_LOOKS_EVERY: Duration = Duration::from_millis(20);
/// Bytes of a refused body that are still read and dropped, so that its sender can read the refusal.
pub const HTTP_FAREWELL_BYTES_MAX: usize = 8 << 20;
/// Time for these bytes.
pub const HTTP_FAREWELL_TIME: Duration = Duration::from_secs(1);
/// Time for which a refusal is shown in health.
pub const REFUSED_RECENT_TIME: Duration = Duration::from_secs(5);
/// Milliseconds after which the allocator returns free memory to the system.
pub const MEMORY_KEPT_MS: isize = 1000;
/// Idle time after which a blocking thread ends: each keeps memory, and a crowd of readers leaves many.
pub const BLOCKING_THREAD_IDLE_TIME: Duration = Duration::from_secs(2);
/// Bytes of one HTTP request's head.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// Time for a client to send a request's head; also how long it may keep an unused connection.
pub const HTTP_HEAD_TIME: Duration = Duration::from_secs(10);
/// Longest time in which a client reads none of the bytes sent to it.
pub const HTTP_STALL_TIME: Duration = Duration::from_secs(60);
/// Interval of reading the clock while a future time is waited for: the clock may have been set.
pub const CLOCK_LOOK_TIME: Duration = Duration::from_secs(1);
/// Longest silence of a server-sent event stream.
pub const KEEP_ALIVE_TIME: Duration = Duration::from_secs(15);

const _: () = {
    assert!(PACKET_BYTES_MAX as usize > MESSAGE_PAYLOAD_BYTES_MAX + TOPIC_BYTES_MAX + 5);
    assert!(INTAKE_BYTES_MAX >= 2 * PACKET_BYTES_MAX as usize, "any two messages fit between socket and log");
    assert!(COMMIT_BYTES_MAX <= INTAKE_BYTES_MAX);
    assert!(POSTED_IDS_UNWRITTEN_MAX > COMMIT_MESSAGES_MAX * POST_EVENTS_MAX, "what one commit can bring finds room");
    assert!(NAMES_NEW_MAX > COMMIT_MESSAGES_MAX, "who proves itself delivers before later ones push it out");
    assert!(SESSIONS_CLAIMED_MAX > COMMIT_MESSAGES_MAX, "a claim is answered before later ones push it out");
    assert!(OUT_BYTES_MAX > 2 * afferent_protocol::limits::CONTROL_BYTES_MAX);
    assert!(BROKER_SILENCE_MAX.as_secs() > 2 * BROKER_KEEP_ALIVE.as_secs(), "two pings may be late");
    assert!(READ_BYTES >= CONNECT_BYTES_MAX && READ_BYTES <= 128 * 1024, "it must fit a worker's stack");
    assert!(PAGE_SCAN_BYTES >= BATCH_BYTES_MAX, "a page gets past any one batch");
    assert!(EVENTS_DEFAULT <= EVENTS_PAGED_MAX && EVENTS_PAGED_BYTES_MAX >= PAGE_BYTES);
    assert!(
        SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX <= SUBSCRIPTIONS_MAX - SUBSCRIPTIONS_OF_ONE_MAX,
        "others find as much room"
    );
    assert!(FETCH_WAIT_S_MAX < LEASE_TIME.as_secs(), "who waits keeps its lease");
    assert!(SHARES_DEFAULT <= SHARES_MAX && MEMBERS_MAX >= SHARES_MAX as usize);
    assert!(FILES_MIN > FILES_OWN + REFUSALS_AT_ONCE as u64 + 8 * FILES_OF_HTTP_CONNECTION);
    assert!(HTTP_HEAD_BYTES_MAX > 8192, "what hyper needs at least");
    assert!(KEEP_ALIVE_TIME.as_secs() < HTTP_STALL_TIME.as_secs());
    assert!(SILENCE_MAX.as_secs() >= KEEP_ALIVE_MAX.as_secs() * 3 / 2, "who keeps what it is given stays");
    let outside_reserve = HTTP_CONNECTIONS_MAX - HTTP_CONNECTIONS_MAX / HTTP_RESERVE_OF;
    let streams_of_one = outside_reserve * HTTP_STREAMS_OF_ONE.0 / HTTP_STREAMS_OF_ONE.1;
    assert!(streams_of_one >= 1200, "a thousand followers behind one proxy, and some who come back");
    assert!(streams_of_one < outside_reserve * HTTP_CONNECTIONS_OF_ONE.0 / HTTP_CONNECTIONS_OF_ONE.1);
    assert!(HTTP_BODIES_BYTES_OF_ONE_MAX < HTTP_BODIES_BYTES_MAX && HTTP_BODIES_BYTES_OF_ONE_MAX >= 8 * POST_BYTES_MAX);
    assert!(HTTP_BODIES_BYTES_MAX - HTTP_BODIES_BYTES_OF_ONE_MAX >= 2 * POST_BYTES_MAX, "others can post as well");
    assert!(HTTP_DOCUMENT_BYTES_MAX >= PLAN_BYTES_MAX && HTTP_FAREWELL_BYTES_MAX >= POST_BYTES_MAX);
    assert!(HTTP_LONG_ANSWERS_OF_ONE_MAX < HTTP_LONG_ANSWERS_MAX);
    let small_pages = outside_reserve * PAGE_SMALL_BYTES;
    assert!(PAGES_BYTES_MAX + RENDERING_MAX * PAGE_BYTES + small_pages <= 128 << 20, "readers that stall, all of them");
    assert!(PAGES_BYTES_MAX >= (TAIL_BYTES_MAX + PAGE_BYTES) * 2, "followers at the end share large pages");
};

/// Machines that one model keeps. A machine that several sources report counts once for each of them.
pub const MODEL_MACHINES_MAX: usize = 16_384;
/// Of these, machines of one source: a gateway with some thousand machines has room, three quarters are left whatever
/// one source makes up, and the answers about all of them fit the memory limit of a collector. When all is full, every
/// source may have fewer, see [`crate::models::shares`].
pub const MODEL_MACHINES_OF_ONE_MAX: usize = MODEL_MACHINES_MAX / 4;
/// Subjects whose last value a model keeps.
pub const MODEL_SUBJECTS_MAX: usize = 262_144;
/// Of these, subjects of one source: sixteen for each of its machines.
pub const MODEL_SUBJECTS_OF_ONE_MAX: usize = MODEL_SUBJECTS_MAX / 4;
/// Sources that one model keeps: as many as there may be names.
pub const MODEL_SOURCES_MAX: usize = 65_536;
/// Reports of a source within this time, in µs, count as simultaneous: machines that report by turns do not push each
/// other out.
pub const MODEL_IDLE_STEP_US: i64 = 3_600_000_000;
/// Sources without room that are listed one by one.
pub const MODEL_NOT_SHOWN_SOURCES_MAX: usize = 64;
/// Of these, sources that are named in health.
pub const MODEL_NOT_SHOWN_NAMED_MAX: usize = 3;
/// Time in µs for which a shortage is reported: a machine without room that reports once a minute keeps it reported.
pub const MODEL_NOT_SHOWN_RECENT_US: i64 = 60_000_000;
/// Intervals of one machine that are shown: the newest ones.
pub const MODEL_INTERVALS_MAX: usize = 512;
/// Bytes of reports that a model keeps of each machine, to sort in late ones; older ones are in its sums.
pub const MODEL_HISTORY_BYTES_MAX: usize = 24 << 10;
/// Time in µs, behind the newest event of a machine, for which a model keeps its reports.
pub const MODEL_HISTORY_US_MAX: i64 = 7 * 86_400_000_000;
/// Reports, or values of a counter, in one packed chunk.
pub const MODEL_CHUNK_ENTRIES: usize = 128;
/// Bytes of intervals that `states` keeps of each machine: the newest ones.
pub const MODEL_INTERVAL_BYTES_MAX: usize = 32 << 10;
/// Bytes of ended breakdowns that `breakdowns` keeps of each machine: the newest ones.
pub const MODEL_OVER_BYTES_MAX: usize = 16 << 10;
/// Bytes of alarms that are kept with the open breakdowns of one machine.
pub const MODEL_OPEN_BYTES_MAX: usize = 8 << 10;
/// Bytes of values that `kpi` keeps of the counters of each machine, to sort in late ones.
pub const MODEL_COUNTER_BYTES_MAX: usize = 12 << 10;
/// Counters of one machine.
pub const MODEL_COUNTERS_MAX: usize = 16;
/// Parts of one machine that report states of their own.
pub const MODEL_PARTS_MAX: usize = 32;
/// Bytes of reports that a model keeps of all machines while it is rebuilt, and sorts in events of any time.
pub const MODEL_REBUILD_BYTES_MAX: usize = 256 << 20;
/// Patterns in one list of a model's settings.
pub const MODEL_PATTERNS_MAX: usize = 64;
/// Simultaneous breakdowns of one machine, of different codes.
pub const MODEL_BROKEN_CODES_MAX: usize = 32;
/// Breakdown episodes that are kept, of all machines together.
pub const MODEL_EPISODES_MAX: usize = 4096;
/// Alarms of one episode that are kept.
pub const MODEL_EPISODE_ALARMS_MAX: usize = 64;
/// Bytes of the active alarms of one machine, and of the last raised ones, that are kept for the next breakdown.
pub const MODEL_ALARMS_BYTES_MAX: usize = 6 << 10;
/// Labels and notes of one event that are kept: the newest ones.
pub const MODEL_AMENDMENTS_MAX: usize = 16;
/// Events with labels or notes that one model keeps: of each source the last amended ones.
pub const MODEL_AMENDED_MAX: usize = 4096;
/// Conditions of alarms that are kept; see [`crate::models::alarms`] for which.
pub const MODEL_ALARMS_MAX: usize = 16_384;
/// Of these, conditions of one source: one cause raises some thousand alarms, and most room is left whatever one source
/// makes up.
pub const MODEL_ALARMS_OF_ONE_MAX: usize = MODEL_ALARMS_MAX / 4;
/// Conditions above that number before the least important ones are dropped.
pub const MODEL_ALARMS_BEYOND_MAX: usize = 2048;
/// Raises and clears of one condition that are kept.
pub const MODEL_ALARM_REPORTS_MAX: usize = 32;
/// Microseconds for which an ended condition is kept, unless others need the room.
pub const MODEL_ALARM_HORIZON_US: i64 = 7 * 86_400 * 1_000_000;
/// Bytes that models keep of a text.
pub const MODEL_TEXT_BYTES_MAX: usize = 256;
/// Names that have a number, see [`crate::models::NameNumbers`].
pub const MODEL_NAMES_MAX: usize = 524_288;
/// Events that are passed to the models at a time.
pub const MODEL_CHUNK_EVENTS: usize = 512;
/// Bytes of a model's name.
pub const MODEL_NAME_BYTES_MAX: usize = 32;
/// Largest number of configured models.
pub const MODELS_MAX: usize = 64;
/// The window of a source's rate, in µs.
pub const MODEL_RATE_WINDOW_US: i64 = 60_000_000;
/// Microseconds that a trusted time may be ahead of its batch's clock, and that clock ahead of the ingest time.
pub const CLOCK_AHEAD_MAX_US: i64 = 600_000_000;
/// Microseconds from the Unix epoch to 2000-01-02: a clock that shows less was never set.
pub const CLOCK_NEVER_SET_BEFORE_US: i64 = 946_771_200_000_000;
/// Events after which a model is saved: a start reads at most these again.
pub const MODEL_SNAPSHOT_EVENTS: u64 = 1_000_000;
/// Longest time without a save of a model that has applied events.
pub const MODEL_SNAPSHOT_EVERY: Duration = Duration::from_secs(60);
/// Snapshots of one model that are kept in each doubling of their age, counted in events.
pub const MODEL_SNAPSHOTS_PER_DOUBLING: u32 = 2;
/// Bytes of a snapshot.
pub const MODEL_SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
/// Models that are recomputed at the same time.
pub const MODEL_REBUILDS_MAX: usize = 2;
/// Simultaneous requests that replay the log: states as of an offset, and their differences.
pub const MODEL_REPLAYS_MAX: usize = 2;
/// Time of one replay: from the nearest snapshot it takes seconds.
pub const REPLAY_TIME_MAX: Duration = Duration::from_secs(60);
/// Simultaneous requests for current states: each is a copy of a model's output.
pub const VIEWS_MAX: usize = 4;
/// Time of one such request.
pub const VIEW_TIME_MAX: Duration = Duration::from_secs(60);
/// What-if plans at the same time.
pub const WHAT_IFS_MAX: usize = 1;
/// Time of one plan.
pub const WHAT_IF_TIME_MAX: Duration = Duration::from_secs(120);
/// Certificates at the same time: each may read the whole log.
pub const CERTIFICATES_MAX: usize = 1;
/// Time of one certificate: some hundred GiB of log, if all of it is read.
pub const CERTIFICATE_TIME_MAX: Duration = Duration::from_secs(600);
/// Requests of one kind that wait for their turn.
pub const COMPUTATIONS_WAITING_MAX: usize = 256;
/// A request waits as long as the previous one may take, and this much longer.
pub const COMPUTATION_WAIT_BEYOND: Duration = Duration::from_secs(10);
/// Largest number of rows of a state in one request.
pub const MODEL_ROWS_MAX: usize = 100_000;
/// Differences between two states that are listed one by one.
pub const MODEL_CHANGES_MAX: usize = 10_000;

/// Bytes of a what-if plan.
pub const PLAN_BYTES_MAX: usize = 64 * 1024;
/// Alternatives in a plan.
pub const PLAN_ALTERNATIVES_MAX: usize = 8;
/// Rules of one alternative.
pub const PLAN_RULES_MAX: usize = 32;
/// Bytes of a rule's condition.
pub const PLAN_CONDITION_BYTES_MAX: usize = 1024;
/// Points of the time line on which alternatives are compared.
pub const PLAN_POINTS: u64 = 32;
/// Differences in each point of the time line.
pub const PLAN_POINT_CHANGES_MAX: usize = 32;

const _: () = {
    assert!(MODEL_NAMES_MAX >= MODEL_SUBJECTS_MAX + MODEL_MACHINES_MAX, "names that are kept have a number");
    assert!(MODEL_CHUNK_EVENTS <= 65_536 && MODEL_CHUNK_EVENTS > 0);
    assert!(PLAN_CONDITION_BYTES_MAX < PLAN_BYTES_MAX);
    let of_breakdowns = MODEL_OVER_BYTES_MAX + MODEL_OPEN_BYTES_MAX + 2 * MODEL_ALARMS_BYTES_MAX;
    let besides = [MODEL_INTERVAL_BYTES_MAX, MODEL_COUNTER_BYTES_MAX, of_breakdowns];
    let mut at = 0;
    while at < besides.len() {
        let of_machine = MODEL_HISTORY_BYTES_MAX + besides[at];
        assert!(of_machine <= 64 << 10, "a model keeps at most 64 KiB of a machine");
        assert!((of_machine * MODEL_MACHINES_MAX) as u64 <= MODEL_SNAPSHOT_BYTES_MAX, "and can save it of all of them");
        at += 1;
    }
    assert!(MODEL_HISTORY_BYTES_MAX >= MODEL_CHUNK_ENTRIES * 32);
};
