//! The text of a gzip file (RFC 1952), piece by piece: members one behind the other, each with its checksum and length.
//!
//! Head and trailer are read by hand: `flate2` does it too, and is three times as large in the agent as what it is
//! needed for.

use std::io;

use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZError, MZFlush, MZStatus};

use super::files::ReadAt;
use crate::limits::{GZIP_HEAD_BYTES_MAX, GZIP_READ_BYTES};

/// What every gzip file begins with.
pub const MAGIC: [u8; 2] = [0x1F, 0x8B];

/// Where in a file the reader is.
enum At {
    /// Before a member, or at the file's end.
    Head,
    /// In compressed bytes.
    Body,
    /// Behind a member's compressed bytes.
    Trailer,
    /// All of the text is read.
    End,
}

/// Reads the text of a file from its beginning.
pub struct Gzip {
    at: At,
    /// Compressed bytes of the file that were read.
    read: u64,
    /// Of them, what was not used yet.
    input: Vec<u8>,
    inflate: Box<InflateState>,
    /// Bytes of text so far, of all members.
    position: u64,
    crc: u32,
    /// Bytes of this member.
    len: u32,
}

impl Default for Gzip {
    fn default() -> Self {
        Self::new()
    }
}

impl Gzip {
    /// A reader that has read nothing.
    pub fn new() -> Self {
        let (at, input) = (At::Head, Vec::new());
        Self { at, read: 0, input, inflate: raw(), position: 0, crc: !0, len: 0 }
    }

    /// Bytes of text that were read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Reads on: 0 at the end of the text. [`io::ErrorKind::UnexpectedEof`] where the file ends in the middle, as one
    /// does
    /// that is being written; [`io::ErrorKind::InvalidData`] where it is no gzip file any more.
    pub fn read<F: ReadAt>(&mut self, file: &F, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.at {
                At::End => return Ok(0),
                At::Head => self.head(file)?,
                At::Trailer => self.trailer(file)?,
                At::Body => {
                    let written = self.body(file, out)?;
                    if written > 0 {
                        return Ok(written);
                    }
                }
            }
        }
    }

    fn body<F: ReadAt>(&mut self, file: &F, out: &mut [u8]) -> io::Result<usize> {
        let is_at_end = self.input.is_empty() && !self.fill(file)?;
        let done = inflate(&mut self.inflate, &self.input, out, MZFlush::None);
        self.input.drain(..done.bytes_consumed);
        let written = &out[..done.bytes_written];
        self.crc = written.iter().fold(self.crc, |crc, byte| crc32(crc, *byte));
        self.len = self.len.wrapping_add(written.len() as u32);
        self.position += written.len() as u64;
        match done.status {
            Ok(MZStatus::StreamEnd) => self.at = At::Trailer,
            Ok(_) | Err(MZError::Buf) if is_at_end && written.is_empty() => return Err(cut_short()),
            Ok(_) | Err(MZError::Buf) => {}
            Err(_) => return Err(damaged("its compressed bytes are damaged")),
        }
        Ok(done.bytes_written)
    }

    fn head<F: ReadAt>(&mut self, file: &F) -> io::Result<()> {
        loop {
            match head_len(&self.input) {
                Head::Whole(len) => {
                    self.input.drain(..len);
                    (self.at, self.inflate, self.crc, self.len) = (At::Body, raw(), !0, 0);
                    return Ok(());
                }
                Head::None => return Err(damaged("no gzip member begins where one is expected")),
                Head::More if self.input.len() > GZIP_HEAD_BYTES_MAX => return Err(damaged("its header is too long")),
                Head::More if self.fill(file)? => {}
                Head::More if self.input.is_empty() && self.read > 0 => {
                    self.at = At::End;
                    return Ok(());
                }
                Head::More => return Err(cut_short()),
            }
        }
    }

    fn trailer<F: ReadAt>(&mut self, file: &F) -> io::Result<()> {
        while self.input.len() < 8 {
            if !self.fill(file)? {
                return Err(cut_short());
            }
        }
        let word = |at: usize| u32::from_le_bytes(self.input[at..at + 4].try_into().expect("four bytes"));
        if (word(0), word(4)) != (!self.crc, self.len) {
            return Err(damaged("its checksum is wrong"));
        }
        self.input.drain(..8);
        self.at = At::Head;
        Ok(())
    }

    /// Reads more of the file; whether there was more.
    fn fill<F: ReadAt>(&mut self, file: &F) -> io::Result<bool> {
        let len = self.input.len();
        self.input.resize(len + GZIP_READ_BYTES, 0);
        let read = file.read_at(&mut self.input[len..], self.read);
        let count = *read.as_ref().unwrap_or(&0);
        self.input.truncate(len + count);
        self.read += count as u64;
        read.map(|count| count > 0)
    }
}

