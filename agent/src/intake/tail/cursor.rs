//! How far each file is read: what is in the table of files, and how it is put together again after a start.
//!
//! Lines lead to events of both streams, and the streams are written one by one. So a cursor has an end for each: all
//! lines before it whose events are in that stream are in the ring log. After a start the file is read from the smaller
//! end, and of what is read again only the events of the other stream are left out. A table has for its own stream what
//! is in its batch, and of the other one what was on disk by then.
//!
//! Both ends count in the text, not in the file, and the greater of the ends that two tables have for a stream is right
//! even where one of them has the text in a different file. But a copy may be shorter than what was read of its
//! original: an end from the time of the original goes no further than the copy does ([`FileCursor::was_elsewhere`]).

use std::path::PathBuf;

use afferent_protocol::event::{FilePlace, FilePlaces};
use afferent_protocol::ids::{SourceId, Stream, Timestamp};
use afferent_protocol::limits::{FOLLOWED_BYTES_MAX, FOLLOWED_FILES_MAX, FOLLOWED_NAME_BYTES_MAX};

use super::files::{FileId, Seen};
use super::fingerprint::Fingerprint;
use crate::intake::sink::{Commits, Ticket};
use crate::limits::FINGERPRINT_BYTES_MAX;
use crate::ring_log::FollowedFiles;

/// The cursor in one followed file.
#[derive(Clone, Debug)]
pub struct FileCursor {
    /// The file's number in the tables.
    pub number: u64,
    /// The inode that holds its text.
    pub id: FileId,
    /// The fingerprint that identifies the text.
    pub print: Fingerprint,
    /// Whether it was read to its end and is not written any more.
    pub is_finished: bool,
    /// The last part of the path at which it was found first.
    pub name: String,
    /// By stream: the lines before this are taken.
    taken: [u64; 2],
    /// By stream: the lines before this are on disk.
    durable: [u64; 2],
    /// By stream: the commit of the last line, until it is on disk.
    tickets: [Option<Ticket>; 2],
    /// The end of the last line that was taken.
    pub position: u64,
    /// How far a line was looked through that is too long; otherwise the position.
    pub scanned: u64,
    /// Where it is, or was last.
    pub path: PathBuf,
    /// Its length when it was last looked at.
    pub bytes: u64,
    /// When it was last written then.
    pub written_us: i64,
    /// Whether it was seen in this run.
    pub was_seen: bool,
    /// Whether something may be there to read.
    pub may_have_more: bool,
    /// When it was first seen like this, or was found to be gone.
    pub since_ms: u64,
    /// Whether no path that is followed leads to it any more.
    pub is_missing: bool,
    /// Whether the end of its text was reached that does not move: that of a compressed file.
    pub has_ended: bool,
    /// Whether it is compressed: then its length is not that of its text.
    pub is_packed: bool,
    /// Whether it is compressed and ends in the middle.
    pub is_cut_short: bool,
    /// Whether it is gone for so long that its last line is taken without an end.
    pub is_last_read: bool,
    /// Whether its ends come in part from a table that has its text in a different file. More may have been read there
    /// than this one holds, and how much it holds is known when it is seen.
    pub was_elsewhere: bool,
    /// The first line, where lines are read by it.
    pub head: Option<Vec<u8>>,
}

impl FileCursor {
    /// The cursor of a new file, at its beginning.
    pub fn new(number: u64, seen: &Seen) -> Self {
        let name = seen.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name[..name.floor_char_boundary(FOLLOWED_NAME_BYTES_MAX)].to_owned();
        let cursor = FilePlace {
            number,
            device: 0,
            inode: 0,
            born_us: 0,
            known: 0,
            fingerprint: [0; 8],
            end: 0,
            other_end: 0,
            is_finished: false,
            name: &name,
        };
        let mut cursor = Self::of(&cursor);
        cursor.lies_at(seen);
        cursor
    }

