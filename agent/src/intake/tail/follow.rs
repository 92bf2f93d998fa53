//! What becomes of files while they are followed: a state machine over [`Files`], driven with times from outside.
//!
//! [`Follower::look`] finds out which files are there; [`Follower::next`] reads on in one of them. A file is known by
//! its inode and by its [`Fingerprint`]; together they decide:
//!
//! | inode | beginning | it is |
//! |---|---|---|
//! | known | as before | the same file, grown or renamed |
//! | known | different, or the file is shorter than what was read | truncated and rewritten |
//! | new | that of a file that is there, and not longer, or compressed | a copy that is being made: it waits |
//! | new | that of a file that is there, for 1024 bytes, and longer | what that is a copy of: it is followed in its place |
//! | new | that of a file that is gone or was truncated | its copy: it is read on where that file was left |
//! | new | different | a new file, read from its beginning |
//!
//! Files are read oldest first, each to its end before the next one. A file that is gone and still open is read to its
//! end too. What can be known to be unread when a file is truncated or gone is declared ([`Unread`]).

use std::io;
use std::path::PathBuf;

use afferent_protocol::limits::FOLLOWED_FILES_MAX;

use super::content::{Content, End};
use super::cursor::{FileCursor, FileCursors};
use super::files::{FileId, Files, ReadAt, Seen};
use super::fingerprint::Fingerprint;
use crate::limits::{
    FINGERPRINT_BYTES_MAX, LINE_BYTES_MAX, OPEN_FILES_MAX, TAIL_DAMAGED_MS, TAIL_GONE_MS, TAIL_SETTLED_US,
};

/// The time, twice.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds of a clock that only goes forward.
    pub ms: u64,
    /// Microseconds since 1970.
    pub wall_us: i64,
}

/// What of a file is gone before it was read, or perhaps is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Path of the file.
    pub path: PathBuf,
    /// How far it was read.
    pub from: u64,
    /// So many bytes behind that are gone at least.
    pub bytes_least: u64,
    /// Why the rest was not read.
    pub reason: String,
}

/// Lines that were read from a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The cursor's number.
    pub number: u64,
    /// Path of the file.
    pub path: PathBuf,
    /// Where the first of these lines begins.
    pub start: u64,
    /// Where the last one ends.
    pub end: u64,
    /// The lines with their ends; only the last one of a file may have none. Empty for a line over the limit.
    pub bytes: Vec<u8>,
    /// The first line of the file, where it was asked for.
    pub head: Option<Vec<u8>>,
    /// By stream: events of lines that end here or before are in the ring log.
    pub taken: [u64; 2],
}

/// A file without a cursor.
struct Stranger {
    seen: Seen,
    beginning: Vec<u8>,
    /// Why that is no longer.
    end: End,
    is_packed: bool,
}

/// Bytes that are read at once: a line at the limit with either of its ends, and one byte that shows that it is longer.
const CHUNK_BYTES: usize = LINE_BYTES_MAX + 3;

/// Follows the files of one input.
pub struct Follower<F: Files> {
    files: F,
    /// How far each is read.
    pub cursors: FileCursors,
    /// Open files by the number of their cursor, the one that was used last at the end.
    open: Vec<(u64, Content<F::File>)>,
    /// Files that are copies of others, or count as read, as they were then.
    passed_over: Vec<Seen>,
    /// Files that are there at the first look are read from their end.
    skips_present: bool,
    wants_head: bool,
    /// Files were renamed during the look: nothing is read before the next one, so that the older is read before the
    /// newer.
    is_unsettled: bool,
    /// Files that find no room.
    pub waiting: usize,
    /// Whether files counted as read because newer ones had taken their room.
    pub is_behind: bool,
}

impl<F: Files> Follower<F> {
    /// Continues from these cursors. Where there are none, this is the first look: `from_end` leaves out what is there.
    pub fn new(files: F, cursors: Option<FileCursors>, from_end: bool, wants_head: bool) -> Self {
        let skips_present = from_end && cursors.is_none();
        let mut cursors = cursors.unwrap_or_default();
        cursors.is_unsaid |= skips_present;
        let (open, passed_over) = (Vec::new(), Vec::new());
        let (is_unsettled, waiting, is_behind) = (false, 0, false);
        Self { files, cursors, open, passed_over, skips_present, wants_head, is_unsettled, waiting, is_behind }
    }

