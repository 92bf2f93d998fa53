//! Files that are followed: every line once, across growth, rotation by rename and by truncation, deletion,
//! compression, and a kill of the agent at any moment.
//!
//! # Where the cursor is
//!
//! How far each file is read stands in the ring log, in the batch of the events that its lines have led to
//! ([`Body::Followed`]): a table of the input's files, which is pushed under one lock with the events and is durable
//! with them. Neither is there without the other. The ring log keeps the segment with the newest table, although the
//! collector has all of it, until a newer one is on disk: as the table of devices (see [`crate::intake::serial`]).
//!
//! | the agent dies | after the start |
//! |---|---|
//! | before the commit | the table has the cursor before; the lines are read again, and none of their events is there |
//! | after the commit | the table has the new cursor; the lines are not read again |
//! | in the middle of the write | the tail is torn, its events and its table are gone with it; as before the commit |
//! | between the commits of the two streams | the lines are read again, and the events of the stream that has them left out |
//!
//! When the ring log has lost the newest table (a damaged disk, or samples that gave up their last segment), an older
//! one counts, and lines since then come twice; when it has lost all of them, files are read as at the first look.
//!
//! # What is known of a file
//!
//! Its inode, the first 1024 bytes of its text, and how far its lines are taken ([`cursor`]); what follows from these
//! is described in [`follow`]. `paths` should match what rotation makes of a file: what is renamed to a name
//! that is not followed is read to its end only while the agent runs.
//!
//! # What is lost
//!
//! Copytruncate loses what is written between copy and cut, for logrotate itself too. Whenever a file is truncated, or
//! gone before it was known to be read to its end, the event [`LifeCycle::Unread`] names the byte from which on
//! something may be missing, and how much is known to be.
//!
//! A copy of less than 1024 bytes is not known again when more of its original was read, before the cut, than was
//! copied: then its lines are taken twice.
//!
//! Two files whose texts begin with the same bytes, and one of which is shorter than 1024 bytes, are distinguished as
//! soon as they differ, or the newer one is the longer one.
//!
//! The modules, in the order in which a line passes them: [`files`] (with [`pattern`]), [`content`] (with [`gzip`]),
//! [`follow`] (with [`fingerprint`] and [`cursor`]), [`lines`], then the sink.
//!
//! [`Body::Followed`]: afferent_protocol::event::Body::Followed
//! [`LifeCycle::Unread`]: afferent_protocol::event::LifeCycle::Unread

pub mod content;
pub mod cursor;
pub mod files;
pub mod fingerprint;
pub mod follow;
pub mod gzip;
mod input;
pub mod lines;
pub mod pattern;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use afferent_protocol::event::{Body, Event, LifeCycle};
use afferent_protocol::ids::{SourceId, Stream, Subject};
use afferent_protocol::limits::TEXT_BYTES_MAX;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::clock::Clock;
use crate::intake::line::{LineError, LineParser, ParsedLine, cut};
use crate::intake::sink::{Commits, FileSink, Refusal, Ticket};
use crate::intake::take::LineMetrics;
use crate::limits::{LINE_BYTES_MAX, REPLAY_RETRY_MS, TAIL_GROUP_BYTES, TAIL_GROUP_LINES};
use crate::metrics::{Counter, Registry};
use crate::supervise::Ended;
use afferent_host::stop::Stop;
use cursor::{FileCursors, Move};
use files::OnDisk;
use follow::{Chunk, Follower, Now, Unread};
pub use input::{Tail, TailConfig};
use lines::{LineMaker, Made};

/// What such an input counts.
#[derive(Clone)]
pub struct TailMetrics {
    lines: LineMetrics,
    skipped: Counter,
    unread: Counter,
    name: Arc<str>,
}

impl TailMetrics {
    /// The counters of the input `name` in `registry`.
    pub fn new(registry: &Registry, name: &str) -> Self {
        let labels = [("intake", name)];
        Self {
            lines: LineMetrics::new(registry, name),
            skipped: registry.counter(
                "afferent_intake_lines_skipped_total",
                "Lines of followed files that the pattern does not fit and that are left out.",
                &labels,
            ),
            unread: registry.counter(
                "afferent_intake_unread_total",
                "Followed files that were truncated or gone before they were known to be read.",
                &labels,
            ),
            name: name.into(),
        }
    }

