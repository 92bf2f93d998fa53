//! Every limit of the collector, related to each other.

use std::time::Duration;

/// JSON that is rendered before it is handed to a reader's connection: what one reader costs in memory, with the log's
/// bytes under it.
pub const PAGE_BYTES: usize = 512 * 1024;
/// Bytes of the log that one page looks at, at most: a filter that fits nothing must not hold a thread for long.
pub const PAGE_SCAN_BYTES: usize = 16 << 20;
/// Bytes of a subject pattern, and of any other text in a query.
pub const QUERY_TEXT_BYTES_MAX: usize = 256;
/// Types or sources that one filter names.
pub const QUERY_NAMES_MAX: usize = 32;
/// Events that `/v1/events` gives when it is not told otherwise.
pub const EVENTS_DEFAULT: u64 = 1000;

/// HTTP connections at the same time; those beyond are answered 503 and closed.
pub const HTTP_CONNECTIONS_MAX: usize = 512;
/// Bytes of one HTTP request's head.
pub const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a client may take for a request's head, and how long it may keep a connection that it does not use.
pub const HTTP_HEAD_TIME: Duration = Duration::from_secs(10);
/// How long a client may take nothing of what is sent to it.
pub const HTTP_STALL_TIME: Duration = Duration::from_secs(60);
/// How long connections may go on when the collector stops.
pub const HTTP_STOP_TIME: Duration = Duration::from_secs(3);
/// A server-sent event stream says something at least this often.
pub const KEEP_ALIVE_TIME: Duration = Duration::from_secs(15);
/// A status that the writer has not renewed for this long means that the writer is stuck.
pub const STATUS_AGE_MAX: Duration = Duration::from_secs(30);

const _: () = {
    assert!(PAGE_SCAN_BYTES >= afferent_protocol::limits::BATCH_BYTES_MAX, "a page gets past any one batch");
    assert!(HTTP_HEAD_BYTES_MAX > 8192, "what hyper needs at least");
    assert!(KEEP_ALIVE_TIME.as_secs() < HTTP_STALL_TIME.as_secs());
};