    /// Looks which files are there. Gives what is gone.
    pub fn look(&mut self, now: Now) -> io::Result<Vec<Unread>> {
        self.is_unsettled = false;
        let mut seen = self.files.list()?;
        let mut unread = Vec::new();
        let truncated = self.look_at_known(&seen, now);
        if !truncated.is_empty() {
            // The copy is made before the cut, but perhaps after the list.
            seen = self.files.list()?;
        }
        let mut strangers = self.strangers(&seen, !truncated.is_empty());
        for number in truncated {
            self.truncated(number, &mut strangers, now, &mut unread);
        }
        self.look_at_missing(&mut strangers, now, &mut unread);
        if !self.is_unsettled {
            self.look_at_strangers(strangers, now);
            self.skips_present &= self.is_unsettled;
        }
        self.finish(now, &mut unread);
        Ok(unread)
    }

    /// Looks at the files that have a cursor; returns the numbers of those whose beginning has changed.
    fn look_at_known(&mut self, seen: &[Seen], now: Now) -> Vec<u64> {
        let mut truncated = Vec::new();
        for at in 0..self.cursors.all.len() {
            let cursor = &mut self.cursors.all[at];
            let Some(seen) = seen.iter().find(|seen| seen.stat.id == cursor.id) else {
                if !std::mem::replace(&mut cursor.is_missing, true) {
                    (cursor.may_have_more, cursor.since_ms) = (true, now.ms);
                }
                continue;
            };
            cursor.is_missing = false;
            cursor.path.clone_from(&seen.path);
            let is_as_before = (cursor.bytes, cursor.written_us) == (seen.stat.bytes, seen.stat.written_us);
            if cursor.was_seen && is_as_before {
                continue;
            }
            match self.is_same(at, seen) {
                Ok(Some(is_packed)) => {
                    let cursor = &mut self.cursors.all[at];
                    let has_grown = !is_packed && seen.stat.bytes > cursor.position;
                    cursor.is_finished &= !has_grown;
                    cursor.may_have_more = !cursor.is_finished;
                    (cursor.is_packed, cursor.since_ms) = (is_packed, now.ms);
                    (cursor.bytes, cursor.written_us, cursor.was_seen) = (seen.stat.bytes, seen.stat.written_us, true);
                }
                Ok(None) => truncated.push(self.cursors.all[at].number),
                // Looked at again the next time.
                Err(error) => {
                    self.cursors.all[at].was_seen = false;
                    self.failed(&error);
                }
            }
        }
        truncated
    }

    /// Whether a cursor's file begins as before and reaches as far as it is read; with that, whether it is compressed.
    fn is_same(&mut self, at: usize, seen: &Seen) -> io::Result<Option<bool>> {
        let content = self.content(at)?;
        let is_packed = content.is_packed()?;
        let (beginning, _) = content.beginning()?;
        let cursor = &mut self.cursors.all[at];
        if !cursor.print.fits(&beginning) {
            return Ok(None);
        }
        if std::mem::take(&mut cursor.was_elsewhere) && !is_packed {
            // It is shorter than its original was, which does not mean that it was truncated.
            cursor.ends_at(seen.stat.bytes);
        }
        Ok((is_packed || seen.stat.bytes >= cursor.position).then_some(is_packed))
    }

    /// Files without a cursor that have something in them, oldest first. Those that were passed over before are looked
    /// at again when they have changed, or when something has become of the others.
    fn strangers(&mut self, seen: &[Seen], again: bool) -> Vec<Stranger> {
        let is_known = |id: FileId| self.cursors.all.iter().any(|cursor| cursor.id == id);
        if again || self.cursors.all.iter().any(|cursor| cursor.is_missing) {
            self.passed_over.clear();
        }
        self.passed_over.retain(|passed| seen.contains(passed));
        let new = seen.iter().filter(|seen| !is_known(seen.stat.id) && !self.passed_over.contains(seen));
        let (mut strangers, mut is_unsettled) = (Vec::new(), false);
        for seen in new.filter(|seen| seen.stat.bytes > 0) {
            // What cannot be opened is tried again at the next look.
            match stranger(&mut self.files, seen) {
                Ok(stranger) => strangers.extend(stranger),
                Err(error) => is_unsettled |= error.kind() == io::ErrorKind::NotFound,
            }
        }
        self.is_unsettled |= is_unsettled;
        strangers.sort_by(|one, other| {
            (one.seen.stat.written_us, &one.seen.path).cmp(&(other.seen.stat.written_us, &other.seen.path))
        });
        strangers
    }