    fn refuse(&self, chunk: &Chunk, start: u64, error: &str) {
        self.lines.refused.add(1);
        let path = chunk.path.display();
        let text = format!(
            "the line at byte {start} of {path} was refused, and its event is lost: {error}; correct the program that \
             writes it"
        );
        self.lines.troubles.happened(&format!("lines of {}", self.name), text);
    }
}

/// The agent stops: nothing is taken any more.
struct Stopped;

/// Follows the files until the agent stops.
pub async fn run<S: FileSink>(
    agent: SourceId,
    config: TailConfig,
    sink: S,
    clock: Arc<dyn Clock>,
    metrics: TailMetrics,
    mut stop: Stop,
) -> Ended {
    let (tables, tickets) = sink.followed(&config.name);
    let cursors = FileCursors::restore(tables, tickets);
    let maker = LineMaker::new(config.form.clone(), config.mapping.clone());
    let follower = Follower::new(OnDisk::new(config.paths.clone()), cursors, config.from_end, maker.wants_head());
    let (durable, parser, started) = (sink.durable(), LineParser::default(), Instant::now());
    let mut tailing = Tailing { agent, config, sink, clock, metrics, durable, maker, parser, started };
    tokio::select! {
        () = stop.requested() => return Ok(()),
        Stopped = tailing.follow(follower) => {}
    }
    stop.requested().await;
    Ok(())
}

struct Tailing<S> {
    agent: SourceId,
    config: TailConfig,
    sink: S,
    clock: Arc<dyn Clock>,
    metrics: TailMetrics,
    durable: watch::Receiver<Commits>,
    maker: LineMaker,
    parser: LineParser,
    started: Instant,
}

/// Where a line is in what was read, and in its file.
#[derive(Clone, Copy)]
struct Span {
    from: usize,
    to: usize,
    start: u64,
    end: u64,
}

impl<S: FileSink> Tailing<S> {
    /// May be dropped at any of its waits: what is pushed and how far it goes change together.
    async fn follow(&mut self, mut follower: Follower<OnDisk>) -> Stopped {
        loop {
            follower = match self.round(follower).await {
                Ok(follower) => follower,
                Err(stopped) => return stopped,
            };
            sleep(self.config.interval).await;
        }
    }

    /// Looks, and reads all there is.
    async fn round(&mut self, mut follower: Follower<OnDisk>) -> Result<Follower<OnDisk>, Stopped> {
        follower.cursors.refresh(&self.durable.borrow_and_update());
        let now = self.now();
        let (returned, looked) = blocking(follower, move |follower| follower.look(now)).await;
        follower = returned;
        let kind = format!("tail {}", self.metrics.name);
        match looked {
            Ok(unread) => {
                self.metrics.lines.troubles.ends(&kind);
                self.declare(&mut follower, unread).await?;
            }
            Err(error) => {
                let text = format!("the files of {} cannot be listed: {error}; it is tried again", self.metrics.name);
                self.metrics.lines.troubles.begins(&kind, text);
            }
        }
        loop {
            let now = self.now();
            let (returned, (chunk, unread)) = blocking(follower, move |follower| {
                let mut unread = Vec::new();
                (follower.next(now, &mut unread), unread)
            })
            .await;
            follower = returned;
            self.declare(&mut follower, unread).await?;
            let Some(chunk) = chunk else { break };
            self.take(&mut follower, &chunk).await?;
        }
        if follower.cursors.is_unsaid {
            // A table that finds no room now comes with the next lines.
            let _ = self.push(&mut follower, Stream::Critical, &[], None).await?;
        }
        self.report(&mut follower);
        Ok(follower)
    }

    fn now(&self) -> Now {
        Now { ms: self.started.elapsed().as_millis() as u64, wall_us: self.clock.wall().micros() }
    }

    /// Says which files find no room.
    fn report(&self, follower: &mut Follower<OnDisk>) {
        let name = &self.metrics.name;
        if follower.waiting > 0 {
            let text = format!(
                "{} files of {name} wait, for as many as can be followed at once are not read to their ends: narrow `paths`, \
                 or remove old files",
                follower.waiting
            );
            self.metrics.lines.troubles.happened(&format!("room of {name}"), text);
        }
        if std::mem::take(&mut follower.is_behind) {
            let text = format!(
                "files of {name} that are older than those which had to be forgotten count as read: narrow `paths`, or \
                 remove old files"
            );
            self.metrics.lines.troubles.happened(&format!("horizon of {name}"), text);
        }
    }

