//! The records of a CSV file (RFC 4180, as `csv-core` reads it), with bounded memory.

use std::io::{self, BufRead};

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::limits::{COLUMNS_MAX, ROW_BYTES_MAX};

/// Reads record by record.
pub struct Records<R> {
    input: R,
    core: Reader,
    /// The cells of the present record, one behind the other.
    text: Vec<u8>,
    /// Where each of them ends.
    ends: Vec<usize>,
    count: usize,
    read: u64,
}

impl<R: BufRead> Records<R> {
    /// From where `input` stands.
    pub fn new(input: R, delimiter: u8) -> Self {
        let core = ReaderBuilder::new().delimiter(delimiter).build();
        Self { input, core, text: vec![0; 1024], ends: vec![0; 16], count: 0, read: 0 }
    }

    /// Bytes that were read.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Reads the next record: whether there is one, or why it cannot be taken. Empty lines are none.
    pub fn advance(&mut self) -> io::Result<Result<bool, String>> {
        let (mut out, mut cells, mut fault) = (0, 0, None);
        loop {
            let input = self.input.fill_buf()?;
            let (result, taken, written, ended) =
                self.core.read_record(input, &mut self.text[out..], &mut self.ends[cells..]);
            self.input.consume(taken);
            self.read += taken as u64;
            (out, cells) = (out + written, cells + ended);
            match result {
                ReadRecordResult::InputEmpty => {}
                ReadRecordResult::OutputFull if self.text.len() < ROW_BYTES_MAX => {
                    self.text.resize(self.text.len() * 2, 0);
                }
                ReadRecordResult::OutputFull => {
                    fault = Some(format!("it has over {ROW_BYTES_MAX} bytes; is a quote not closed?"));
                    out = 0;
                }
                ReadRecordResult::OutputEndsFull if self.ends.len() < COLUMNS_MAX => {
                    self.ends.resize(self.ends.len() * 2, 0);
                }
                ReadRecordResult::OutputEndsFull => {
                    fault = Some(format!("it has over {COLUMNS_MAX} cells"));
                    cells = 0;
                }
                ReadRecordResult::Record => {
                    self.count = if fault.is_some() { 0 } else { cells };
                    return Ok(fault.map_or_else(|| self.check(), Err));
                }
                ReadRecordResult::End => return Ok(Ok(false)),
            }
        }
    }

    /// Cells of the present record.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The cell `at`; empty where there is none.
    pub fn cell(&self, at: usize) -> &str {
        self.bytes(at).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default()
    }

    /// Lines that the present record goes over, as cells in quotes may.
    pub fn lines(&self) -> usize {
        let end = self.count.checked_sub(1).map_or(0, |last| self.ends[last]);
        1 + memchr::memchr_iter(b'\n', &self.text[..end]).count()
    }

    fn bytes(&self, at: usize) -> Option<&[u8]> {
        let end = *self.ends[..self.count].get(at)?;
        self.text.get(at.checked_sub(1).map_or(0, |before| self.ends[before])..end)
    }

    fn check(&self) -> Result<bool, String> {
        let wrong = (0..self.count).find(|at| self.bytes(*at).is_none_or(|bytes| std::str::from_utf8(bytes).is_err()));
        wrong.map_or(Ok(true), |at| Err(format!("its cell {} is not UTF-8", at + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(text: &[u8]) -> Vec<Result<Vec<String>, String>> {
        let mut records = Records::new(io::BufReader::with_capacity(3, text), b',');
        let mut all = Vec::new();
        loop {
            match records.advance().unwrap() {
                Ok(false) => return all,
                Ok(true) => all.push(Ok((0..records.count()).map(|at| records.cell(at).to_owned()).collect())),
                Err(error) => all.push(Err(error)),
            }
        }
    }

    #[test]
    fn records_are_read_whatever_is_in_their_quotes() {
        let read = records(b"a,\"b,\"\"\n\",c\r\n\n1,,3\nlast, x ");
        assert_eq!(read[0], Ok(vec!["a".to_owned(), "b,\"\n".to_owned(), "c".to_owned()]));
        assert_eq!(read[1], Ok(vec!["1".to_owned(), String::new(), "3".to_owned()]));
        assert_eq!(read[2], Ok(vec!["last".to_owned(), " x ".to_owned()]));
        assert_eq!(read.len(), 3);
    }

    #[test]
    fn memory_is_bounded_and_what_follows_is_read() {
        let long =
            [b"a\n", &vec![b'x'; ROW_BYTES_MAX + 9][..], b"\nb\n", &vec![b','; COLUMNS_MAX][..], b"\nc\n"].concat();
        let read = records(&[&long[..], b"\xC3,\xA9\n"].concat());
        assert!(read[1].as_ref().unwrap_err().contains("quote"), "{:?}", read[1]);
        assert!(read[3].as_ref().unwrap_err().contains("cells"), "{:?}", read[3]);
        assert_eq!(
            read[5],
            Err("its cell 1 is not UTF-8".to_owned()),
            "not even where two halves would be a character"
        );
        let [a, b, c] = [0, 2, 4].map(|at| read[at].clone().unwrap()[0].clone());
        assert_eq!((a.as_str(), b.as_str(), c.as_str()), ("a", "b", "c"));
    }
}