    /// A file was truncated, possibly rewritten: it counts as a new file. A copy of what it was, where there is one, is
    /// read on.
    fn truncated(&mut self, number: u64, strangers: &mut Vec<Stranger>, now: Now, unread: &mut Vec<Unread>) {
        self.close(number);
        self.cursors.is_unsaid = true;
        let cursor = self.cursors.get_mut(number).expect("it was just looked at");
        let path = cursor.path.clone();
        if let Some(at) = strangers.iter().position(|stranger| cursor.print.fits(&stranger.beginning)) {
            let copy = strangers.remove(at);
            let from = cursor.position.max(if copy.is_packed { 0 } else { copy.seen.stat.bytes });
            let reason = format!(
                "it was truncated; its copy {} is read to its end; lines written after the copy was made are lost",
                copy.seen.path.display()
            );
            let is_finished = cursor.is_finished;
            cursor.lies_at(&copy.seen);
            if !copy.is_packed {
                // More may have been read than was copied.
                cursor.ends_at(cursor.bytes);
            }
            (cursor.may_have_more, cursor.since_ms, cursor.is_packed) = (!is_finished, now.ms, copy.is_packed);
            if !is_finished {
                unread.push(Unread { path, from, bytes_least: 0, reason });
            }
            return;
        }
        let bytes_least = cursor.unread_bytes();
        let reason = "it was truncated; lines written after the last look are lost".to_owned();
        if !cursor.is_finished {
            unread.push(Unread { path, from: cursor.position, bytes_least, reason });
        }
        self.cursors.all.retain(|cursor| cursor.number != number);
    }

    /// Files that no path leads to any more: a copy is read on, and what is open is read to its end.
    fn look_at_missing(&mut self, strangers: &mut Vec<Stranger>, now: Now, unread: &mut Vec<Unread>) {
        let missing = self.cursors.all.iter().filter(|cursor| cursor.is_missing);
        for number in missing.map(|cursor| cursor.number).collect::<Vec<_>>() {
            let is_open = self.open.iter().any(|(open, _)| *open == number);
            let cursor = self.cursors.get_mut(number).expect("it was just listed");
            if is_open && cursor.may_have_more {
                continue;
            }
            if let Some(at) = strangers.iter().position(|stranger| cursor.print.fits(&stranger.beginning)) {
                let copy = strangers.remove(at);
                cursor.lies_at(&copy.seen);
                (cursor.may_have_more, cursor.since_ms) = (!cursor.is_finished, now.ms);
                cursor.is_packed = copy.is_packed;
                self.close(number);
                self.cursors.is_unsaid = true;
                continue;
            }
            if is_open && !cursor.is_last_read {
                // Whoever has it open may still write to it, for a moment.
                cursor.is_last_read = now.ms - cursor.since_ms >= TAIL_GONE_MS;
                cursor.may_have_more = true;
                continue;
            }
            if is_open && !cursor.is_at_rest() {
                continue;
            }
            let is_known = cursor.was_seen && !cursor.is_packed;
            let is_read = is_open || cursor.is_finished || (is_known && cursor.unread_bytes() == 0);
            if now.ms - cursor.since_ms < TAIL_GONE_MS {
                // A list that is made while files are renamed may lack one that is there.
                self.is_unsettled |= !is_read;
                continue;
            }
            if !is_read {
                let reason = "it was deleted; its unread lines are lost".to_owned();
                let (path, from, bytes_least) = (cursor.path.clone(), cursor.position, cursor.unread_bytes());
                unread.push(Unread { path, from, bytes_least, reason });
            }
            self.forget(number);
        }
    }

