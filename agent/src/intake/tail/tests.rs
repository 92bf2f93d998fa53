//! Files in memory that are written, rotated, truncated and compressed at random, and an agent that is killed at any
//! moment:
//! what comes into the log is held against what was written.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use afferent_protocol::ids::{SourceId, Stream, Timestamp};
use proptest::prelude::*;

use super::cursor::{FileCursors, Move};
use super::files::{FileId, Files, ReadAt, Seen, Stat};
use super::follow::{Chunk, Follower, Now, Unread};
use super::gzip::tests::member;
use super::spans;
use crate::intake::sink::Ticket;
use crate::limits::FINGERPRINT_BYTES_MAX;
use crate::ring_log::FollowedFiles;

/// A file that is on the disk, or only open.
#[derive(Debug, Default)]
struct OneFile {
    bytes: Vec<u8>,
    written_us: i64,
    links: u64,
}

/// The disk.
#[derive(Clone, Debug, Default)]
struct Disk(Rc<RefCell<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    names: BTreeMap<String, u64>,
    files: BTreeMap<u64, OneFile>,
    inodes: u64,
    now_us: i64,
}

struct OpenFile(Disk, u64);

impl ReadAt for OpenFile {
    fn stat(&self) -> io::Result<Stat> {
        Ok(self.0.stat(self.1))
    }

    fn read_at(&self, out: &mut [u8], at: u64) -> io::Result<usize> {
        self.0.0.borrow().files[&self.1].bytes.read_at(out, at)
    }
}

impl Files for Disk {
    type File = OpenFile;

    fn list(&mut self) -> io::Result<Vec<Seen>> {
        let names = self.0.borrow().names.clone();
        Ok(names.into_iter().map(|(name, inode)| Seen { path: PathBuf::from(name), stat: self.stat(inode) }).collect())
    }

    fn open(&mut self, path: &Path) -> io::Result<OpenFile> {
        let inode = self.0.borrow().names.get(path.to_str().unwrap()).copied();
        Ok(OpenFile(self.clone(), inode.ok_or(io::ErrorKind::NotFound)?))
    }
}

impl Disk {
    fn stat(&self, inode: u64) -> Stat {
        let inner = self.0.borrow();
        let file = &inner.files[&inode];
        let id = FileId { device: 1, inode, born_us: inode };
        Stat { id, bytes: file.bytes.len() as u64, written_us: file.written_us, links: file.links }
    }

    fn create(&self, name: &str, bytes: Vec<u8>) -> u64 {
        let mut inner = self.0.borrow_mut();
        inner.inodes += 1;
        inner.now_us += 1;
        let (inode, written_us) = (inner.inodes, inner.now_us);
        inner.files.insert(inode, OneFile { bytes, written_us, links: 1 });
        inner.names.insert(name.to_owned(), inode);
        inode
    }

    fn append(&self, inode: u64, bytes: &[u8]) {
        let mut inner = self.0.borrow_mut();
        inner.now_us += 1;
        let now_us = inner.now_us;
        let file = inner.files.get_mut(&inode).unwrap();
        file.bytes.extend_from_slice(bytes);
        file.written_us = now_us;
    }

    fn cut(&self, inode: u64) {
        let mut inner = self.0.borrow_mut();
        inner.now_us += 1;
        let now_us = inner.now_us;
        let file = inner.files.get_mut(&inode).unwrap();
        file.bytes.clear();
        file.written_us = now_us;
    }

    fn rename(&self, from: &str, to: &str) {
        let inode = self.0.borrow_mut().names.remove(from);
        if let Some(inode) = inode {
            self.remove(to);
            self.0.borrow_mut().names.insert(to.to_owned(), inode);
        }
    }

    fn remove(&self, name: &str) {
        let mut inner = self.0.borrow_mut();
        if let Some(inode) = inner.names.remove(name) {
            inner.files.get_mut(&inode).unwrap().links = 0;
        }
    }

    fn text(&self, name: &str) -> Option<Vec<u8>> {
        let inner = self.0.borrow();
        inner.names.get(name).map(|inode| inner.files[inode].bytes.clone())
    }

    fn inode(&self, name: &str) -> u64 {
        self.0.borrow().names[name]
    }
}

/// One batch of a stream: its lines, and the table behind them.
type Entry = (Vec<String>, FollowedFiles);