    /// Declares what of files is gone, in the log and in the agent's own.
    async fn declare(&mut self, follower: &mut Follower<OnDisk>, unread: Vec<Unread>) -> Result<(), Stopped> {
        for Unread { path, from, bytes_least, reason } in unread {
            let (file, reason) = (cut(path.display().to_string(), TEXT_BYTES_MAX), cut(reason, TEXT_BYTES_MAX));
            let agent = self.agent;
            let subject = Subject::new(agent.as_str()).expect("every source name is a subject");
            let body = Body::LifeCycle(LifeCycle::Unread { file: &file, from, bytes_least, reason: &reason });
            let event = Event { time: self.clock.wall(), subject, body };
            let declared = self.push(follower, Stream::Critical, &[event], None).await?;
            self.metrics.unread.add(1);
            let in_log = if declared.is_ok() { "" } else { "; the ring log has no room to declare it" };
            let text = format!(
                "{file}: {reason} (it was read up to byte {from}; {bytes_least} bytes behind that are known of){in_log}"
            );
            self.metrics.lines.troubles.happened(&format!("unread of {}", self.metrics.name), text);
        }
        Ok(())
    }

    /// Takes the lines of a chunk, some at a time.
    async fn take(&mut self, follower: &mut Follower<OnDisk>, chunk: &Chunk) -> Result<(), Stopped> {
        if chunk.bytes.is_empty() {
            self.metrics.refuse(chunk, chunk.start, &LineError::TooLong.text());
        }
        let spans = spans(chunk);
        let mut rest = &spans[..];
        while let Some(first) = rest.first() {
            let fits = |span: &&Span| span.to - first.from <= TAIL_GROUP_BYTES;
            let count = rest.iter().take(TAIL_GROUP_LINES).take_while(fits).count().max(1);
            let (group, others) = rest.split_at(count);
            self.take_group(follower, chunk, group).await?;
            rest = others;
        }
        if let Some(cursor) = follower.cursors.get_mut(chunk.number) {
            cursor.passed(chunk.end);
        }
        Ok(())
    }