    /// Files without a cursor: new ones get one.
    fn look_at_strangers(&mut self, strangers: Vec<Stranger>, now: Now) {
        self.waiting = 0;
        for stranger in strangers {
            let seen = &stranger.seen;
            let is_behind = seen.stat.written_us <= self.cursors.horizon_us;
            if self.is_original(&stranger, now) {
                continue;
            }
            let is_copy = self.is_copy(&stranger);
            if self.is_unsettled {
                return;
            }
            self.is_behind |= is_behind && !is_copy;
            if is_copy || is_behind {
                self.passed_over.push(stranger.seen);
                continue;
            }
            if !self.make_room(seen.stat.written_us, now) {
                self.waiting += 1;
                continue;
            }
            let mut cursor = FileCursor::new(self.cursors.next_number(), seen);
            cursor.print = Fingerprint::of(&stranger.beginning);
            cursor.is_packed = stranger.is_packed;
            cursor.since_ms = now.ms;
            self.cursors.all.push(cursor);
            if self.skips_present {
                self.skip(stranger.is_packed);
            }
        }
    }

    /// Whether a file that has a cursor is the copy, and this one, which is longer, is what it was made of: then the
    /// cursor is here. A short beginning does not show that: files may have the same head.
    fn is_original(&mut self, stranger: &Stranger, now: Now) -> bool {
        let fits = |cursor: &FileCursor| {
            let is_whole = cursor.print.known == FINGERPRINT_BYTES_MAX && !cursor.is_packed && !cursor.is_missing;
            is_whole && cursor.print.fits(&stranger.beginning)
        };
        let Some(at) = self.cursors.all.iter().position(fits).filter(|_| !stranger.is_packed) else { return false };
        if stranger.seen.stat.bytes <= self.bytes_now(at) || self.is_unsettled {
            return false;
        }
        let cursor = &mut self.cursors.all[at];
        cursor.name = FileCursor::new(0, &stranger.seen).name;
        cursor.lies_at(&stranger.seen);
        (cursor.is_finished, cursor.since_ms) = (false, now.ms);
        let number = cursor.number;
        self.close(number);
        self.cursors.is_unsaid = true;
        true
    }

    /// Whether it is a copy of a file that has a cursor, or may become one: it is being written, and so far is the
    /// same.
    fn is_copy(&mut self, stranger: &Stranger) -> bool {
        let Stranger { seen, beginning, end, is_packed } = stranger;
        if *is_packed && *end == End::CutShort {
            return true;
        }
        for at in 0..self.cursors.all.len() {
            let cursor = &self.cursors.all[at];
            let is_never_longer = *is_packed || cursor.is_packed || cursor.is_missing;
            let (known, fits, is_missing) = (cursor.print.known, cursor.print.fits(beginning), cursor.is_missing);
            let may_become = beginning.len() < known && !is_missing;
            if (!fits && !may_become) || (!is_never_longer && self.bytes_now(at) < seen.stat.bytes) {
                continue;
            }
            if fits {
                return true;
            }
            if let Ok((original, _)) = self.content(at).and_then(Content::beginning)
                && original.starts_with(beginning)
            {
                return true;
            }
        }
        false
    }

    /// The length of a cursor's file at this moment.
    fn bytes_now(&mut self, at: usize) -> u64 {
        let bytes = self.cursors.all[at].bytes;
        match self.content(at).and_then(|content| content.file().stat()) {
            Ok(stat) => {
                // Truncated since it was looked at.
                self.is_unsettled |= stat.bytes < bytes;
                stat.bytes
            }
            Err(error) => {
                self.failed(&error);
                bytes
            }
        }
    }

    /// Leaves out what the newest cursor holds now; a last line that is not whole yet is taken when it is.
    fn skip(&mut self, is_packed: bool) {
        let at = self.cursors.all.len() - 1;
        let bytes = self.cursors.all[at].bytes;
        let mut end = bytes;
        if !is_packed && let Ok(content) = self.content(at) {
            let from = bytes.saturating_sub(LINE_BYTES_MAX as u64);
            let mut last = vec![0; (bytes - from) as usize];
            let read = content.read_at(&mut last, from).map_or(0, |(read, _)| read);
            end = memchr::memrchr(b'\n', &last[..read]).map_or(from, |line_end| from + line_end as u64 + 1);
        }
        let cursor = &mut self.cursors.all[at];
        cursor.begin_at(if is_packed { 0 } else { end });
        (cursor.is_finished, cursor.may_have_more) = (is_packed, !is_packed);
    }

