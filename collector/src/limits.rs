//! Every limit of the collector, related to each other and to those of the protocol.
//!
//! Nothing that is read from a socket or a file sizes an allocation or a loop before it was held against one of these.

use std::time::Duration;

use afferent_protocol::limits::{
    BATCH_BYTES_MAX, LANES_MAX, MESSAGE_PAYLOAD_BYTES_MAX, SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN,
};
use afferent_protocol::topic::TOPIC_BYTES_MAX;

/// Bytes of a segment of the unified log, unless configured otherwise.
pub const LOG_SEGMENT_BYTES: u64 = 64 << 20;
/// Bytes that one write and its sync cover, at most (but for a single larger entry). What a start makes durable once
/// more, because nobody knows whether the last sync came to its end.
pub const COMMIT_PART_BYTES_MAX: usize = 8 << 20;
/// A writer commits when so many bytes wait, whatever else it has to do.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;
/// The log is attested this long, in µs, after the first batch that no attestation binds.
pub const ATTEST_AFTER_US: u64 = 60_000_000;
/// The log is attested when so many batches are bound by no attestation: what a start keeps of each bounds its memory.
pub const ATTEST_BATCHES_MAX: usize = 65_536;
/// Terms of a log that are known, at most: the newest ones. Each opening of the log begins one.
pub const TERMS_MAX: usize = 4096;
/// Agents whose acknowledgements show that the log was put back, told one by one for each term.
pub const ROLLED_BACK_EVENTS_MAX: usize = 16;
/// Heartbeats that are remembered of each source.
pub const HEARTBEATS_KEPT: usize = 4;
/// Times at which a source found its ring log gone that are remembered: the newest ones.
pub const RINGS_REPLACED_KEPT: usize = 16;
/// Names that a source had before that are remembered.
pub const ALIASES_MAX: usize = 64;
/// Endorsements that are remembered.
pub const ENDORSEMENTS_KEPT: usize = 256;
/// Attestations that could not be appended to the operator's file are tried again so often.
pub const ATTEST_RETRY_EVERY: Duration = Duration::from_secs(30);
/// At the end, a thread that writes elsewhere is looked after so often.
pub const FAREWELL_LOOKS_EVERY: Duration = Duration::from_millis(10);
/// Damaged places of the log that wait to be told.
pub const DAMAGE_WAITING_MAX: usize = 256;
/// Pages at the log's end that followers share.
pub const TAIL_PAGES_MAX: usize = 64;
/// Bytes of these pages; beyond one page.
pub const TAIL_BYTES_MAX: usize = 8 << 20;
/// From so many followers with filters on, all that comes is rendered once, and each takes its own out of it.
pub const TAIL_FILTERED_MIN: usize = 8;
/// A follower that is farther behind the end, in events, reads for itself.
pub const TAIL_EVENTS_MAX: u64 = 100_000;
/// Texts of one kind that a certificate tells, at most.
pub const CERTIFICATE_TEXTS_MAX: usize = 100;
/// Lines of a certificate as people print it: a page.
pub const CERTIFICATE_LINES_MAX: usize = 60;
/// Losses of one lane that a certificate remembers one by one, those that follow each other as one.
pub const CERTIFICATE_LOSSES_MAX: usize = 4096;
/// Statements of one source whose ends have not come that a certificate waits for.
pub const CERTIFICATE_STATEMENTS_MAX: usize = 256;
/// Batches of ring logs that are held against a log.
pub const CERTIFICATE_RING_BATCHES_MAX: usize = 1 << 20;
/// Bytes of a file of attestations, or of a public key.
pub const WITNESS_FILE_BYTES_MAX: u64 = 256 << 20;
/// The sparse index has a point every so many bytes of a segment.
pub const INDEX_EVERY_BYTES: u64 = 64 << 10;
/// Entries of a segment that only attestations in other segments bind: an extract holds their hashes one by one.
pub const EXTRACT_HEAD_ENTRIES_MAX: usize = 65_536;
/// Machines and sources that the index of one segment names; of a segment with more every block is looked at.
pub const INDEX_NAMES_MAX: usize = 65_536;
/// Names of a segment that stay in memory, so that its index need not be loaded where none of them is wanted.
pub const INDEX_NAMES_HELD_MAX: usize = 256;
/// Bytes of points and names that are in memory of finished segments, those that were used last; beyond one segment.
pub const POINTS_CACHE_BYTES: usize = 4 << 20;
/// Finished segments whose points are in memory.
pub const POINTS_CACHE_SEGMENTS_MAX: usize = 64;
/// Bytes of a segment that are read at a time by whoever looks through all of it.
pub const SEGMENT_READ_BYTES: usize = 1 << 20;
/// The log is looked through for segments without an index at most so often.
pub const INDEX_WAKE_EVERY: Duration = Duration::from_secs(1);
/// How far the making of many indexes came is told so often.
pub const INDEX_PROGRESS_EVERY: Duration = Duration::from_secs(10);