    fn of(cursor: &FilePlace<'_>) -> Self {
        let known = usize::try_from(cursor.known).unwrap_or(FINGERPRINT_BYTES_MAX).min(FINGERPRINT_BYTES_MAX);
        Self {
            number: cursor.number,
            id: FileId { device: cursor.device, inode: cursor.inode, born_us: cursor.born_us },
            print: Fingerprint { known, hash: cursor.fingerprint },
            is_finished: cursor.is_finished,
            name: cursor.name.to_owned(),
            taken: [0; 2],
            durable: [0; 2],
            tickets: [None; 2],
            position: 0,
            scanned: 0,
            path: PathBuf::from(cursor.name),
            bytes: 0,
            written_us: 0,
            was_seen: false,
            may_have_more: false,
            since_ms: 0,
            is_missing: false,
            has_ended: false,
            is_packed: false,
            is_cut_short: false,
            is_last_read: false,
            was_elsewhere: false,
            head: None,
        }
    }

    /// Moves the cursor to the file that holds its text now.
    pub fn lies_at(&mut self, seen: &Seen) {
        self.id = seen.stat.id;
        self.path.clone_from(&seen.path);
        (self.bytes, self.written_us) = (seen.stat.bytes, seen.stat.written_us);
        (self.was_seen, self.may_have_more, self.is_missing) = (true, true, false);
        (self.has_ended, self.is_cut_short, self.is_last_read) = (false, false, false);
    }

    /// Whether it has a different name than at first: what is written next goes to a different file.
    pub fn is_rotated(&self) -> bool {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name[..name.floor_char_boundary(FOLLOWED_NAME_BYTES_MAX)] != self.name
    }

    /// Whether all that was seen of it is read and on disk.
    pub fn is_at_rest(&self) -> bool {
        let is_read = self.has_ended || (!self.is_packed && self.position >= self.bytes);
        is_read && !self.may_have_more && self.tickets == [None; 2]
    }

    /// Lines of a stream that end here or before are in the ring log.
    pub fn taken(&self) -> [u64; 2] {
        self.taken
    }

    /// Starts at this position.
    pub fn begin_at(&mut self, position: u64) {
        (self.position, self.scanned) = (position, position);
        (self.taken, self.durable) = ([position; 2], [position; 2]);
    }

    /// Limits the cursor to the end of the text.
    pub fn ends_at(&mut self, end: u64) {
        (self.position, self.scanned) = (self.position.min(end), self.scanned.min(end));
        (self.taken, self.durable) =
            (self.taken.map(|taken| taken.min(end)), self.durable.map(|durable| durable.min(end)));
    }

    /// Events of lines up to `end` were accepted in this stream.
    pub fn pushed(&mut self, stream: Stream, end: u64, ticket: Ticket) {
        let at = usize::from(stream.number());
        self.tickets[at] = Some(ticket);
        self.taken[at] = self.taken[at].max(end);
    }

    /// All lines up to `end` are done.
    pub fn passed(&mut self, end: u64) {
        assert!(end >= self.position, "lines of a file are taken in their order");
        self.taken = self.taken.map(|taken| taken.max(end));
        (self.position, self.scanned) = (end, end);
    }

    fn refresh(&mut self, commits: &Commits) {
        for at in 0..2 {
            if self.tickets[at].is_none_or(|ticket| ticket.is_durable(commits)) {
                self.tickets[at] = None;
                self.durable[at] = self.taken[at];
            }
        }
    }
}

/// Lines that are about to be taken into a stream.
#[derive(Clone, Copy, Debug)]
pub struct Move {
    /// The cursor.
    pub number: u64,
    /// The end of the last of them.
    pub end: u64,
    /// Whether events of these lines go to the other stream as well, later.
    pub other_follows: bool,
}