/// The ring log: of each stream what was pushed, and how much of it is on disk.
#[derive(Default)]
struct Ring {
    streams: [Vec<Entry>; 2],
    durable: [usize; 2],
}

impl Ring {
    fn commits(&self) -> [u64; 2] {
        self.durable.map(|count| count as u64)
    }

    /// What was not on disk is gone.
    fn kill(&mut self) {
        for at in 0..2 {
            self.streams[at].truncate(self.durable[at]);
        }
    }

    fn cursors(&self) -> Option<FileCursors> {
        let newest = |at: usize| self.streams[at].last().map(|(_, table)| table.clone());
        FileCursors::restore([newest(0), newest(1)], Stream::ALL.map(|stream| Ticket { stream, commit: 0 }))
    }

    fn lines(&self, stream: Stream) -> Vec<&str> {
        self.streams[usize::from(stream.number())].iter().flat_map(|(lines, _)| lines).map(String::as_str).collect()
    }
}

/// An agent that follows `log*`, and how it stands.
struct Plant {
    disk: Disk,
    ring: Ring,
    follower: Follower<Disk>,
    now: Now,
    /// Lines that were written whole, by stream.
    written: [Vec<String>; 2],
    count: u64,
    unread: Vec<Unread>,
    /// Whether cursors are forgotten at a kill: the control.
    forgets: bool,
}

impl Plant {
    fn new() -> Self {
        let disk = Disk::default();
        disk.create("log", vec![]);
        let follower = Follower::new(disk.clone(), None, false, false);
        let (ring, now) = (Ring::default(), Now { ms: 0, wall_us: 0 });
        let (written, unread) = (<[Vec<String>; 2]>::default(), vec![]);
        Self { disk, ring, follower, now, written, count: 0, unread, forgets: false }
    }

    /// Writes lines of both streams, in pieces that need not end with a line.
    fn write(&mut self, lines: usize, cut: usize) {
        let mut bytes = String::new();
        for _ in 0..lines {
            self.count += 1;
            let critical = self.count.is_multiple_of(7);
            let line = format!("{} {}", if critical { 'c' } else { 's' }, self.count);
            bytes.push_str(&format!("{line}\n"));
            self.written[usize::from(!critical)].push(line);
        }
        // The last line waits for its end, which comes with the next piece.
        let inode = self.disk.inode("log");
        let (head, tail) = bytes.split_at(bytes.len() - cut.min(bytes.len()));
        self.disk.append(inode, head.as_bytes());
        self.look(false);
        self.disk.append(inode, tail.as_bytes());
    }

    fn look(&mut self, all: bool) {
        self.now.ms += 300;
        self.now.wall_us = self.disk.0.borrow().now_us;
        self.follower.cursors.refresh(&self.ring.commits());
        let unread = self.follower.look(self.now).unwrap();
        self.unread.extend(unread);
        let mut chunks = if all { usize::MAX } else { 3 };
        while chunks > 0
            && let Some(chunk) = self.follower.next(self.now, &mut self.unread)
        {
            self.take(&chunk);
            chunks -= 1;
        }
        if self.follower.cursors.is_unsaid {
            let table = self.table(Stream::Critical, None);
            self.push(Stream::Critical, vec![], table);
            self.follower.cursors.is_unsaid = false;
        }
    }

    fn table(&mut self, stream: Stream, lines: Option<Move>) -> FollowedFiles {
        self.follower.cursors.refresh(&self.ring.commits());
        self.follower.cursors.table(SourceId::literal("press"), "log", Timestamp::default(), stream, lines)
    }

    fn push(&mut self, stream: Stream, lines: Vec<String>, table: FollowedFiles) -> Ticket {
        let entries = &mut self.ring.streams[usize::from(stream.number())];
        entries.push((lines, table));
        Ticket { stream, commit: entries.len() as u64 }
    }