/// Retention looks at the log so often. Whenever it removes something, every lane is told anew.
pub const RETENTION_EVERY: Duration = Duration::from_secs(60);

/// By more than this, in µs, the collector's clock may not differ from what attestations and agents say: retention warns.
pub const CLOCK_DIFFERENCE_MAX_US: u64 = 86_400_000_000;

/// Bytes of batches that came before their turn, kept per source.
pub const EARLY_BYTES_MAX: usize = 8 << 20;
/// Batches that came before their turn, kept per source.
pub const EARLY_BATCHES_MAX: usize = 256;
/// Bytes of batches that came before their turn, kept for all sources together.
pub const EARLY_BYTES_TOTAL_MAX: usize = 64 << 20;
/// Bytes of batches that come in pieces and are not whole yet, of all sources together.
pub const PIECES_BYTES_TOTAL_MAX: usize = 64 << 20;
/// Microseconds without a piece after which what there is of a batch makes room for another.
pub const PIECES_IDLE_US: u64 = 60_000_000;
/// Sources that are known, at most.
pub const SOURCES_MAX: usize = 65_536;
/// Of these, names that have proved a key and delivered nothing: those that have been idle longest give way.
pub const NAMES_NEW_MAX: usize = 4096;
/// Names of which nothing but refusals is known: the oldest of them give way.
pub const NAMES_REFUSED_MAX: usize = 1024;
/// New names that one client address can bring at once, unless configured otherwise; behind a broker, all of them together.
pub const NAMES_NEW_OF_ONE: u32 = 1024;
/// After so long it can bring as many once more: between, one after the other.
pub const NAMES_FILL_TIME: Duration = Duration::from_secs(600);
/// Client addresses that are told apart by the names that they have brought; the others share what one can bring.
pub const NAMES_ADDRESSES_MAX: usize = 16_384;
/// New names that may be configured for one client address.
pub const NAMES_NEW_OF_ONE_MAX: u32 = 65_536;
/// Lanes (epochs of both streams) of one source that are known, at most.
pub const SOURCE_LANES_MAX: usize = 4096;
/// Lanes of one source of which nothing has come, at most: the oldest ones give way. Those of as many runs as are answered.
pub const SOURCE_LANES_NEW_MAX: usize = (SESSIONS_PROVED_MAX + SESSIONS_UNPROVED_MAX) * LANES_MAX;
/// Separate ranges that a set of sequences remembers, at most.
pub const RANGES_MAX: usize = 1024;
/// Declared losses of one lane that are remembered one by one; older ones only in the sum.
pub const LOSSES_MAX: usize = 64;
/// A refusal becomes an event at most once in so many microseconds per source and reason.
pub const REFUSED_EVENT_EVERY_US: u64 = 60_000_000;
/// Refusals of all sources that become events within [`REFUSED_EVENT_EVERY_US`].
pub const REFUSED_EVENTS_MAX: usize = 60;
/// Own events that wait for a commit; more are only counted.
pub const NOTICES_MAX: usize = 1024;
/// Runs of one agent that have proved themselves and are remembered: two, where a machine was cloned.
pub const SESSIONS_PROVED_MAX: usize = 4;
/// Runs of one agent that have said hello and not proved themselves, and are answered all the same.
pub const SESSIONS_UNPROVED_MAX: usize = 4;
/// Names that somebody claims and has not proved, and that are answered all the same.
pub const SESSIONS_CLAIMED_MAX: usize = 16_384;
/// A challenge is good for the minute in which it was made and so many more.
pub const CHALLENGE_MINUTES: u64 = 2;
/// Boots of one source whose clocks are measured: two, where a machine was cloned, and those before a restart.
pub const BOOTS_MEASURED_MAX: usize = 4;
/// By so much clocks may drift apart, in parts of a million: ten times what cheap quartz does.
pub const CLOCK_DRIFT_PPM_MAX: u64 = 500;
/// A connected agent whose newest batch came longer ago counts as one that is behind: two heartbeats, and some time to come.
pub const LAG_QUIET_MAX_US: i64 = 150_000_000;
/// Holes of a lane that one hello leads to questions about.
pub const AGAIN_MAX: usize = 4;
/// Questions of agents for a common end that wait to be answered.
pub const QUESTIONS_MAX: usize = 64;
/// A row of codec 1 has at least so many bytes: time, subject, variant and two bytes of body.
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
/// How often it is looked at whether a client's certificate has expired by a clock that was set.
pub const CLOCK_LOOKS_EVERY: Duration = Duration::from_secs(30);
/// Bytes that one read of a socket takes. The buffer is on the stack: an idle connection has none.
pub const READ_BYTES: usize = 64 * 1024;
/// Connections at a time that may be configured.
pub const CONNECTIONS_MAX: u64 = 1_000_000;
/// Open files that the collector needs for itself: log, indexes, models, posted ids, and what is new between two looks.
pub const FILES_OWN: u64 = 128;
/// Open files of one HTTP connection: its socket, and the segment that it reads.
pub const FILES_OF_HTTP_CONNECTION: u64 = 2;
/// Below so many open files the collector does not start.
pub const FILES_MIN: u64 = 256;
/// Connections above the configured number that may be told so at once; those above that are just closed.
pub const REFUSALS_AT_ONCE: usize = 64;
/// The keep-alive that an MQTT 5 client is given when it asks for none, or for a longer one.
pub const KEEP_ALIVE_MAX: Duration = Duration::from_secs(600);
/// A client that asks for no keep-alive may be silent for so long: MQTT lets a server end connections that it finds
/// inactive.
pub const SILENCE_MAX: Duration = Duration::from_secs(900);
/// How long a connection that nobody had to prove may stay without an agent's name; pings do not count.
pub const UNNAMED_MAX: Duration = Duration::from_secs(60);

