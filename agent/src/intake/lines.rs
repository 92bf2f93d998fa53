//! Bytes to lines: a growing buffer that is read into at its end and gives whole lines from its start.

use crate::limits::{LINE_BYTES_MAX, READ_BYTES_MAX, READ_BYTES_MIN};

/// What is between two line ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A line, without its end.
    Whole(&'a [u8]),
    /// A line over the limit; its bytes are dropped as they come.
    TooLong,
}

/// Takes bytes as they come and cuts them into lines.
#[derive(Debug)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    searched: usize,
    dropping: bool,
}

impl Default for LineBuffer {
    fn default() -> Self {
        Self { bytes: vec![0; READ_BYTES_MIN], start: 0, end: 0, searched: 0, dropping: false }
    }
}

impl LineBuffer {
    /// Where the next bytes go; never empty once [`LineBuffer::next_line`] gave `None`. Tell with
    /// [`LineBuffer::filled`] how many came.
    pub fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.searched -= self.start;
            self.start = 0;
        }
        if self.end == self.bytes.len() && self.bytes.len() < READ_BYTES_MAX {
            self.bytes.resize((self.bytes.len() * 4).min(READ_BYTES_MAX), 0);
        }
        assert!(self.searched <= self.end, "only bytes that have come are searched");
        &mut self.bytes[self.end..]
    }

    /// `count` bytes were put into [`LineBuffer::space`].
    pub fn filled(&mut self, count: usize) {
        self.end += count;
        assert!(self.end <= self.bytes.len(), "more bytes than there was space for");
        if self.end == self.bytes.len() && self.bytes.len() < READ_BYTES_MAX {
            // A reader that fills the buffer has more: fewer and larger reads from now on.
            self.bytes.resize((self.bytes.len() * 4).min(READ_BYTES_MAX), 0);
        }
    }

    /// The next line, or `None` when more bytes are needed.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        match memchr::memchr(b'\n', &self.bytes[self.searched..self.end]) {
            Some(at) => {
                let (from, to) = (self.start, self.searched + at);
                self.start = to + 1;
                self.searched = self.start;
                if std::mem::take(&mut self.dropping) || to - from > LINE_BYTES_MAX + 1 {
                    return Some(Line::TooLong);
                }
                Some(Line::Whole(without_return(&self.bytes[from..to])))
            }
            None => {
                self.searched = self.end;
                if self.dropping || self.end - self.start > LINE_BYTES_MAX + 1 {
                    self.dropping = true;
                    self.start = self.end;
                }
                None
            }
        }
    }

    /// What is behind the last line end, once no more bytes come.
    pub fn last_line(&mut self) -> Option<Line<'_>> {
        let rest = self.start..std::mem::replace(&mut self.end, self.start);
        self.searched = self.start;
        if std::mem::take(&mut self.dropping) {
            return Some(Line::TooLong);
        }
        (!rest.is_empty()).then(|| Line::Whole(without_return(&self.bytes[rest])))
    }

    /// Whether it has grown, so that [`LineBuffer::shrink`] would give memory back.
    pub fn is_large(&self) -> bool {
        self.start == self.end && self.bytes.len() > READ_BYTES_MIN
    }

    /// Gives memory back when nothing is held: for a connection that waits.
    pub fn shrink(&mut self) {
        if self.is_large() {
            let dropping = self.dropping;
            *self = Self { dropping, ..Self::default() };
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn feed(buffer: &mut LineBuffer, mut bytes: &[u8], chunk: usize, out: &mut Vec<Option<Vec<u8>>>) {
        let mut take = |line: Line<'_>| {
            out.push(match line {
                Line::Whole(line) => Some(line.to_vec()),
                Line::TooLong => None,
            });
        };
        while !bytes.is_empty() {
            let space = buffer.space();
            let count = chunk.min(space.len()).min(bytes.len());
            assert!(count > 0, "no space although no whole line is held");
            space[..count].copy_from_slice(&bytes[..count]);
            buffer.filled(count);
            bytes = &bytes[count..];
            while let Some(line) = buffer.next_line() {
                take(line);
            }
        }
        if let Some(line) = buffer.last_line() {
            take(line);
        }
    }

    fn lines(bytes: &[u8], chunk: usize) -> Vec<Option<Vec<u8>>> {
        let mut out = vec![];
        feed(&mut LineBuffer::default(), bytes, chunk, &mut out);
        out
    }

    #[test]
    fn lines_come_out_whole_whatever_the_chunks() {
        for chunk in [1, 2, 3, 100] {
            let found = lines(b"ab\r\n\nc\nd", chunk);
            assert_eq!(found, [&b"ab"[..], b"", b"c", b"d"].map(|line| Some(line.to_vec())));
        }
    }

    #[test]
    fn a_line_at_the_limit_is_whole_and_one_over_it_is_dropped_without_the_next() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX];
        bytes.extend(b"\r\n");
        bytes.extend(vec![b'y'; LINE_BYTES_MAX + 2]);
        bytes.extend(b"\nnext\n");
        bytes.extend(vec![b'z'; 10 * READ_BYTES_MAX]);
        for chunk in [1000, 4096, usize::MAX] {
            let found = lines(&bytes, chunk);
            assert_eq!(found.len(), 4);
            assert_eq!(found[0].as_ref().map(Vec::len), Some(LINE_BYTES_MAX));
            assert_eq!((&found[1], &found[3]), (&None, &None));
            assert_eq!(found[2].as_deref(), Some(&b"next"[..]));
        }
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let mut buffer = LineBuffer::default();
        feed(&mut buffer, &vec![b'z'; 10 * READ_BYTES_MAX], usize::MAX, &mut vec![]);
        assert_eq!(buffer.bytes.len(), READ_BYTES_MAX);
        buffer.shrink();
        assert_eq!(buffer.bytes.len(), READ_BYTES_MIN);
    }

    proptest! {
        #[test]
        fn it_agrees_with_split(text in "[ab\\n]{0,300}", chunk in 1_usize..20) {
            let mut expected: Vec<_> = text.split('\n').map(|line| Some(line.as_bytes().to_vec())).collect();
            if text.is_empty() || text.ends_with('\n') {
                expected.pop();
            }
            prop_assert_eq!(lines(text.as_bytes(), chunk), expected);
        }
    }
}
