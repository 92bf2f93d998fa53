//! What happened in a run, line by line: the same seed gives the same bytes.

use std::fmt::{self, Write};

use afferent_protocol::sign::sha256;

/// The text of a run so far.
#[derive(Debug, Default)]
pub struct Trace {
    text: String,
}

impl Trace {
    /// Adds a line.
    pub fn line(&mut self, now_us: u64, what: fmt::Arguments<'_>) {
        writeln!(self.text, "{:>12.6} {what}", now_us as f64 / 1e6).expect("a string takes any text");
    }

    /// All of it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// SHA-256 of all of it, its first eight bytes.
    pub fn hash(&self) -> u64 {
        u64::from_be_bytes(*sha256(self.text.as_bytes()).first_chunk().expect("a hash has 32 bytes"))
    }

    /// The last `count` lines.
    pub fn tail(&self, count: usize) -> &str {
        let start = self.text.rmatch_indices('\n').nth(count).map_or(0, |(at, _)| at + 1);
        &self.text[start..]
    }
}