/// Messages that wait for the writer thread.
pub const INTAKE_MESSAGES_MAX: usize = 4096;
/// Bytes of messages between the sockets and the log; reading stops while there are more.
pub const INTAKE_BYTES_MAX: usize = 64 << 20;
/// Messages that go into one commit.
pub const COMMIT_MESSAGES_MAX: usize = 1024;
/// First and longest wait after a commit that failed.
pub const COMMIT_RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Tries to commit after the collector was told to stop.
pub const COMMIT_TRIES_AT_END: u32 = 3;
/// A writer that has nothing to do looks so often whether an attestation is due, or damage is to be told.
pub const WRITER_LOOKS_EVERY: Duration = Duration::from_secs(5);
/// The picture of the sources that readers get is at most so old.
pub const SNAPSHOT_EVERY: Duration = Duration::from_millis(200);

/// While a part waits to be started again, whether the collector stops is looked at so often.
pub const RESTART_LOOKS_EVERY: Duration = Duration::from_millis(50);
/// A thread that returns too early, without a panic, may follow from the end of another part: that has so long to tell why.
pub const REASON_TIME: Duration = Duration::from_secs(1);
/// After the end of a part that it needs, the collector takes at most so long to end.
pub const EXIT_TIME_MAX: Duration = Duration::from_secs(10);

/// The nice value of threads that follow the log: a tenth of the weight of those that events pass.
pub const FOLLOWER_NICE: i32 = 10;
/// Whoever follows the log and has waited long enough works so long without giving way to commits that are pending.
pub const FOLLOWER_BURST: Duration = Duration::from_millis(2);
/// It looks again so often whether they still are.
pub const FOLLOWER_SLICE: Duration = Duration::from_micros(500);
/// It waits so long in all, then has its next burst: a fifth of the time is its own, however much comes in.
pub const FOLLOWER_WAIT_MAX: Duration = Duration::from_millis(8);

/// Refused names that are remembered, of all kinds.
pub const REFUSED_KEPT_MAX: usize = 256;
/// What repeats is told in the log at most so often.
pub const TELL_EVERY: Duration = Duration::from_secs(60);
/// Warnings about refusals a minute, of all names together.
pub const REFUSED_WARNINGS_MAX: usize = 30;
/// Characters of a name, user or topic that are kept of somebody who was refused.
pub const REFUSED_TEXT_CHARS_MAX: usize = 64;