    /// Makes room for a file that was last written then; `false` when there is none.
    fn make_room(&mut self, written_us: i64, now: Now) -> bool {
        if self.cursors.all.len() < FOLLOWED_FILES_MAX {
            return true;
        }
        let may_go = |cursor: &&FileCursor| {
            let is_settled = cursor.is_finished || now.wall_us - cursor.written_us > TAIL_SETTLED_US;
            cursor.is_at_rest() && is_settled && cursor.was_seen && cursor.written_us <= written_us
        };
        let oldest = self.cursors.all.iter().filter(may_go).min_by_key(|cursor| cursor.written_us);
        let Some((number, written_us)) = oldest.map(|cursor| (cursor.number, cursor.written_us)) else { return false };
        self.forget(number);
        self.cursors.horizon_us = self.cursors.horizon_us.max(written_us);
        true
    }

    /// Files that are read to their end and are not written any more: nothing of them is lost when they go.
    fn finish(&mut self, now: Now, unread: &mut Vec<Unread>) {
        for cursor in &mut self.cursors.all {
            let is_old = now.ms - cursor.since_ms >= TAIL_DAMAGED_MS;
            if cursor.is_cut_short && is_old && !cursor.has_ended {
                unread.push(cursor.ended_early("the compressed file ends in the middle"));
            }
            let is_calm = cursor.has_ended || (cursor.is_rotated() && now.ms - cursor.since_ms >= TAIL_GONE_MS);
            if !cursor.is_finished && !cursor.is_missing && cursor.is_at_rest() && is_calm {
                cursor.is_finished = true;
                self.cursors.is_unsaid = true;
            }
        }
        let cursors = &self.cursors;
        self.open
            .retain(|(number, _)| cursors.all.iter().any(|cursor| cursor.number == *number && !cursor.is_finished));
    }

    /// Reads on in the oldest file that may have more; `None` when there is nothing more to read before the next look.
    pub fn next(&mut self, now: Now, unread: &mut Vec<Unread>) -> Option<Chunk> {
        loop {
            if self.is_unsettled {
                return None;
            }
            let more = self.cursors.all.iter().enumerate().filter(|(_, cursor)| cursor.may_have_more);
            let (at, _) = more.min_by_key(|(_, cursor)| (cursor.written_us, cursor.number))?;
            match self.read(at, now, unread) {
                Ok(Some(chunk)) => return Some(chunk),
                Ok(None) => {}
                Err(error) => {
                    let cursor = &mut self.cursors.all[at];
                    // Looked at again the next time, whether it has changed or not.
                    (cursor.may_have_more, cursor.was_seen) = (false, false);
                    tracing::debug!(file = %cursor.path.display(), %error, "a followed file cannot be read now");
                    let (number, is_missing) = (cursor.number, cursor.is_missing);
                    self.close(number);
                    if !is_missing {
                        self.failed(&error);
                    }
                }
            }
        }
    }

    fn read(&mut self, at: usize, now: Now, unread: &mut Vec<Unread>) -> io::Result<Option<Chunk>> {
        let cursor = &self.cursors.all[at];
        let (scanned, print, needs_head) = (cursor.scanned, cursor.print, self.wants_head && cursor.head.is_none());
        let content = self.content(at)?;
        let mut bytes = vec![0; CHUNK_BYTES];
        let (len, end) = content.read_at(&mut bytes, scanned)?;
        bytes.truncate(len);
        // What was read is of the file that is known only if that is still so behind the read: else it was truncated
        // between.
        let beginning = if content.is_packed()? { None } else { Some(content.beginning()?.0) };
        if beginning.as_ref().is_some_and(|beginning| !print.fits(beginning)) {
            let cursor = &mut self.cursors.all[at];
            (cursor.may_have_more, cursor.was_seen) = (false, false);
            return Ok(None);
        }
        let head = if needs_head { content.first_line()? } else { None };
        let cursor = &mut self.cursors.all[at];
        if let Some(beginning) = beginning.filter(|beginning| beginning.len() > print.known) {
            cursor.print = Fingerprint::of(&beginning);
        }
        cursor.head = cursor.head.take().or(head);
        Ok(cut_lines(cursor, bytes, end, now, unread))
    }