fn raw() -> Box<InflateState> {
    InflateState::new_boxed(DataFormat::Raw)
}

fn cut_short() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

enum Head {
    Whole(usize),
    /// More bytes are needed.
    More,
    None,
}

/// How long a member's head is that begins here.
fn head_len(bytes: &[u8]) -> Head {
    let known = bytes.len().min(3);
    if bytes[..known] != [MAGIC[0], MAGIC[1], 8][..known] {
        return Head::None;
    }
    let Some(flags) = bytes.get(3).filter(|_| bytes.len() >= 10) else { return Head::More };
    let mut end = 10;
    if flags & 4 != 0 {
        let Some(len) = bytes.get(end..end + 2) else { return Head::More };
        end += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    for text in [8, 16] {
        if flags & text != 0 {
            let Some(len) = bytes.get(end..).and_then(|rest| memchr::memchr(0, rest)) else { return Head::More };
            end += len + 1;
        }
    }
    if flags & 2 != 0 {
        end += 2;
    }
    if bytes.len() < end { Head::More } else { Head::Whole(end) }
}

/// One byte more of a CRC-32 (ISO 3309), by halves of it.
fn crc32(crc: u32, byte: u8) -> u32 {
    const TABLE: [u32; 16] = {
        let (mut table, mut at) = ([0; 16], 0);
        while at < 16 {
            let (mut crc, mut bit) = (at as u32, 0);
            while bit < 4 {
                crc = crc >> 1 ^ if crc & 1 == 1 { 0xEDB8_8320 } else { 0 };
                bit += 1;
            }
            table[at] = crc;
            at += 1;
        }
        table
    };
    let crc = crc ^ u32::from(byte);
    let crc = crc >> 4 ^ TABLE[(crc & 15) as usize];
    crc >> 4 ^ TABLE[(crc & 15) as usize]
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A gzip member with a text.
    pub fn member(text: &[u8]) -> Vec<u8> {
        let crc = !text.iter().fold(!0, |crc, byte| crc32(crc, *byte));
        let mut bytes = vec![0x1F, 0x8B, 8, 8, 0, 0, 0, 0, 0, 3];
        bytes.extend(b"a.log\0");
        bytes.extend(miniz_oxide::deflate::compress_to_vec(text, 6));
        bytes.extend(crc.to_le_bytes());
        bytes.extend((text.len() as u32).to_le_bytes());
        bytes
    }

    fn read_all(bytes: &[u8]) -> (Vec<u8>, io::Result<()>) {
        let (mut gzip, mut text, mut out) = (Gzip::new(), vec![], [0; 700]);
        loop {
            match gzip.read(&bytes.to_vec(), &mut out) {
                Ok(0) => return (text, Ok(())),
                Ok(count) => text.extend(&out[..count]),
                Err(error) => return (text, Err(error)),
            }
            assert_eq!(gzip.position(), text.len() as u64);
        }
    }

    #[test]
    fn members_are_read_one_behind_the_other() {
        let text: Vec<u8> = (0..50_000_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        let bytes = [member(&text), member(b""), member(b"end\n")].concat();
        let (read, end) = read_all(&bytes);
        end.unwrap();
        assert_eq!(read, [&text[..], b"end\n"].concat());
    }

    #[test]
    fn what_is_cut_short_is_told_from_what_is_damaged() {
        let text: Vec<u8> = (0..9_000_u32).flat_map(|number| number.to_string().into_bytes()).collect();
        let whole = member(&text);
        for len in (0..whole.len()).step_by(97) {
            let (read, end) = read_all(&whole[..len]);
            assert!(text.starts_with(&read));
            assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "{len}");
        }
        let mut wrong = whole.clone();
        let at = wrong.len() - 7;
        wrong[at] ^= 1;
        assert_eq!(read_all(&wrong).1.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read_all(b"no gzip at all").1.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(!b"123456789".iter().fold(!0, |crc, byte| crc32(crc, *byte)), 0xCBF4_3926);
    }

    #[test]
    fn what_the_systems_gzip_writes_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.log");
        std::fs::write(&path, "one\ntwo\n".repeat(5000)).unwrap();
        assert!(std::process::Command::new("gzip").arg(&path).status().unwrap().success());
        let (read, end) = read_all(&std::fs::read(directory.path().join("a.log.gz")).unwrap());
        end.unwrap();
        assert_eq!(read, "one\ntwo\n".repeat(5000).into_bytes());
    }
}