/// A request that hands something to the writer is answered after so long while commits fail.
pub const WRITE_FAILING_WAIT: Duration = Duration::from_secs(2);
/// It is answered after so long while the disk says nothing at all.
pub const WRITE_SILENT_WAIT: Duration = Duration::from_secs(30);
/// So often it looks whether commits fail.
pub const WRITE_LOOKS_EVERY: Duration = Duration::from_millis(100);

/// Acks and answers that wait for the client of an external broker.
pub const BROKER_DOWN_MAX: usize = 1024;
/// Keep-alive towards the broker.
pub const BROKER_KEEP_ALIVE: Duration = Duration::from_secs(30);
/// A connection to the broker on which nothing happened for so long, not even a ping, hangs.
pub const BROKER_SILENCE_MAX: Duration = Duration::from_secs(75);
/// Seconds from the open socket to the broker's CONNACK.
pub const BROKER_HANDSHAKE_S_MAX: u64 = 15;
/// First and longest wait before the broker is tried again; the wait is drawn between half and all of it.
pub const BROKER_RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));
/// How long the HTTP server's streams may take to end, when the collector does.
pub const HTTP_FAREWELL_MAX: Duration = Duration::from_secs(5);
/// Bytes of a configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// JSON that is rendered before it is handed to a reader's connection: what one reader costs in memory, with the log's
/// bytes under it.
pub const PAGE_BYTES: usize = 512 * 1024;
/// The same while [`PAGES_BYTES_MAX`] are not yet sent.
pub const PAGE_SMALL_BYTES: usize = 32 * 1024;
/// Bytes of each buffer that a reader keeps between the pages of a long answer.
pub const PAGE_BUFFERS_KEPT_BYTES: usize = 1 << 20;
/// Bytes of JSON that is rendered and not yet sent, before pages become small: what readers that stall can hold, beside a
/// small page each.
pub const PAGES_BYTES_MAX: usize = 32 << 20;
/// Pages that are rendered at the same time: enough to keep cores and disk busy, and few enough that the way of an event
/// gets its part of them.
pub const RENDERING_MAX: usize = 8;
/// Bytes of the log that one page looks at, at most: a filter that fits nothing must not hold a thread for long.
pub const PAGE_SCAN_BYTES: usize = 16 << 20;
/// Bytes of a subject pattern, and of any other text in a query.
pub const QUERY_TEXT_BYTES_MAX: usize = 256;
/// Bytes of the log that are read at a time.
pub const LOG_READ_BYTES: usize = 128 * 1024;
/// Types or sources that one filter names.
pub const QUERY_NAMES_MAX: usize = 32;
/// Events that `/v1/events` gives when it is not told otherwise.
pub const EVENTS_DEFAULT: u64 = 1000;
/// Named subscriptions.
pub const SUBSCRIPTIONS_MAX: usize = 1000;
/// Those that one client address has made: others find room beside them. Behind a proxy all clients have one address.
pub const SUBSCRIPTIONS_OF_ONE_MAX: usize = 750;
/// Of these, those that were never moved.
pub const SUBSCRIPTIONS_UNMOVED_OF_ONE_MAX: usize = 250;
/// A subscription that nobody has read for so long since it was made may give way to another one.
pub const SUBSCRIPTION_IDLE_TIME: Duration = Duration::from_secs(60);
/// Names of subscriptions that gave way that are remembered, so that who asks for one learns what became of it.
pub const SUBSCRIPTIONS_GONE_KEPT: usize = 1000;
/// Shares into which the work of one subscription is divided, at most.
pub const SHARES_MAX: u32 = 64;
/// Shares of a subscription when nobody says.
pub const SHARES_DEFAULT: u32 = 16;
/// Members of one subscription at the same time.
pub const MEMBERS_MAX: usize = 64;
/// Bytes of a member's name.
pub const MEMBER_BYTES_MAX: usize = 128;
/// A member that has neither fetched nor committed anything for so long gives way to others.
pub const LEASE_TIME: Duration = Duration::from_secs(30);
/// Seconds that a fetch waits for events, at most.
pub const FETCH_WAIT_S_MAX: u64 = 20;
/// Bytes of a subscription's file.
pub const SUBSCRIPTION_FILE_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of one request that posts events.
pub const POST_BYTES_MAX: usize = 4 << 20;
/// Events of one request that posts events.
pub const POST_EVENTS_MAX: usize = 1000;
/// Bytes of memory for the index of posted events.
pub const POSTED_IDS_CACHE_BYTES: usize = 16 << 20;
/// The index of posted events comes to the disk at least so often; what a crash leaves out is read from the log.
pub const POSTED_IDS_SYNC_EVERY: Duration = Duration::from_secs(10);
/// Up to so many events are an answer that is rendered before it is sent; longer ones are rendered as they are sent.
pub const EVENTS_PAGED_MAX: u64 = 2000;
/// Bytes with which such an answer ends, whatever its limit.
pub const EVENTS_PAGED_BYTES_MAX: usize = 4 << 20;