    /// As [`super::Tailing::take_events`] does it.
    fn take(&mut self, chunk: &Chunk) {
        let lines: Vec<(u64, String)> = spans(chunk)
            .iter()
            .map(|span| (span.end, String::from_utf8(chunk.bytes[span.from..span.to].to_vec()).unwrap()))
            .collect();
        let taken = self.follower.cursors.get_mut(chunk.number).unwrap().taken();
        let of = |stream: Stream| {
            let letter = if stream == Stream::Critical { 'c' } else { 's' };
            let taken = taken[usize::from(stream.number())];
            let new = lines.iter().filter(|(end, line)| line.starts_with(letter) && *end > taken);
            new.map(|(_, line)| line.clone()).collect::<Vec<_>>()
        };
        let [critical, samples] = Stream::ALL.map(of);
        let follows = !samples.is_empty();
        for (stream, lines, other_follows) in [(Stream::Critical, critical, follows), (Stream::Samples, samples, false)]
        {
            if !lines.is_empty() {
                let moved = Move { number: chunk.number, end: chunk.end, other_follows };
                let table = self.table(stream, Some(moved));
                let ticket = self.push(stream, lines, table);
                self.follower.cursors.get_mut(chunk.number).unwrap().pushed(stream, chunk.end, ticket);
            }
        }
        self.follower.cursors.get_mut(chunk.number).unwrap().passed(chunk.end);
    }

    fn commit(&mut self, stream: usize) {
        self.ring.durable[stream] = self.ring.streams[stream].len();
    }

    fn commit_some(&mut self, streams: [bool; 2]) {
        (0..2).filter(|stream| streams[*stream]).for_each(|stream| self.commit(stream));
    }

    fn kill(&mut self) {
        self.ring.kill();
        let cursors = if self.forgets { None } else { self.ring.cursors() };
        self.follower = Follower::new(self.disk.clone(), cursors, false, false);
    }

    /// `logrotate` with `create`: the older files move on, the oldest goes.
    fn rotate(&mut self, kept: usize) {
        self.disk.remove(&format!("log.{kept}"));
        self.disk.remove(&format!("log.{kept}.gz"));
        for number in (1..kept).rev() {
            for ending in ["", ".gz"] {
                self.disk.rename(&format!("log.{number}{ending}"), &format!("log.{}{ending}", number + 1));
            }
        }
        self.disk.rename("log", "log.1");
        self.disk.create("log", vec![]);
    }

    /// `logrotate` with `copytruncate`, of a file that the agent knows; between copy and cut more is written. Gives the
    /// numbers of the lines that are not in the copy.
    fn copy_and_cut(&mut self, kept: usize, cut: &Cut) -> std::ops::RangeInclusive<u64> {
        self.look(true);
        self.commit_some(cut.commits_before);
        for number in (1..kept).rev() {
            self.disk.rename(&format!("log.{number}"), &format!("log.{}", number + 1));
        }
        self.disk.create("log.1", self.disk.text("log").unwrap());
        let first = self.count + 1;
        self.write(cut.between, 0);
        self.commit_some(cut.commits_behind);
        if cut.is_killed {
            self.kill();
        }
        self.disk.cut(self.disk.inode("log"));
        first..=self.count
    }

    fn compress(&mut self, number: usize) {
        let name = format!("log.{number}");
        if let Some(text) = self.disk.text(&name) {
            let packed = member(&text);
            let written_us = self.disk.stat(self.disk.inode(&name)).written_us;
            let inode = self.disk.create(&format!("{name}.gz"), packed[..packed.len() / 2].to_vec());
            self.look(false);
            self.disk.append(inode, &packed[packed.len() / 2..]);
            // As gzip and logrotate do it.
            self.disk.0.borrow_mut().files.get_mut(&inode).unwrap().written_us = written_us;
            self.disk.remove(&name);
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Write(lines, cut) => self.write(lines, cut),
            Step::Look => self.look(false),
            Step::Commit(stream) => self.commit(stream),
            Step::Kill => self.kill(),
            Step::Rotate => self.rotate(99),
            Step::Compress(number) => self.compress(number),
        }
    }

    /// Reads to the end of everything, and commits it.
    fn settle(&mut self) {
        for _ in 0..12 {
            self.look(true);
            self.commit(0);
            self.commit(1);
        }
    }

    fn is_all_there_once_and_in_order(&self) -> bool {
        Stream::ALL.iter().all(|stream| self.ring.lines(*stream) == self.written[usize::from(stream.number())])
    }
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, usize),
    Look,
    Commit(usize),
    Kill,
    Rotate,
    Compress(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_usize..400, 0_usize..5).prop_map(|(lines, cut)| Step::Write(lines, cut)),
        4 => Just(Step::Look),
        3 => (0_usize..2).prop_map(Step::Commit),
        2 => Just(Step::Kill),
        2 => Just(Step::Rotate),
        2 => (1_usize..4).prop_map(Step::Compress),
    ];
    prop::collection::vec(step, 1..60)
}