    /// The cursor's file, opened where it is not open. One that is not the cursor's any more is an error.
    fn content(&mut self, at: usize) -> io::Result<&mut Content<F::File>> {
        let FileCursor { number, path, id, .. } = &self.cursors.all[at];
        let open = match self.open.iter().position(|(open, _)| open == number) {
            Some(open) => self.open.remove(open),
            None => {
                let file = self.files.open(path)?;
                if file.stat()?.id != *id {
                    return Err(io::ErrorKind::NotFound.into());
                }
                if self.open.len() == OPEN_FILES_MAX {
                    self.open.remove(0);
                }
                (*number, Content::new(file))
            }
        };
        self.open.push(open);
        Ok(&mut self.open.last_mut().expect("it was just put there").1)
    }

    /// What was there a moment ago has a different name by now.
    fn failed(&mut self, error: &io::Error) {
        self.is_unsettled |= error.kind() == io::ErrorKind::NotFound;
    }

    fn forget(&mut self, number: u64) {
        self.close(number);
        self.cursors.all.retain(|cursor| cursor.number != number);
        self.cursors.is_unsaid = true;
    }

    fn close(&mut self, number: u64) {
        self.open.retain(|(open, _)| *open != number);
    }
}

fn stranger<F: Files>(files: &mut F, seen: &Seen) -> io::Result<Option<Stranger>> {
    let file = files.open(&seen.path)?;
    if file.stat()?.id != seen.stat.id {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut content = Content::new(file);
    let is_packed = content.is_packed()?;
    let (beginning, end) = content.beginning()?;
    if content.file().stat()?.bytes < seen.stat.bytes {
        // It was truncated since it was listed, and what it was may be in a copy that was not.
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok((!beginning.is_empty()).then(|| Stranger { seen: seen.clone(), beginning, end, is_packed }))
}

/// The lines in what was read at a cursor, and what follows for the cursor from where that ended.
fn cut_lines(
    cursor: &mut FileCursor,
    mut bytes: Vec<u8>,
    end: End,
    now: Now,
    unread: &mut Vec<Unread>,
) -> Option<Chunk> {
    let is_long = cursor.scanned > cursor.position;
    let line_end = if is_long { memchr::memchr(b'\n', &bytes) } else { memchr::memrchr(b'\n', &bytes) };
    if let Some(line_end) = line_end {
        let lines_end = cursor.scanned + line_end as u64 + 1;
        cursor.may_have_more = end != End::Now || line_end + 1 < bytes.len();
        bytes.truncate(if is_long { 0 } else { line_end + 1 });
        return Some(chunk(cursor, lines_end, bytes, now));
    }
    if is_long || bytes.len() > LINE_BYTES_MAX + 1 {
        cursor.scanned += bytes.len() as u64;
    }
    cursor.may_have_more = end == End::More;
    match end {
        End::More | End::Now => {}
        End::Forever => cursor.has_ended = true,
        End::CutShort => cursor.is_cut_short = true,
        End::Damaged => unread.push(cursor.ended_early("the compressed file is damaged")),
    }
    let is_last = cursor.has_ended || (cursor.is_last_read && end == End::Now);
    let lines_end = if is_long { cursor.scanned } else { cursor.position + bytes.len() as u64 };
    (is_last && lines_end > cursor.position).then(|| {
        if lines_end - cursor.position > LINE_BYTES_MAX as u64 + 1 {
            bytes.clear();
        }
        chunk(cursor, lines_end, bytes, now)
    })
}

fn chunk(cursor: &mut FileCursor, end: u64, bytes: Vec<u8>, now: Now) -> Chunk {
    assert!(end > cursor.position, "a chunk holds at least one byte");
    if cursor.is_missing {
        cursor.since_ms = now.ms;
    }
    let (number, path, head) = (cursor.number, cursor.path.clone(), cursor.head.clone());
    Chunk { number, path, start: cursor.position, end, bytes, head, taken: cursor.taken() }
}

impl FileCursor {
    /// Bytes that were seen and not read.
    fn unread_bytes(&self) -> u64 {
        if self.was_seen && !self.is_packed { self.bytes.saturating_sub(self.position) } else { 0 }
    }

    /// There is no more to read, although there should be.
    fn ended_early(&mut self, why: &str) -> Unread {
        self.has_ended = true;
        let reason = format!("{why}; its unread lines are lost");
        Unread { path: self.path.clone(), from: self.position, bytes_least: 0, reason }
    }
}