/// HTTP connections at the same time, with those of the reserve.
pub const HTTP_CONNECTIONS_MAX: usize = 2048;
/// Of so many connections one is in the reserve, where health and metrics are answered while all others are taken.
pub const HTTP_RESERVE_OF: usize = 32;
/// How long a client in the reserve may take for a request's head, and for reading the answer.
pub const HTTP_RESERVE_TIME: Duration = Duration::from_secs(2);
/// The part of all connections outside the reserve that one client address may have: others find room beside it. Behind a
/// proxy all clients have one address, so that it is most of them.
pub const HTTP_CONNECTIONS_OF_ONE: (usize, usize) = (3, 4);
/// The part of them that may be event streams: what asks and goes finds room beside those that stay.
pub const HTTP_STREAMS: (usize, usize) = (3, 4);
/// The part of them that may be event streams of one client address: a thousand followers behind one proxy are served.
pub const HTTP_STREAMS_OF_ONE: (usize, usize) = (5, 8);
/// Answers at the same time that are rendered while they are sent: each holds two pages, as long as its client reads.
pub const HTTP_LONG_ANSWERS_MAX: usize = 48;
/// Those of one client address.
pub const HTTP_LONG_ANSWERS_OF_ONE_MAX: usize = 32;
/// Bytes of bodies at the same time, from the first one that came until the request is answered.
pub const HTTP_BODIES_BYTES_MAX: usize = 64 << 20;
/// Those of one client address: a dozen of the largest posts.
pub const HTTP_BODIES_BYTES_OF_ONE_MAX: usize = 48 << 20;
/// Bytes of a body that is a small document.
pub const HTTP_DOCUMENT_BYTES_MAX: usize = 64 * 1024;
/// How long a client may send nothing of a body that it has begun.
pub const HTTP_BODY_STALL_TIME: Duration = Duration::from_secs(10);
/// Bytes a second of a body that must come, on average: what a line of 9600 baud brings, near enough. One that drips a byte
/// now and then would hold its connection for hours.
pub const HTTP_BODY_BYTES_PER_S_MIN: u64 = 512;
/// How long a body waits for room in the budget, all in all, before it is refused.
pub const HTTP_ROOM_TIME: Duration = Duration::from_secs(2);
/// It looks for room so often.
pub const HTTP_ROOM_LOOKS_EVERY: Duration = Duration::from_millis(20);
/// Of a body that was refused so much is still read and thrown away, so that its sender gets to read why.
pub const HTTP_FAREWELL_BYTES_MAX: usize = 8 << 20;
/// And for so long.
pub const HTTP_FAREWELL_TIME: Duration = Duration::from_secs(1);
/// What was refused is told in health for so long.
pub const REFUSED_RECENT_TIME: Duration = Duration::from_secs(5);
/// For so many milliseconds the allocator keeps what is free, and then gives it back to the system.
pub const MEMORY_KEPT_MS: isize = 1000;
/// A thread on which something may block ends when it had nothing to do for so long: each keeps memory at hand, and a crowd
/// of readers leaves many.
pub const BLOCKING_THREAD_IDLE_TIME: Duration = Duration::from_secs(2);
/// Bytes of one HTTP request's head.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take for a request's head, and how long it may keep a connection that it does not use.
pub const HTTP_HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what is sent to it.
pub const HTTP_STALL_TIME: Duration = Duration::from_secs(60);
/// After so long the clock is looked at again where a time to come is waited for: it may have been set.
pub const CLOCK_LOOK_TIME: Duration = Duration::from_secs(1);
/// A server-sent event stream says something at least this often.
pub const KEEP_ALIVE_TIME: Duration = Duration::from_secs(15);