/// The cursors of all files of an input.
#[derive(Clone, Debug, Default)]
pub struct FileCursors {
    /// The files.
    pub all: Vec<FileCursor>,
    /// What is not among them and was last written then or before counts as read.
    pub horizon_us: i64,
    /// Numbers that were given, to tables and cursors.
    counter: u64,
    /// Whether the tables lack something that is known and is worth a table without lines.
    pub is_unsaid: bool,
}

impl FileCursors {
    /// As the newest tables of both streams have them; `None` where there are none.
    pub fn restore(tables: [Option<FollowedFiles>; 2], tickets: [Ticket; 2]) -> Option<Self> {
        let number = |at: usize| tables[at].as_ref().map(|table| table.number);
        let newest = if number(0) >= number(1) { 0 } else { 1 };
        let table = tables[newest].as_ref()?;
        let other = tables[1 - newest].as_ref();
        let others = other.map_or(FilePlaces::default(), |other| FilePlaces::from_bytes(&other.places));
        let all = FilePlaces::from_bytes(&table.places).iter().map(|row| {
            let mut cursor = FileCursor::of(&row);
            let other = others.iter().find(|other| other.number == row.number);
            let (end, other_end) = other.map_or((0, 0), |other| (other.end, other.other_end));
            cursor.taken[newest] = row.end.max(other_end);
            cursor.taken[1 - newest] = row.other_end.max(end);
            cursor.durable[newest] = other_end;
            cursor.durable[1 - newest] = row.other_end;
            cursor.tickets = tickets.map(Some);
            cursor.position = cursor.taken[0].min(cursor.taken[1]);
            cursor.scanned = cursor.position;
            cursor.was_elsewhere = other.is_some_and(|other| FileCursor::of(&other).id != cursor.id);
            cursor
        });
        let counter = number(0).max(number(1)).unwrap_or(0);
        let (all, horizon_us) = (all.collect(), table.horizon.micros());
        Some(Self { all, horizon_us, counter, is_unsaid: false })
    }

    /// A number that was not given before.
    pub fn next_number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// The cursor of this number.
    pub fn get_mut(&mut self, number: u64) -> Option<&mut FileCursor> {
        self.all.iter_mut().find(|cursor| cursor.number == number)
    }

    /// Records what is on disk by now.
    pub fn refresh(&mut self, commits: &Commits) {
        self.all.iter_mut().for_each(|cursor| cursor.refresh(commits));
    }

    /// The table for a batch of the stream that takes these lines, or none.
    pub fn table(
        &mut self,
        agent: SourceId,
        input: &str,
        time: Timestamp,
        stream: Stream,
        lines: Option<Move>,
    ) -> FollowedFiles {
        assert!(self.all.len() <= FOLLOWED_FILES_MAX, "there are no more files than a table has room for");
        let own = usize::from(stream.number());
        let rows: Vec<_> = self.all.iter().map(|cursor| row(cursor, own, lines)).collect();
        let mut bytes = [0; FOLLOWED_BYTES_MAX];
        let places = FilePlaces::write(&rows, &mut bytes).expect("names and numbers of files are within the limits");
        let places = places.bytes().to_vec();
        let (number, horizon) = (self.next_number(), Timestamp::clamped(self.horizon_us));
        FollowedFiles { agent, input: input.to_owned(), number, time, horizon, places }
    }
}

fn row(cursor: &FileCursor, own: usize, lines: Option<Move>) -> FilePlace<'_> {
    let other = 1 - own;
    let (end, other_end) = match lines.filter(|lines| lines.number == cursor.number) {
        Some(lines) if lines.other_follows || cursor.tickets[other].is_some() => (lines.end, cursor.durable[other]),
        Some(lines) => (lines.end, lines.end),
        None => (cursor.taken[own], cursor.durable[other]),
    };
    FilePlace {
        number: cursor.number,
        device: cursor.id.device,
        inode: cursor.id.inode,
        born_us: cursor.id.born_us,
        known: cursor.print.known as u64,
        fingerprint: cursor.print.hash,
        end,
        other_end,
        is_finished: cursor.is_finished,
        name: &cursor.name,
    }
}