fn run(plant: &mut Plant, steps: &[Step]) {
    steps.iter().for_each(|step| plant.step(step));
    plant.settle();
}

proptest! {
    #[test]
    fn every_line_is_taken_once_and_in_order_whatever_happens(steps in steps()) {
        let mut plant = Plant::new();
        run(&mut plant, &steps);
        for stream in Stream::ALL {
            prop_assert_eq!(plant.ring.lines(stream), &plant.written[usize::from(stream.number())][..]);
        }
        prop_assert_eq!(&plant.unread, &[]);
    }
}

#[derive(Clone, Debug)]
enum CopyStep {
    Step(Step),
    CopyAndCut(Cut),
}

/// What happens around a copy and a cut.
#[derive(Clone, Debug)]
struct Cut {
    commits_before: [bool; 2],
    between: usize,
    commits_behind: [bool; 2],
    is_killed: bool,
}

fn copy_steps() -> impl Strategy<Value = Vec<CopyStep>> {
    let cut = (any::<[bool; 2]>(), 0_usize..9, any::<[bool; 2]>(), any::<bool>());
    let cut = cut.prop_map(|(commits_before, between, commits_behind, is_killed)| Cut {
        commits_before,
        between,
        commits_behind,
        is_killed,
    });
    let step = prop_oneof![
        // More than a fingerprint takes.
        6 => (200_usize..400).prop_map(|lines| CopyStep::Step(Step::Write(lines, 0))),
        4 => Just(CopyStep::Step(Step::Look)),
        3 => (0_usize..2).prop_map(|stream| CopyStep::Step(Step::Commit(stream))),
        2 => Just(CopyStep::Step(Step::Kill)),
        4 => cut.prop_map(CopyStep::CopyAndCut),
    ];
    prop::collection::vec(step, 1..30)
}

proptest! {
    #[test]
    fn what_is_copied_is_taken_once_and_in_order_whatever_happens(steps in copy_steps()) {
        let mut plant = Plant::new();
        let mut uncopied = Vec::new();
        for step in &steps {
            match step {
                CopyStep::Step(step) => plant.step(step),
                CopyStep::CopyAndCut(cut) if plant.disk.text("log").unwrap().len() >= FINGERPRINT_BYTES_MAX => {
                    uncopied.push(plant.copy_and_cut(99, cut));
                }
                CopyStep::CopyAndCut(..) => {}
            }
        }
        plant.settle();
        let number = |line: &str| line[2..].parse::<u64>().unwrap();
        for stream in Stream::ALL {
            let logged: Vec<u64> = plant.ring.lines(stream).into_iter().map(number).collect();
            let written = plant.written[usize::from(stream.number())].iter().map(|line| number(line));
            let is_there = |number: &u64| !uncopied.iter().any(|lost| lost.contains(number)) || logged.contains(number);
            prop_assert_eq!(&logged, &written.filter(is_there).collect::<Vec<_>>());
        }
    }
}

#[test]
fn without_its_places_an_agent_takes_lines_twice() {
    let mut plant = Plant { forgets: true, ..Plant::new() };
    run(&mut plant, &[Step::Write(9, 0), Step::Look, Step::Commit(0), Step::Commit(1), Step::Kill]);
    assert!(!plant.is_all_there_once_and_in_order());
}

#[test]
fn what_a_truncation_takes_is_declared_and_the_rest_is_there_once() {
    let mut plant = Plant::new();
    plant.write(50, 0);
    plant.look(true);
    let inode = plant.disk.inode("log");
    plant.disk.append(inode, b"s lost\n");
    plant.disk.cut(inode);
    let before = plant.disk.0.borrow().now_us;
    plant.write(50, 0);
    plant.settle();
    assert!(plant.is_all_there_once_and_in_order());
    assert!(plant.disk.0.borrow().now_us > before);
    let [unread] = &plant.unread[..] else { panic!("{:?}", plant.unread) };
    assert!(unread.from > 200 && unread.reason.contains("truncated"), "{unread:?}");
}

