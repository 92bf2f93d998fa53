//! What becomes of files while they are followed: a state machine over [`Files`], driven with times from outside.
//!
//! [`Follower::look`] finds out which files are there; [`Follower::next`] reads on in one of them. A file is known by
//! its
//! inode and by its [`Fingerprint`], and the two are told apart like this:
//!
//! | inode | beginning | it is |
//! |---|---|---|
//! | known | as before | the same file, grown or renamed |
//! | known | another, or the file is shorter than what was read | truncated and rewritten |
//! | new | that of a file that is there, and not longer, or compressed | a copy that is being made: it waits |
//! | new | that of a file that is there, for 1024 bytes, and longer | what that is a copy of: it is followed in its place |
//! | new | that of a file that is gone or was truncated | its copy: it is read on where that file was left |
//! | new | another | a new file, read from its beginning |
//!
//! Files are read oldest first, each to its end before the next one. A file that is gone and still open is read to its
//! end
//! too. What can be known to be unread when a file is truncated or gone is declared ([`Unread`]).

use std::io;
use std::path::PathBuf;

use afferent_protocol::limits::FOLLOWED_FILES_MAX;

use super::content::{Content, End};
use super::files::{FileId, Files, ReadAt, Seen};
use super::fingerprint::Fingerprint;
use super::place::{Place, Places};
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
    /// The file.
    pub path: PathBuf,
    /// How far it was read.
    pub from: u64,
    /// So many bytes behind that are gone at least.
    pub bytes_least: u64,
    /// What happened.
    pub reason: String,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// The place's number.
    pub number: u64,
    /// The file.
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

