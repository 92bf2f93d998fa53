//! Every limit of this crate.

use std::time::Duration;

/// Bytes of one secret.
pub const SECRET_BYTES_MAX: u64 = 64 * 1024;
/// Bytes of a lock's file that are read: room for a process id.
pub const HOLDER_BYTES_MAX: u64 = 32;

/// Microseconds that reading two clocks one after the other may take, before they are read again.
pub const CLOCK_READ_US_MAX: u64 = 1_000;
/// How often the clocks are read for one reading.
pub const CLOCK_READS_MAX: u32 = 4;

/// First and longest wait before a task or thread that has ended is started again.
pub const RESTART_WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// After so long what was started again counts as well.
pub const RESTART_SETTLED: Duration = Duration::from_secs(5);

const _: () = {
    // The longest process id and a line end.
    assert!(HOLDER_BYTES_MAX > 11);
    assert!(CLOCK_READS_MAX > 1);
    assert!(RESTART_WAIT.0.as_millis() <= RESTART_WAIT.1.as_millis() && RESTART_WAIT.0.as_millis() > 0);
    // A file is read into memory as a whole, and one byte further to see that it is too large.
    assert!(SECRET_BYTES_MAX < u64::MAX && SECRET_BYTES_MAX <= 1 << 20);
};