    async fn take_group(
        &mut self,
        follower: &mut Follower<OnDisk>,
        chunk: &Chunk,
        lines: &[Span],
    ) -> Result<(), Stopped> {
        let (mut text, mut made) = (String::new(), Vec::new());
        for line in lines {
            let bytes = &chunk.bytes[line.from..line.to];
            if bytes.len() > LINE_BYTES_MAX {
                self.metrics.refuse(chunk, line.start, &LineError::TooLong.text());
                continue;
            }
            let before = text.len();
            match self.maker.make(chunk, line.start, bytes, &mut text) {
                _ if bytes.iter().all(u8::is_ascii_whitespace) => text.truncate(before),
                Ok(Made::AsItIs) => made.push((*line, None)),
                Ok(Made::Lines) => made.push((*line, Some(before..text.len()))),
                Ok(Made::Nothing) => {}
                Ok(Made::Skipped) => self.metrics.skipped.add(1),
                Err(error) => self.metrics.refuse(chunk, line.start, &error),
            }
        }
        let mut parsed: Vec<(Span, ParsedLine<'_>)> = Vec::with_capacity(made.len());
        for (line, range) in &made {
            let begin = parsed.len();
            let own = &chunk.bytes[line.from..line.to];
            let texts = range.as_ref().map_or("", |range| &text[range.clone()]);
            let all = range.is_none().then_some(own).into_iter().chain(texts.lines().map(str::as_bytes));
            for one in all {
                match self.parser.parse(one) {
                    Ok(one) => parsed.push((*line, one)),
                    Err(error) => {
                        self.metrics.refuse(chunk, line.start, &error.text());
                        parsed.truncate(begin);
                        break;
                    }
                }
            }
        }
        let (time, mut events, mut refused) = (self.clock.wall(), Vec::with_capacity(parsed.len()), None);
        for (line, one) in &parsed {
            match one.event(time) {
                Ok(event) => events.push((line.end, event)),
                Err(_) if refused == Some(line.end) => {}
                Err(error) => {
                    refused = Some(line.end);
                    self.metrics.refuse(chunk, line.start, &error.text());
                }
            }
            events.retain(|(end, _)| refused != Some(*end));
        }
        let Some(end) = lines.last().map(|line| line.end) else { return Ok(()) };
        self.take_events(follower, chunk, lines, end, &events).await
    }

    /// Pushes the events of some lines, stream by stream.
    async fn take_events(
        &mut self,
        follower: &mut Follower<OnDisk>,
        chunk: &Chunk,
        lines: &[Span],
        end: u64,
        events: &[(u64, Event<'_>)],
    ) -> Result<(), Stopped> {
        let Some(taken) = follower.cursors.get_mut(chunk.number).map(|cursor| cursor.taken()) else { return Ok(()) };
        let of = |stream: Stream| {
            let is_new = move |(end, event): &&(u64, Event<'_>)| {
                event.stream() == stream && *end > taken[usize::from(stream.number())]
            };
            events.iter().filter(is_new).map(|(_, event)| *event).collect::<Vec<_>>()
        };
        let [critical, samples] = Stream::ALL.map(of);
        for (stream, events, other_follows) in
            [(Stream::Critical, &critical, !samples.is_empty()), (Stream::Samples, &samples, false)]
        {
            if events.is_empty() {
                continue;
            }
            let lines_moved = Move { number: chunk.number, end, other_follows };
            match self.push(follower, stream, events, Some(lines_moved)).await? {
                Ok(ticket) => {
                    if let Some(cursor) = follower.cursors.get_mut(chunk.number) {
                        cursor.pushed(stream, end, ticket);
                    }
                }
                Err(refusal) if lines.len() == 1 => {
                    self.metrics.refuse(chunk, lines[0].start, &refusal.to_string());
                    break;
                }
                Err(_) => {
                    let (one, other) = lines.split_at(lines.len() / 2);
                    Box::pin(self.take_group(follower, chunk, one)).await?;
                    return Box::pin(self.take_group(follower, chunk, other)).await;
                }
            }
        }
        self.metrics.lines.taken.add((critical.len() + samples.len()) as u64);
        if let Some(cursor) = follower.cursors.get_mut(chunk.number) {
            cursor.passed(end);
        }
        Ok(())
    }

    /// Pushes events with the table of files, as soon as there is room. The refusal is one that stays.
    async fn push(
        &mut self,
        follower: &mut Follower<OnDisk>,
        stream: Stream,
        events: &[Event<'_>],
        lines: Option<Move>,
    ) -> Result<Result<Ticket, Refusal>, Stopped> {
        loop {
            follower.cursors.refresh(&self.durable.borrow_and_update());
            let table = follower.cursors.table(self.agent, &self.config.name, self.clock.wall(), stream, lines);
            match self.sink.push_lines(stream, events, table) {
                Ok(ticket) => {
                    follower.cursors.is_unsaid = false;
                    return Ok(Ok(ticket));
                }
                Err(Refusal::Full) => self.sink.room().await,
                // What lies in a file can wait for the disk.
                Err(Refusal::Unwritable(_)) => sleep(Duration::from_millis(REPLAY_RETRY_MS)).await,
                Err(Refusal::Stopped | Refusal::Failed(_)) => return Err(Stopped),
                Err(refusal @ (Refusal::Invalid(_) | Refusal::TooMuch)) => return Ok(Err(refusal)),
            }
        }
    }
}

/// The lines of a chunk, without their ends.
fn spans(chunk: &Chunk) -> Vec<Span> {
    let (mut spans, mut from) = (Vec::new(), 0);
    while from < chunk.bytes.len() {
        let line_end = memchr::memchr(b'\n', &chunk.bytes[from..]).map(|len| from + len);
        let (to, next) = line_end.map_or((chunk.bytes.len(), chunk.bytes.len()), |end| (end, end + 1));
        let end = chunk.start + next as u64;
        let start = chunk.start + from as u64;
        let to = if chunk.bytes[from..to].ends_with(b"\r") { to - 1 } else { to };
        spans.push(Span { from, to, start, end });
        from = next;
    }
    assert!(spans.last().is_none_or(|last| last.end == chunk.end), "a chunk ends with its last line");
    spans
}

/// Lets the follower wait for the disk on a thread of its own.
async fn blocking<T: Send + 'static>(
    mut follower: Follower<OnDisk>,
    work: impl FnOnce(&mut Follower<OnDisk>) -> T + Send + 'static,
) -> (Follower<OnDisk>, T) {
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&mut follower);
        (follower, done)
    });
    match done.await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going away, and this task with it.
            Err(_) => std::future::pending().await,
        },
    }
}