/// A file without a place.
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
    pub places: Places,
    /// Open files by the number of their place, the one that was used last at the end.
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
    /// Goes on from these places. Where there are none, this is the first look: `from_end` leaves out what is there.
    pub fn new(files: F, places: Option<Places>, from_end: bool, wants_head: bool) -> Self {
        let skips_present = from_end && places.is_none();
        let mut places = places.unwrap_or_default();
        places.is_unsaid |= skips_present;
        let (open, passed_over) = (Vec::new(), Vec::new());
        let (is_unsettled, waiting, is_behind) = (false, 0, false);
        Self { files, places, open, passed_over, skips_present, wants_head, is_unsettled, waiting, is_behind }
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

    /// Looks at the files that have a place; gives the numbers of those that have another beginning than before.
    fn look_at_known(&mut self, seen: &[Seen], now: Now) -> Vec<u64> {
        let mut truncated = Vec::new();
        for at in 0..self.places.all.len() {
            let place = &mut self.places.all[at];
            let Some(seen) = seen.iter().find(|seen| seen.stat.id == place.id) else {
                if !std::mem::replace(&mut place.is_missing, true) {
                    (place.may_have_more, place.since_ms) = (true, now.ms);
                }
                continue;
            };
            place.is_missing = false;
            place.path.clone_from(&seen.path);
            let is_as_before = (place.bytes, place.written_us) == (seen.stat.bytes, seen.stat.written_us);
            if place.was_seen && is_as_before {
                continue;
            }
            match self.is_same(at, seen) {
                Ok(Some(is_packed)) => {
                    let place = &mut self.places.all[at];
                    let has_grown = !is_packed && seen.stat.bytes > place.position;
                    place.is_finished &= !has_grown;
                    place.may_have_more = !place.is_finished;
                    (place.is_packed, place.since_ms) = (is_packed, now.ms);
                    (place.bytes, place.written_us, place.was_seen) = (seen.stat.bytes, seen.stat.written_us, true);
                }
                Ok(None) => truncated.push(self.places.all[at].number),
                // Looked at again the next time.
                Err(error) => {
                    self.places.all[at].was_seen = false;
                    self.failed(&error);
                }
            }
        }
        truncated
    }

    /// Whether a place's file begins as before and reaches as far as it is read; with that, whether it is compressed.
    fn is_same(&mut self, at: usize, seen: &Seen) -> io::Result<Option<bool>> {
        let content = self.content(at)?;
        let is_packed = content.is_packed()?;
        let (beginning, _) = content.beginning()?;
        let place = &mut self.places.all[at];
        if !place.print.fits(&beginning) {
            return Ok(None);
        }
        if std::mem::take(&mut place.was_elsewhere) && !is_packed {
            // It is shorter than its original was, which does not mean that it was truncated.
            place.ends_at(seen.stat.bytes);
        }
        Ok((is_packed || seen.stat.bytes >= place.position).then_some(is_packed))
    }

    /// Files without a place that have something in them, oldest first. Those that were passed over before are looked
    /// at
    /// again when they have changed, or when something has become of the others.
    fn strangers(&mut self, seen: &[Seen], again: bool) -> Vec<Stranger> {
        let is_known = |id: FileId| self.places.all.iter().any(|place| place.id == id);
        if again || self.places.all.iter().any(|place| place.is_missing) {
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
        self.places.is_unsaid = true;
        let place = self.places.get_mut(number).expect("it was just looked at");
        let path = place.path.clone();
        if let Some(at) = strangers.iter().position(|stranger| place.print.fits(&stranger.beginning)) {
            let copy = strangers.remove(at);
            let from = place.position.max(if copy.is_packed { 0 } else { copy.seen.stat.bytes });
            let reason = format!(
                "it was truncated; its copy {} is read to its end, and what was written after the copy was made is lost",
                copy.seen.path.display()
            );
            let is_finished = place.is_finished;
            place.lies_at(&copy.seen);
            if !copy.is_packed {
                // More may have been read than was copied.
                place.ends_at(place.bytes);
            }
            (place.may_have_more, place.since_ms, place.is_packed) = (!is_finished, now.ms, copy.is_packed);
            if !is_finished {
                unread.push(Unread { path, from, bytes_least: 0, reason });
            }
            return;
        }
        let bytes_least = place.unread_bytes();
        let reason = "it was truncated; what was written after the last look is lost".to_owned();
        if !place.is_finished {
            unread.push(Unread { path, from: place.position, bytes_least, reason });
        }
        self.places.all.retain(|place| place.number != number);
    }

    /// Files that no path leads to any more: a copy is read on, and what is open is read to its end.
    fn look_at_missing(&mut self, strangers: &mut Vec<Stranger>, now: Now, unread: &mut Vec<Unread>) {
        let missing = self.places.all.iter().filter(|place| place.is_missing);
        for number in missing.map(|place| place.number).collect::<Vec<_>>() {
            let is_open = self.open.iter().any(|(open, _)| *open == number);
            let place = self.places.get_mut(number).expect("it was just listed");
            if is_open && place.may_have_more {
                continue;
            }
            if let Some(at) = strangers.iter().position(|stranger| place.print.fits(&stranger.beginning)) {
                let copy = strangers.remove(at);
                place.lies_at(&copy.seen);
                (place.may_have_more, place.since_ms) = (!place.is_finished, now.ms);
                place.is_packed = copy.is_packed;
                self.close(number);
                self.places.is_unsaid = true;
                continue;
            }
            if is_open && !place.is_last_read {
                // Whoever has it open may still write to it, for a moment.
                place.is_last_read = now.ms - place.since_ms >= TAIL_GONE_MS;
                place.may_have_more = true;
                continue;
            }
            if is_open && !place.is_at_rest() {
                continue;
            }
            let is_known = place.was_seen && !place.is_packed;
            let is_read = is_open || place.is_finished || (is_known && place.unread_bytes() == 0);
            if now.ms - place.since_ms < TAIL_GONE_MS {
                // A list that is made while files are renamed may lack one that is there.
                self.is_unsettled |= !is_read;
                continue;
            }
            if !is_read {
                let reason = "it is gone; what it held behind what was read is lost".to_owned();
                let (path, from, bytes_least) = (place.path.clone(), place.position, place.unread_bytes());
                unread.push(Unread { path, from, bytes_least, reason });
            }
            self.forget(number);
        }
    }

    /// Files without a place: new ones get one.
    fn look_at_strangers(&mut self, strangers: Vec<Stranger>, now: Now) {
        self.waiting = 0;
        for stranger in strangers {
            let seen = &stranger.seen;
            let is_behind = seen.stat.written_us <= self.places.horizon_us;
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
            let mut place = Place::new(self.places.next_number(), seen);
            place.print = Fingerprint::of(&stranger.beginning);
            place.is_packed = stranger.is_packed;
            place.since_ms = now.ms;
            self.places.all.push(place);
            if self.skips_present {
                self.skip(stranger.is_packed);
            }
        }
    }

    /// Whether a file that has a place is the copy, and this one, which is longer, is what it was made of: then the
    /// place is
    /// here. A short beginning does not show that: files may have the same head.
    fn is_original(&mut self, stranger: &Stranger, now: Now) -> bool {
        let fits = |place: &Place| {
            let is_whole = place.print.known == FINGERPRINT_BYTES_MAX && !place.is_packed && !place.is_missing;
            is_whole && place.print.fits(&stranger.beginning)
        };
        let Some(at) = self.places.all.iter().position(fits).filter(|_| !stranger.is_packed) else { return false };
        if stranger.seen.stat.bytes <= self.bytes_now(at) || self.is_unsettled {
            return false;
        }
        let place = &mut self.places.all[at];
        place.name = Place::new(0, &stranger.seen).name;
        place.lies_at(&stranger.seen);
        (place.is_finished, place.since_ms) = (false, now.ms);
        let number = place.number;
        self.close(number);
        self.places.is_unsaid = true;
        true
    }

    /// Whether it is a copy of a file that has a place, or may become one: it is being written, and so far is the same.
    fn is_copy(&mut self, stranger: &Stranger) -> bool {
        let Stranger { seen, beginning, end, is_packed } = stranger;
        if *is_packed && *end == End::CutShort {
            return true;
        }
        for at in 0..self.places.all.len() {
            let place = &self.places.all[at];
            let is_never_longer = *is_packed || place.is_packed || place.is_missing;
            let (known, fits, is_missing) = (place.print.known, place.print.fits(beginning), place.is_missing);
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

    /// The length of a place's file at this moment.
    fn bytes_now(&mut self, at: usize) -> u64 {
        let bytes = self.places.all[at].bytes;
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

    /// Leaves out what the newest place holds now; a last line that is not whole yet is taken when it is.
    fn skip(&mut self, is_packed: bool) {
        let at = self.places.all.len() - 1;
        let bytes = self.places.all[at].bytes;
        let mut end = bytes;
        if !is_packed && let Ok(content) = self.content(at) {
            let from = bytes.saturating_sub(LINE_BYTES_MAX as u64);
            let mut last = vec![0; (bytes - from) as usize];
            let read = content.read_at(&mut last, from).map_or(0, |(read, _)| read);
            end = memchr::memrchr(b'\n', &last[..read]).map_or(from, |line_end| from + line_end as u64 + 1);
        }
        let place = &mut self.places.all[at];
        place.begin_at(if is_packed { 0 } else { end });
        (place.is_finished, place.may_have_more) = (is_packed, !is_packed);
    }

    /// Makes room for a file that was last written then; `false` when there is none.
    fn make_room(&mut self, written_us: i64, now: Now) -> bool {
        if self.places.all.len() < FOLLOWED_FILES_MAX {
            return true;
        }
        let may_go = |place: &&Place| {
            let is_settled = place.is_finished || now.wall_us - place.written_us > TAIL_SETTLED_US;
            place.is_at_rest() && is_settled && place.was_seen && place.written_us <= written_us
        };
        let oldest = self.places.all.iter().filter(may_go).min_by_key(|place| place.written_us);
        let Some((number, written_us)) = oldest.map(|place| (place.number, place.written_us)) else { return false };
        self.forget(number);
        self.places.horizon_us = self.places.horizon_us.max(written_us);
        true
    }

    /// Files that are read to their end and are not written any more: nothing of them is lost when they go.
    fn finish(&mut self, now: Now, unread: &mut Vec<Unread>) {
        for place in &mut self.places.all {
            let is_old = now.ms - place.since_ms >= TAIL_DAMAGED_MS;
            if place.is_cut_short && is_old && !place.has_ended {
                unread.push(place.ended_early("the compressed file ends in the middle"));
            }
            let is_calm = place.has_ended || (place.is_rotated() && now.ms - place.since_ms >= TAIL_GONE_MS);
            if !place.is_finished && !place.is_missing && place.is_at_rest() && is_calm {
                place.is_finished = true;
                self.places.is_unsaid = true;
            }
        }
        let places = &self.places;
        self.open.retain(|(number, _)| places.all.iter().any(|place| place.number == *number && !place.is_finished));
    }

    /// Reads on in the oldest file that may have more; `None` when there is nothing more to read before the next look.
    pub fn next(&mut self, now: Now, unread: &mut Vec<Unread>) -> Option<Chunk> {
        loop {
            if self.is_unsettled {
                return None;
            }
            let more = self.places.all.iter().enumerate().filter(|(_, place)| place.may_have_more);
            let (at, _) = more.min_by_key(|(_, place)| (place.written_us, place.number))?;
            match self.read(at, now, unread) {
                Ok(Some(chunk)) => return Some(chunk),
                Ok(None) => {}
                Err(error) => {
                    let place = &mut self.places.all[at];
                    // Looked at again the next time, whether it has changed or not.
                    (place.may_have_more, place.was_seen) = (false, false);
                    tracing::debug!(file = %place.path.display(), %error, "a followed file cannot be read now");
                    let (number, is_missing) = (place.number, place.is_missing);
                    self.close(number);
                    if !is_missing {
                        self.failed(&error);
                    }
                }
            }
        }
    }

    fn read(&mut self, at: usize, now: Now, unread: &mut Vec<Unread>) -> io::Result<Option<Chunk>> {
        let place = &self.places.all[at];
        let (scanned, print, needs_head) = (place.scanned, place.print, self.wants_head && place.head.is_none());
        let content = self.content(at)?;
        let mut bytes = vec![0; CHUNK_BYTES];
        let (len, end) = content.read_at(&mut bytes, scanned)?;
        bytes.truncate(len);
        // What was read is of the file that is known only if that is still so behind the read: else it was truncated
        // between.
        let beginning = if content.is_packed()? { None } else { Some(content.beginning()?.0) };
        if beginning.as_ref().is_some_and(|beginning| !print.fits(beginning)) {
            let place = &mut self.places.all[at];
            (place.may_have_more, place.was_seen) = (false, false);
            return Ok(None);
        }
        let head = if needs_head { content.first_line()? } else { None };
        let place = &mut self.places.all[at];
        if let Some(beginning) = beginning.filter(|beginning| beginning.len() > print.known) {
            place.print = Fingerprint::of(&beginning);
        }
        place.head = place.head.take().or(head);
        Ok(cut_lines(place, bytes, end, now, unread))
    }

    /// The place's file, opened where it is not open. One that is not the place's any more is an error.
    fn content(&mut self, at: usize) -> io::Result<&mut Content<F::File>> {
        let Place { number, path, id, .. } = &self.places.all[at];
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

    /// What was there a moment ago has another name by now.
    fn failed(&mut self, error: &io::Error) {
        self.is_unsettled |= error.kind() == io::ErrorKind::NotFound;
    }

    fn forget(&mut self, number: u64) {
        self.close(number);
        self.places.all.retain(|place| place.number != number);
        self.places.is_unsaid = true;
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

/// The lines in what was read at a place, and what follows for the place from where that ended.
fn cut_lines(place: &mut Place, mut bytes: Vec<u8>, end: End, now: Now, unread: &mut Vec<Unread>) -> Option<Chunk> {
    let is_long = place.scanned > place.position;
    let line_end = if is_long { memchr::memchr(b'\n', &bytes) } else { memchr::memrchr(b'\n', &bytes) };
    if let Some(line_end) = line_end {
        let lines_end = place.scanned + line_end as u64 + 1;
        place.may_have_more = end != End::Now || line_end + 1 < bytes.len();
        bytes.truncate(if is_long { 0 } else { line_end + 1 });
        return Some(chunk(place, lines_end, bytes, now));
    }
    if is_long || bytes.len() > LINE_BYTES_MAX + 1 {
        place.scanned += bytes.len() as u64;
    }
    place.may_have_more = end == End::More;
    match end {
        End::More | End::Now => {}
        End::Forever => place.has_ended = true,
        End::CutShort => place.is_cut_short = true,
        End::Damaged => unread.push(place.ended_early("the compressed file is damaged")),
    }
    let is_last = place.has_ended || (place.is_last_read && end == End::Now);
    let lines_end = if is_long { place.scanned } else { place.position + bytes.len() as u64 };
    (is_last && lines_end > place.position).then(|| {
        if lines_end - place.position > LINE_BYTES_MAX as u64 + 1 {
            bytes.clear();
        }
        chunk(place, lines_end, bytes, now)
    })
}

fn chunk(place: &mut Place, end: u64, bytes: Vec<u8>, now: Now) -> Chunk {
    if place.is_missing {
        place.since_ms = now.ms;
    }
    let (number, path, head) = (place.number, place.path.clone(), place.head.clone());
    Chunk { number, path, start: place.position, end, bytes, head, taken: place.taken() }
}

impl Place {
    /// Bytes that were seen and not read.
    fn unread_bytes(&self) -> u64 {
        if self.was_seen && !self.is_packed { self.bytes.saturating_sub(self.position) } else { 0 }
    }

    /// There is no more to read, although there should be.
    fn ended_early(&mut self, why: &str) -> Unread {
        self.has_ended = true;
        let reason = format!("{why}; what it held behind what was read is lost");
        Unread { path: self.path.clone(), from: self.position, bytes_least: 0, reason }
    }
}