#[test]
fn a_copy_before_a_truncation_is_read_on_and_not_twice() {
    for is_packed in [false, true] {
        for looks in [false, true] {
            let mut plant = Plant::new();
            plant.write(50, 0);
            plant.look(true);
            plant.commit(0);
            plant.commit(1);
            plant.write(300, 0);
            plant.kill();
            let text = plant.disk.text("log").unwrap();
            plant.disk.create("log.1", if is_packed { member(&text) } else { text });
            if looks {
                plant.look(false);
            }
            let inode = plant.disk.inode("log");
            plant.disk.append(inode, b"s lost\n");
            plant.disk.cut(inode);
            plant.write(20, 0);
            plant.settle();
            assert!(plant.is_all_there_once_and_in_order(), "{is_packed} {looks}");
            assert_eq!(plant.unread.len(), 1, "{:?}", plant.unread);
        }
    }
}

/// The newest table of one stream has the cursor in the copy, and that of the other one in the original, of which more
/// was read than was copied.
#[test]
fn a_copy_that_is_shorter_than_what_was_read_is_not_read_again_after_a_kill() {
    for newest in [0, 1] {
        let mut plant = Plant::new();
        plant.write(302, 0);
        plant.look(true);
        plant.commit(0);
        plant.commit(1);
        plant.disk.create("log.1", plant.disk.text("log").unwrap());
        // None of these is critical, so that the samples' table has both ends behind the copy.
        plant.write(3, 0);
        plant.look(true);
        plant.commit(1);
        plant.disk.cut(plant.disk.inode("log"));
        plant.write(20, 0);
        plant.look(true);
        plant.commit(newest);
        plant.kill();
        plant.settle();
        plant.kill();
        plant.settle();
        assert!(plant.is_all_there_once_and_in_order(), "{newest}");
        assert_eq!(plant.unread.len(), 1, "{:?}", plant.unread);
    }
}

#[test]
fn what_was_deleted_unread_is_declared_and_what_is_open_is_read_to_its_end() {
    let mut plant = Plant::new();
    plant.write(50, 0);
    plant.look(true);
    plant.write(50, 0);
    plant.disk.remove("log");
    plant.disk.create("log", vec![]);
    plant.settle();
    assert!(plant.is_all_there_once_and_in_order(), "it was open");
    assert_eq!(plant.unread, []);
    plant.write(50, 0);
    plant.settle();
    let written = plant.disk.text("log").unwrap().len() as u64;
    plant.kill();
    plant.disk.append(plant.disk.inode("log"), b"s lost\n");
    plant.disk.remove("log");
    plant.settle();
    let [unread] = &plant.unread[..] else { panic!("{:?}", plant.unread) };
    assert_eq!((unread.from, unread.bytes_least), (written, 0));
}

#[test]
fn a_line_over_the_limit_is_refused_and_the_next_is_taken() {
    let mut plant = Plant::new();
    plant.write(3, 0);
    let inode = plant.disk.inode("log");
    plant.disk.append(inode, &vec![b'x'; 300_000]);
    plant.look(true);
    plant.disk.append(inode, b"y\n");
    plant.write(3, 0);
    plant.settle();
    assert!(plant.is_all_there_once_and_in_order());
}

#[test]
fn files_beyond_the_room_wait_or_push_out_the_oldest_that_are_read() {
    let mut plant = Plant::new();
    for number in 0..200 {
        let line = format!("s part {number}");
        plant.disk.create(&format!("part-{number:03}"), format!("{line}\n").into_bytes());
        plant.written[1].push(line);
    }
    plant.settle();
    assert_eq!(plant.follower.waiting, 136, "nothing is forgotten that may still be written");
    plant.disk.0.borrow_mut().now_us += 61_000_000;
    plant.settle();
    assert!(plant.is_all_there_once_and_in_order(), "{:?}", plant.ring.lines(Stream::Samples).len());
    plant.kill();
    plant.settle();
    assert!(plant.is_all_there_once_and_in_order(), "what was forgotten counts as read");
    assert_eq!(plant.unread, []);
}

#[test]
fn files_that_are_there_can_be_left_out_and_later_ones_are_not() {
    let mut plant = Plant::new();
    plant.write(50, 3);
    let before = [plant.written[0].len(), plant.written[1].len()];
    plant.ring = Ring::default();
    plant.follower = Follower::new(plant.disk.clone(), None, true, false);
    plant.settle();
    plant.write(50, 0);
    plant.rotate(9);
    plant.kill();
    plant.write(50, 0);
    plant.settle();
    for stream in Stream::ALL {
        let at = usize::from(stream.number());
        assert_eq!(plant.ring.lines(stream), plant.written[at][before[at]..]);
    }
}