const _: () = {
    assert!(PACKET_BYTES_MAX as usize > MESSAGE_PAYLOAD_BYTES_MAX + TOPIC_BYTES_MAX + 5);
    assert!(INTAKE_BYTES_MAX >= 2 * PACKET_BYTES_MAX as usize, "any two messages fit between socket and log");
    assert!(COMMIT_BYTES_MAX <= INTAKE_BYTES_MAX);
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

/// Machines that one model keeps. What several sources report of one machine counts once for each of them.
pub const MODEL_MACHINES_MAX: usize = 16_384;
/// Of these so many of one source: a gateway with some thousand machines has room, three quarters are left whatever one
/// source makes up, and the answers about all of them fit the memory that a collector may take. When all is full, every
/// source may have less, see [`crate::models::shares`].
pub const MODEL_MACHINES_OF_ONE_MAX: usize = MODEL_MACHINES_MAX / 4;
/// Subjects whose last value is kept.
pub const MODEL_SUBJECTS_MAX: usize = 262_144;
/// Of these so many of one source: sixteen for each of its machines.
pub const MODEL_SUBJECTS_OF_ONE_MAX: usize = MODEL_SUBJECTS_MAX / 4;
/// Sources that one model keeps: as many as there may be names.
pub const MODEL_SOURCES_MAX: usize = 65_536;
/// What a source reported in one hour is equally idle, in µs: machines that report by turns do not push each other
/// out.
pub const MODEL_IDLE_STEP_US: i64 = 3_600_000_000;
/// Sources that are remembered one by one because something of theirs found no room.
pub const MODEL_NOT_SHOWN_SOURCES_MAX: usize = 64;
/// Of these so many are named in health.
pub const MODEL_NOT_SHOWN_NAMED_MAX: usize = 3;
/// What found no room is said for so long, in µs: what reports once a minute and is not shown is said all the time.
pub const MODEL_NOT_SHOWN_RECENT_US: i64 = 60_000_000;
/// Intervals of one machine that are shown: the newest ones.
pub const MODEL_INTERVALS_MAX: usize = 512;
/// Bytes of reports that a model keeps of each machine, to put late ones where they belong; older ones are in its sums.
pub const MODEL_HISTORY_BYTES_MAX: usize = 24 << 10;
/// For so long, in µs behind the newest event of a machine, a model keeps its reports.
pub const MODEL_HISTORY_US_MAX: i64 = 7 * 86_400_000_000;
/// Reports, or values of a counter, that are packed into one piece of memory.
pub const MODEL_CHUNK_ENTRIES: usize = 128;
/// Bytes of intervals that `states` keeps of each machine: the newest ones.
pub const MODEL_INTERVAL_BYTES_MAX: usize = 32 << 10;
/// Bytes of breakdowns that are over that `breakdowns` keeps of each machine: the newest ones.
pub const MODEL_OVER_BYTES_MAX: usize = 16 << 10;
/// Bytes of alarms that are kept with the breakdowns of one machine that are not over.
pub const MODEL_OPEN_BYTES_MAX: usize = 8 << 10;
/// Bytes of values that `kpi` keeps of the counters of each machine, to put late ones where they belong.
pub const MODEL_COUNTER_BYTES_MAX: usize = 12 << 10;
/// Counters of one machine.
pub const MODEL_COUNTERS_MAX: usize = 16;
/// Parts of one machine that report states of their own.
pub const MODEL_PARTS_MAX: usize = 32;
/// Bytes of reports that a model keeps of all machines while it is made again, and takes them in any order of time.
pub const MODEL_REBUILD_BYTES_MAX: usize = 256 << 20;
/// Patterns in one list of a model's settings.
pub const MODEL_PATTERNS_MAX: usize = 64;
/// Breakdowns of one machine, of different codes, that last at the same time.
pub const MODEL_BROKEN_CODES_MAX: usize = 32;
/// Breakdown episodes that are kept, of all machines together.
pub const MODEL_EPISODES_MAX: usize = 4096;
/// Alarms of one episode that are kept.
pub const MODEL_EPISODE_ALARMS_MAX: usize = 64;
/// Bytes of the active alarms of one machine, and of those that were raised last, that are kept for a breakdown to come.
pub const MODEL_ALARMS_BYTES_MAX: usize = 6 << 10;
/// Labels and notes of one event that are kept: the newest ones.
pub const MODEL_AMENDMENTS_MAX: usize = 16;
/// Events with labels or notes that one model keeps: of each source those that were amended last.
pub const MODEL_AMENDED_MAX: usize = 4096;
/// Conditions of alarms that are kept; see [`crate::models::alarms`] for which.
pub const MODEL_ALARMS_MAX: usize = 16_384;
/// Of these so many of one source: one cause raises some thousand alarms, and most is left whatever one source makes
/// up.
pub const MODEL_ALARMS_OF_ONE_MAX: usize = MODEL_ALARMS_MAX / 4;
/// Conditions more than that, before the least important ones go.
pub const MODEL_ALARMS_BEYOND_MAX: usize = 2048;
/// Raises and clears of one condition that are kept.
pub const MODEL_ALARM_REPORTS_MAX: usize = 32;
/// Microseconds for which a condition that is over is remembered, unless others find no room.
pub const MODEL_ALARM_HORIZON_US: i64 = 7 * 86_400 * 1_000_000;
/// Bytes that models keep of a text.
pub const MODEL_TEXT_BYTES_MAX: usize = 256;
/// Names that have a number, see [`crate::models::Names`].
pub const MODEL_NAMES_MAX: usize = 524_288;
/// Events that go through the models at a time.
pub const MODEL_CHUNK_EVENTS: usize = 512;
/// Bytes of a model's name.
pub const MODEL_NAME_BYTES_MAX: usize = 32;
/// Models that may be configured.
pub const MODELS_MAX: usize = 64;
/// Over how many microseconds a source's rate is taken.
pub const MODEL_RATE_WINDOW_US: i64 = 60_000_000;
/// Microseconds that a time may be ahead of its batch's clock, and that clock of the ingest time, and still be believed.
pub const CLOCK_AHEAD_MAX_US: i64 = 600_000_000;
/// Microseconds since the Unix epoch of 2000-01-02: a clock that shows less was never set.
pub const CLOCK_NEVER_SET_BEFORE_US: i64 = 946_771_200_000_000;
/// A model is saved after so many events: what a start has to read again.
pub const MODEL_SNAPSHOT_EVENTS: u64 = 1_000_000;
/// A model that has seen something is saved at least this often.
pub const MODEL_SNAPSHOT_EVERY: Duration = Duration::from_secs(60);
/// Snapshots of one model that are kept in each doubling of their age, counted in events.
pub const MODEL_SNAPSHOTS_PER_DOUBLING: u32 = 2;
/// Bytes of a snapshot.
pub const MODEL_SNAPSHOT_BYTES_MAX: u64 = 1 << 30;
/// Models that are recomputed at the same time.
pub const MODEL_REBUILDS_MAX: usize = 2;
/// Questions at the same time that replay the log: as of a place, and differences as of one.
pub const MODEL_REPLAYS_MAX: usize = 2;
/// How long one may take: from the nearest snapshot it is seconds.
pub const REPLAY_TIME_MAX: Duration = Duration::from_secs(60);
/// States of now at the same time: each is a copy of what a model shows.
pub const VIEWS_MAX: usize = 4;
/// How long one may take.
pub const VIEW_TIME_MAX: Duration = Duration::from_secs(60);
/// Plans of assumptions at the same time.
pub const WHAT_IFS_MAX: usize = 1;
/// How long one may take.
pub const WHAT_IF_TIME_MAX: Duration = Duration::from_secs(120);
/// Certificates at the same time: each may read the whole log.
pub const CERTIFICATES_MAX: usize = 1;
/// How long one may take: some hundred GiB of log, where it has to be read.
pub const CERTIFICATE_TIME_MAX: Duration = Duration::from_secs(600);
/// Questions of one kind that wait for their turn.
pub const COMPUTATIONS_WAITING_MAX: usize = 256;
/// A question waits as long as the one before it may take, and so much longer.
pub const COMPUTATION_WAIT_BEYOND: Duration = Duration::from_secs(10);
/// Rows of a state that may be asked for at a time.
pub const MODEL_ROWS_MAX: usize = 100_000;
/// Differences between two states that are told one by one.
pub const MODEL_CHANGES_MAX: usize = 10_000;

/// Bytes of a plan of assumptions.
pub const PLAN_BYTES_MAX: usize = 64 * 1024;
/// Alternatives in a plan.
pub const PLAN_ALTERNATIVES_MAX: usize = 8;
/// Rules of one alternative.
pub const PLAN_RULES_MAX: usize = 32;
/// Bytes of a rule's condition.
pub const PLAN_CONDITION_BYTES_MAX: usize = 1024;
/// Points of the time line on which alternatives are compared.
pub const PLAN_POINTS: u64 = 32;
/// Differences that each point of the time line tells.
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
