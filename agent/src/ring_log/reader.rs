//! Open files and places of the readers, one a stream.

use std::io;

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::ids::{Sequence, Stream};
use afferent_protocol::session::Lane;

use super::pool::{Pool, file_name};
use crate::limits::ring_log::READ_PIECE_BYTES;

/// A reader's position at the beginning of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub lane: Lane,
    pub number: usize,
    pub generation: u64,
    pub position: u64,
    /// The sequence of the batch.
    pub next: Sequence,
}

/// The reader of one stream.
#[derive(Debug)]
pub(super) struct Reader<F> {
    pub file: Option<(usize, F)>,
    /// [`super::pool::Pool::removals`] when it was opened.
    removals: u64,
    pub cursor: Option<Cursor>,
    /// Reads that the disk has refused, one after the other.
    pub failures: u8,
}

impl<F: DiskFile> Reader<F> {
    /// Opens the file with this number, unless it is.
    pub fn open<D: Disk<File = F>>(&mut self, pool: &Pool<D>, number: usize) -> io::Result<()> {
        let is_open = self.file.as_ref().is_some_and(|(open, _)| *open == number) && self.removals == pool.removals;
        if !is_open {
            self.file = None;
            self.file = Some((number, pool.disk.open(&file_name(number))?));
            self.removals = pool.removals;
        }
        Ok(())
    }

    /// The file with this number, which was opened.
    pub fn file(&self, number: usize) -> &F {
        match &self.file {
            Some((open, file)) if *open == number => file,
            _ => panic!("file {number} was not opened for reading"),
        }
    }
}

/// The readers of both streams.
#[derive(Debug)]
pub(super) struct Readers<F>([Reader<F>; 2]);

impl<F> Readers<F> {
    /// Readers without open files.
    pub fn new() -> Self {
        let reader = || Reader { file: None, removals: 0, cursor: None, failures: 0 };
        Self([reader(), reader()])
    }

    /// The reader of the stream.
    pub fn at(&self, stream: Stream) -> &Reader<F> {
        &self.0[usize::from(stream.number())]
    }

    /// The reader of the stream.
    pub fn of(&mut self, stream: Stream) -> &mut Reader<F> {
        &mut self.0[usize::from(stream.number())]
    }

    /// The file is not to be read any more.
    pub fn forget(&mut self, number: usize) {
        for reader in &mut self.0 {
            reader.file.take_if(|(open, _)| *open == number);
            reader.cursor.take_if(|cursor| cursor.number == number);
        }
    }
}

/// Reads what the disk gives, piece by piece; pieces that it refuses are zeros. Gives how many it refused.
pub(super) fn read_pieces(file: &impl DiskFile, buffer: &mut [u8], position: u64) -> usize {
    let mut refused = 0;
    for (index, piece) in buffer.chunks_mut(READ_PIECE_BYTES).enumerate() {
        if file.read_at(piece, position + (index * READ_PIECE_BYTES) as u64).is_err() {
            piece.fill(0);
            refused += 1;
        }
    }
    refused
}
