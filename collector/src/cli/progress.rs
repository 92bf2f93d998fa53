//! How far reading came, on standard error and only where a person watches.

use std::cell::Cell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// A new figure is shown at most this often.
const EVERY: Duration = Duration::from_millis(200);

/// How far reading came.
#[derive(Debug)]
pub struct ProgressLine {
    what: &'static str,
    watched: bool,
    expected: Cell<u64>,
    done: Cell<u64>,
    shown: Cell<Instant>,
}

impl ProgressLine {
    /// Of `what` is being done, as `verifying`.
    pub fn new(what: &'static str) -> Self {
        let watched = std::io::stderr().is_terminal();
        Self { what, watched, expected: Cell::new(0), done: Cell::new(0), shown: Cell::new(Instant::now()) }
    }

    /// How many bytes there are.
    pub fn expect(&self, bytes: u64) {
        self.expected.set(bytes);
    }

    /// So many more were read.
    pub fn came_on(&self, bytes: u64) {
        self.done.set(self.done.get() + bytes);
        if !self.watched || self.shown.get().elapsed() < EVERY {
            return;
        }
        self.shown.set(Instant::now());
        // What is read twice does not count beyond the whole.
        let done = self.done.get().min(self.expected.get());
        let percent = (done * 100).checked_div(self.expected.get()).unwrap_or(100);
        let text = format!("{} {percent:3} %  {} of {}", self.what, size(done), size(self.expected.get()));
        let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
    }

    /// Wipes the figure away, before something else is written.
    pub fn clear(&self) {
        if self.watched {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Bytes in the unit in which they are a short number.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}
