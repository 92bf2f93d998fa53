//! One producer's connection: lines in, answers out, with bounded memory.

use std::io;
use std::time::Duration;

use afferent_host::stop::Stop;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;

use super::Door;
use super::answers::Answers;
use super::replays::{Outcome, Run};
use super::slots::Slot;
use crate::intake::line::LineParser;
use crate::intake::lines::{Line, LineBuffer};
use crate::intake::sink::{Commits, EventSink, Refusal, Ticket, Waiting};
use crate::limits::{CONNECTION_IDLE, DRAIN_MS};

/// How far a connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Lines may come.
    Reading,
    /// The sink is full, and the lines that were read wait.
    Full,
    /// No more lines come; accepted lines are still answered.
    Ending,
}

/// Why a wait has ended.
enum Woken {
    Read(io::Result<usize>),
    Wrote(io::Result<usize>),
    Durable(Result<(), watch::error::RecvError>),
    Room,
    Idle,
    /// The producer was silent for this long, and a newcomer got its slot.
    Displaced(Duration),
    Stop,
}

pub(super) struct Connection<'d, S> {
    door: &'d Door<S>,
    slot: &'d Slot,
    parser: LineParser,
    lines: LineBuffer,
    answers: Answers,
    /// A line that the sink had no room for; it is read out of the buffer already.
    held: Option<Vec<u8>>,
    phase: Phase,
    /// The replay that the lines belong to.
    run: Option<Run>,
    /// The producer has sent its last byte.
    input_ended: bool,
}

impl<'d, S: EventSink> Connection<'d, S> {
    pub(super) fn new(door: &'d Door<S>, slot: &'d Slot) -> Self {
        Self {
            door,
            slot,
            parser: LineParser::default(),
            lines: LineBuffer::default(),
            answers: Answers::default(),
            held: None,
            phase: Phase::Reading,
            run: None,
            input_ended: false,
        }
    }

    /// Serves the producer until it has closed its side and all its lines are answered, or the agent stops.
    pub(super) async fn run<R, W>(mut self, mut reader: R, mut writer: W, mut stop: Stop) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut durable = self.door.sink.durable();
        loop {
            let commits = *durable.borrow_and_update();
            self.answers.durable(&commits);
            if self.phase == Phase::Ending && !self.answers.waiting() && self.answers.unwritten().is_empty() {
                return writer.shutdown().await;
            }
            let may_read = self.phase == Phase::Reading && !self.answers.crowded();
            let woken = tokio::select! {
                () = stop.requested() => Woken::Stop,
                changed = durable.changed(), if self.answers.waiting() => Woken::Durable(changed),
                wrote = writer.write(self.answers.unwritten()), if !self.answers.unwritten().is_empty() => Woken::Wrote(wrote),
                () = self.door.sink.room(), if self.phase == Phase::Full => Woken::Room,
                () = tokio::time::sleep(CONNECTION_IDLE), if self.lines.is_large() => Woken::Idle,
                silent = self.slot.lost() => Woken::Displaced(silent),
                read = reader.read(self.lines.space()), if may_read => Woken::Read(read),
            };
            if let Woken::Displaced(silent) = woken {
                let seconds = silent.as_secs();
                let why = format!("no line in {seconds} s, and a new producer needed the connection; connect again");
                self.answers.ends(&why);
            }
            match woken {
                Woken::Stop | Woken::Displaced(_) => {
                    self.phase = Phase::Ending;
                    let drained = self.drain(writer, durable);
                    return tokio::time::timeout(Duration::from_millis(DRAIN_MS), drained).await.unwrap_or(Ok(()));
                }
                other => self.apply(other)?,
            }
        }
    }

    /// Answers the accepted lines, then the connection ends.
    async fn drain<W: AsyncWrite + Unpin>(
        &mut self,
        mut writer: W,
        mut durable: watch::Receiver<Commits>,
    ) -> io::Result<()> {
        loop {
            let commits = *durable.borrow_and_update();
            self.answers.durable(&commits);
            writer.write_all(self.answers.unwritten()).await?;
            self.answers.wrote(self.answers.unwritten().len());
            // A closed ring log gives no more answers: lines that it did not commit stay unanswered.
            if !self.answers.waiting() || durable.changed().await.is_err() {
                return writer.shutdown().await;
            }
        }
    }

    fn apply(&mut self, woken: Woken) -> io::Result<()> {
        match woken {
            Woken::Read(read) => {
                let count = read?;
                self.door.metrics.bytes.add(count as u64);
                self.slot.heard();
                self.lines.filled(count);
                self.input_ended = count == 0;
                self.take_lines();
            }
            Woken::Wrote(wrote) => {
                self.answers.wrote(match wrote? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => count,
                });
                // Lines may be held back because too many answers waited.
                self.take_lines();
            }
            Woken::Room => self.take_lines(),
            Woken::Idle => self.lines.shrink(),
            Woken::Durable(Ok(())) => {}
            Woken::Durable(Err(_)) => return Err(io::Error::other("the ring log has stopped")),
            Woken::Stop | Woken::Displaced(_) => self.phase = Phase::Ending,
        }
        Ok(())
    }

    /// Takes the lines that are there, as far as the sink has room and the answers do.
    fn take_lines(&mut self) {
        if self.phase == Phase::Ending {
            return;
        }
        self.phase = Phase::Reading;
        let mut door =
            Entrance { door: self.door, parser: &mut self.parser, answers: &mut self.answers, run: &mut self.run };
        if let Some(held) = self.held.take()
            && !door.enter(&Line::Whole(&held))
        {
            self.held = Some(held);
            self.phase = Phase::Full;
            return;
        }
        while !door.answers.crowded() {
            let line = match self.lines.next_line() {
                Some(line) => line,
                None if self.input_ended => match self.lines.last_line() {
                    Some(line) => line,
                    None => {
                        self.phase = Phase::Ending;
                        return;
                    }
                },
                None => return,
            };
            if !door.enter(&line) {
                let Line::Whole(line) = line else { unreachable!("a line over the limit is refused, never held") };
                self.held = Some(line.to_vec());
                self.phase = Phase::Full;
                return;
            }
        }
    }
}

