//! The sending half of `afferent_protocol`'s session, as small as a device needs it: the log's runs are its lanes, and what
//! a batch's check is the log is asked when the ack comes. Its rules are those of "Session" in the protocol's README.

use afferent_protocol::ids::Stream;
use afferent_protocol::session::{Answer, AnswerKind, Resume, write_hello};

use crate::limits::{HELLO_TRIES_MAX, PATIENCE_MAX, SAMPLES_TURN, TIMEOUT_TICKS};
use crate::log::Log;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A hello is to be said.
    Begun,
    /// A welcome is waited for.
    Greeting,
    /// An agent has answered.
    Streaming,
}

/// What is to be said next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, now.
    Nothing,
    /// A hello.
    Hello,
    /// A batch of this stream.
    Batch(Stream),
}

/// What an answer led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// The agent has more on its disk than was known.
    pub released: bool,
    /// Lanes in which it has something else than the log here.
    pub diverged: u8,
}

/// The session. Its ticks are of 1024 µs and go round.
#[derive(Debug)]
pub struct Session {
    /// Of the last hello.
    number: u32,
    /// Of the first hello since the last welcome: all of them say the same or less than is true, a welcome to any will do.
    number_first: u32,
    phase: Phase,
    /// When the last hello was said, and how many in a row.
    said: u32,
    tries: u8,
    turn: u8,
}

impl Session {
    /// One that begins with a hello. `number` is best a random number.
    pub const fn new(number: u32) -> Self {
        Self { number, number_first: number.wrapping_add(1), phase: Phase::Begun, said: 0, tries: 0, turn: 0 }
    }

    /// Whether an agent has answered and batches flow.
    pub fn is_streaming(&self) -> bool {
        self.phase == Phase::Streaming
    }

    /// What to say now.
    pub fn next(&mut self, log: &mut Log<'_>) -> Next {
        let now = log.ticks();
        let is_over = |since: u32, tries: u8| now.wrapping_sub(since) >= TIMEOUT_TICKS << tries;
        match self.phase {
            Phase::Begun => return Next::Hello,
            Phase::Greeting if is_over(self.said, self.tries) => {
                self.tries = (self.tries + 1) % HELLO_TRIES_MAX;
                return Next::Hello;
            }
            Phase::Greeting => return Next::Nothing,
            Phase::Streaming => {}
        }
        if log.streams.iter().any(|stream| stream.waits().is_some_and(|(since, tries)| is_over(since, tries))) {
            self.greet(log);
            return Next::Hello;
        }
        if log.streams.iter().any(|stream| stream.wants_hello()) {
            return Next::Hello;
        }
        let [critical, samples] = log.streams.each_ref().map(|stream| stream.ready().is_some());
        if !critical {
            return if samples { Next::Batch(Stream::Samples) } else { Next::Nothing };
        }
        self.turn = if samples { (self.turn + 1) % SAMPLES_TURN } else { 0 };
        Next::Batch(if samples && self.turn == 0 { Stream::Samples } else { Stream::Critical })
    }

    /// Begins again with a hello. Every stream that waited will wait longer the next time.
    fn greet(&mut self, log: &mut Log<'_>) {
        log.streams.iter_mut().for_each(|stream| stream.be_patient(PATIENCE_MAX));
        (self.phase, self.tries, self.number_first) = (Phase::Begun, 0, self.number.wrapping_add(1));
    }

    /// Writes the hello to the start of the log's work buffer; gives its length. While batches flow its welcome is not
    /// waited for.
    pub fn hello(&mut self, log: &mut Log<'_>) -> Option<usize> {
        self.number = self.number.wrapping_add(1);
        if self.phase != Phase::Streaming {
            (self.phase, self.said) = (Phase::Greeting, log.ticks());
        }
        log.streams.iter_mut().for_each(|stream| stream.said());
        write_hello(self.number, &log.held(), log.work)
    }

    /// An answer came. One that comes too late or too early costs nothing.
    pub fn hear(&mut self, answer: Answer<'_>, log: &mut Log<'_>) -> Heard {
        let mut heard = Heard::default();
        match answer.kind {
            AnswerKind::Welcome(number) => {
                let asked = self.number.wrapping_sub(self.number_first);
                if self.phase != Phase::Greeting || number.wrapping_sub(self.number_first) > asked {
                    return heard;
                }
                self.phase = Phase::Streaming;
                let now = log.ticks();
                log.streams.iter_mut().for_each(|stream| stream.begin(now));
            }
            _ if self.phase != Phase::Streaming => return heard,
            _ => {}
        }
        for resume in answer {
            if answer.kind == AnswerKind::Nack {
                let Log { streams, source, work, .. } = &mut *log;
                let stream = &mut streams[usize::from(resume.lane.stream.number())];
                if stream.nack(resume.lane.epoch, end_of(&resume), source, work) {
                    self.greet(log);
                }
            } else {
                agree(answer.kind == AnswerKind::Ack, &resume, log, &mut heard);
            }
        }
        heard
    }
}

/// Holds what the agent has of a lane against what is here.
fn agree(is_ack: bool, resume: &Resume, log: &mut Log<'_>, heard: &mut Heard) {
    let Resume { lane, check: theirs, .. } = *resume;
    let end = end_of(resume);
    let now = log.ticks();
    let Log { streams, work, .. } = &mut *log;
    let stream = &mut streams[usize::from(lane.stream.number())];
    let Some(first) = stream.first_of(lane.epoch) else { return };
    if end < first && !is_ack {
        // Given up since the hello was made.
        stream.is_unsaid(lane.epoch);
    }
    if end < first || (theirs.is_none() && (is_ack || end == first)) || (is_ack && end == first) {
        return;
    }
    // When the log cannot be read now, the next answer will do.
    let Ok(ours) = stream.check(lane.epoch, end, work) else { return };
    let contradicts = match (ours, theirs) {
        (Some(ours), Some(theirs)) => ours != theirs,
        // A batch that was let go of long ago is no contradiction. One that never was here is.
        (None, _) => end > first,
        // After a hole the agent does not know what came before, and has nothing to hold against it.
        (Some(_), None) => false,
    };
    if contradicts {
        heard.diverged += 1;
        log.give_up(lane.stream, lane.epoch);
    } else if end > first {
        // Behind a hole the agent has no check, and what it has before the hole it will never take again: were it not
        // let go of, the lane would wait for ever.
        heard.released = true;
        stream.release(now, lane.epoch, end, work);
    }
}

/// The end that an answer names. Beyond what an epoch here can have it is one that never was here.
fn end_of(resume: &Resume) -> u32 {
    u32::try_from(resume.end.get()).unwrap_or(u32::MAX)
}
