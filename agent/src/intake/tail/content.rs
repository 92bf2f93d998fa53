//! The text of an open file, compressed or not.

use std::io;

use super::files::ReadAt;
use super::gzip::{Gzip, MAGIC};
use crate::limits::{FINGERPRINT_BYTES_MAX, LINE_BYTES_MAX};

/// Why a read gave fewer bytes than there was room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It did not: there may be more.
    More,
    /// There is no more for now.
    Now,
    /// There is no more, ever.
    Forever,
    /// A compressed file ends in the middle: it is being written, or was cut.
    CutShort,
    /// A compressed file cannot be read any further.
    Damaged,
}

/// An open file.
pub struct Content<F> {
    file: F,
    gzip: Option<Unpacked>,
}

/// What is read of a compressed file.
struct Unpacked {
    gzip: Gzip,
    /// The last of the text, up to where the reader is: lines are read again from their beginning.
    window: Vec<u8>,
}

impl<F: ReadAt> Content<F> {
    /// A reader of the text in `file`.
    pub fn new(file: F) -> Self {
        Self { file, gzip: None }
    }

    /// The file that is read.
    pub fn file(&self) -> &F {
        &self.file
    }

    /// Whether it is compressed.
    pub fn is_packed(&self) -> io::Result<bool> {
        let mut magic = [0; 2];
        Ok(self.gzip.is_some() || (self.file.read_at(&mut magic, 0)? == 2 && magic == MAGIC))
    }

    /// Reads the text at this byte.
    pub fn read_at(&mut self, out: &mut [u8], at: u64) -> io::Result<(usize, End)> {
        if self.gzip.is_none() && self.is_packed()? {
            self.gzip = Some(Unpacked { gzip: Gzip::new(), window: Vec::new() });
        }
        if let Some(unpacked) = &mut self.gzip {
            return unpacked.read_at(&self.file, out, at);
        }
        let mut len = 0;
        while len < out.len() {
            match self.file.read_at(&mut out[len..], at + len as u64)? {
                0 => return Ok((len, End::Now)),
                count => len += count,
            }
        }
        Ok((len, End::More))
    }

    /// The beginning of the text, for its fingerprint, and why it is no longer.
    pub fn beginning(&mut self) -> io::Result<(Vec<u8>, End)> {
        self.first_bytes(FINGERPRINT_BYTES_MAX)
    }

    /// The first line with its end; `None` while it is not whole, or too long.
    pub fn first_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        let (mut bytes, _) = self.first_bytes(LINE_BYTES_MAX + 1)?;
        let end = memchr::memchr(b'\n', &bytes);
        Ok(end.map(|end| {
            bytes.truncate(end + 1);
            bytes
        }))
    }

    /// Reads the first bytes and leaves the reader of a compressed file where it is.
    fn first_bytes(&mut self, bytes_max: usize) -> io::Result<(Vec<u8>, End)> {
        let mut bytes = vec![0; bytes_max];
        let (len, end) = if self.is_packed()? {
            let mut first = Unpacked { gzip: Gzip::new(), window: Vec::new() };
            first.read_at(&self.file, &mut bytes, 0)?
        } else {
            self.read_at(&mut bytes, 0)?
        };
        bytes.truncate(len);
        Ok((bytes, end))
    }
}

impl Unpacked {
    fn read_at<F: ReadAt>(&mut self, file: &F, out: &mut [u8], at: u64) -> io::Result<(usize, End)> {
        let begins = self.gzip.position() - self.window.len() as u64;
        if at < begins {
            *self = Self { gzip: Gzip::new(), window: Vec::new() };
        }
        let mut end = End::More;
        loop {
            let begins = self.gzip.position() - self.window.len() as u64;
            let skipped = usize::try_from(at - begins).unwrap_or(usize::MAX).min(self.window.len());
            self.window.drain(..skipped);
            if end != End::More || self.window.len() >= out.len() {
                break;
            }
            let len = self.window.len();
            self.window.resize(len + out.len().max(FINGERPRINT_BYTES_MAX), 0);
            let read = self.gzip.read(file, &mut self.window[len..]);
            self.window.truncate(len + read.as_ref().unwrap_or(&0));
            end = match read {
                Ok(0) => End::Forever,
                Ok(_) => End::More,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => End::CutShort,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => End::Damaged,
                Err(error) => return Err(error),
            };
        }
        let count = self.window.len().min(out.len());
        out[..count].copy_from_slice(&self.window[..count]);
        Ok((count, if count == out.len() { End::More } else { end }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intake::tail::gzip::tests::member;

    #[test]
    fn a_compressed_text_reads_as_the_plain_one_wherever_it_is_read() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
        let mut packed = Content::new([member(&text[..5000]), member(&text[5000..])].concat());
        let mut plain = Content::new(text.clone());
        let mut out = [[0; 3000]; 2];
        for at in [0, 10, 2990, 2980, 60_000, 59_000, 0, text.len() as u64 - 7, text.len() as u64] {
            let [one, other] = &mut out;
            let (read, end) = packed.read_at(one, at).unwrap();
            let (expected, _) = plain.read_at(other, at).unwrap();
            assert_eq!(one[..read], other[..expected], "{at}");
            assert_eq!(end, if read == 3000 { End::More } else { End::Forever });
            assert_eq!(packed.beginning().unwrap().0, plain.beginning().unwrap().0);
        }
        assert_eq!(packed.first_line().unwrap().unwrap(), b"0\n");
        assert!(packed.is_packed().unwrap() && !plain.is_packed().unwrap());
    }

    #[test]
    fn a_compressed_file_that_is_being_written_ends_for_now() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
        let whole = member(&text);
        let mut cut = Content::new(whole[..whole.len() / 2].to_vec());
        let mut out = vec![0; text.len() + 1];
        let (read, end) = cut.read_at(&mut out, 0).unwrap();
        assert_eq!((&out[..read], end), (&text[..read], End::CutShort));
        assert!(read > 1000);
    }
}