/// The parts of a connection that one line passes.
struct Entrance<'c, S> {
    door: &'c Door<S>,
    parser: &'c mut LineParser,
    answers: &'c mut Answers,
    run: &'c mut Option<Run>,
}

impl<S: EventSink> Entrance<'_, S> {
    /// Takes one line or refuses it; `false` when it must wait for room.
    fn enter(&mut self, line: &Line<'_>) -> bool {
        match *line {
            Line::Whole(line) if line.iter().all(u8::is_ascii_whitespace) => self.answers.empty(),
            Line::Whole(line) => match self.door.replays.control(line) {
                Some(Outcome::Begun(run)) => {
                    *self.run = Some(run);
                    self.answers.empty();
                    return true;
                }
                Some(Outcome::Answer(answer)) => {
                    self.answers.push(&answer);
                    return true;
                }
                Some(Outcome::Refused(why)) => self.refuse(why),
                None => match self.push(line) {
                    Ok(ticket) => {
                        self.answers.taken(ticket);
                        self.door.metrics.accepted.add(1);
                    }
                    Err(Refused::Full) => return false,
                    Err(Refused::Reason(error)) => self.refuse(&error),
                    Err(Refused::Now(error)) => {
                        // It is to come again, and with it all behind it.
                        *self.run = None;
                        self.refuse(&error);
                    }
                },
            },
            Line::TooLong => self.refuse(&crate::intake::line::LineError::TooLong.text()),
        }
        if let Some(run) = &self.run {
            run.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        true
    }

    fn refuse(&mut self, error: &str) {
        self.answers.refused(error);
        self.door.metrics.refused.add(1);
    }

    fn push(&mut self, line: &[u8]) -> Result<Ticket, Refused> {
        let reason = |error: crate::intake::line::LineError| Refused::Reason(error.text());
        let parsed = self.parser.parse(line).map_err(reason)?;
        let event = parsed.event(self.door.clock.wall()).map_err(reason)?;
        let text = |refusal: Refusal| crate::intake::line::cut(refusal.to_string(), crate::limits::REFUSAL_BYTES_MAX);
        self.door.sink.push(&event, Waiting::Producer).map_err(|refusal| match refusal {
            Refusal::Full => Refused::Full,
            Refusal::Unwritable(_) | Refusal::Stopped | Refusal::Failed(_) => Refused::Now(text(refusal)),
            Refusal::Invalid(_) | Refusal::TooMuch => Refused::Reason(text(refusal)),
        })
    }
}

enum Refused {
    Full,
    /// The agent cannot accept it now; the line is valid.
    Now(String),
    Reason(String),
}
