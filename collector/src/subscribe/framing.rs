//! The framing of events in a page: lines, server-sent events, elements of an array.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use afferent_protocol::ids::Offset;

use crate::log::ReadLog;
use crate::terms::Terms;

/// The framing of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One on every line (NDJSON).
    Lines,
    /// Server-sent events, each with its offset, term and log as `id`.
    ServerSent,
    /// The elements of a JSON array, with commas between them.
    Elements,
}

/// Frames events.
pub(super) struct Framing {
    format: Format,
    /// Events framed so far.
    framed: u64,
    /// The log's terms, and the suffix of ids for a range of offsets; used where ids are rendered.
    terms: Arc<Terms>,
    term_of: (Range<u64>, String),
}

impl Framing {
    pub fn new(format: Format) -> Self {
        Self { format, framed: 0, terms: Arc::default(), term_of: (0..0, String::new()) }
    }

    /// Events framed so far.
    pub fn framed(&self) -> u64 {
        self.framed
    }

    /// Renders ids by the log's current terms.
    pub fn follow_terms(&mut self, log: &dyn ReadLog) {
        if self.format == Format::ServerSent {
            let terms = log.terms();
            if terms != self.terms {
                (self.terms, self.term_of) = (terms, (0..0, String::new()));
            }
        }
    }

    /// Opens the frame of an event.
    pub fn open(&mut self, offset: Offset, out: &mut Vec<u8>) {
        match self.format {
            Format::ServerSent => {
                if !self.term_of.0.contains(&offset.get()) {
                    self.term_of = self.terms.suffix_of(offset);
                }
                write!(out, "id: {offset}{}\ndata: ", self.term_of.1).expect("a growing buffer takes any text");
            }
            Format::Elements if self.framed > 0 => out.extend_from_slice(b",\n"),
            Format::Elements | Format::Lines => {}
        }
    }

    /// Closes the frame that was opened last.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        self.framed += 1;
        out.extend_from_slice(match self.format {
            Format::Lines => b"\n",
            Format::ServerSent => b"\n\n",
            Format::Elements => b"",
        });
    }
}
