//! The sending half of `afferent_protocol`'s session, as small as a device needs it: the log's runs are its lanes, and
//! what a batch's check is the log is asked when the ack comes. Its rules are those of "Session" in the protocol's
//! README.
//!
//! No message of the agent makes it release what the agent does not show to have: an ack counts when its end may have
//! been sent and its check is that of the batch that ends there. A welcome that contradicts parts the lane, see
//! [`crate::stream_log`]; an ack that does is passed over, and the wait for a better one ends in a hello.

use afferent_protocol::ids::Stream;
use afferent_protocol::session::{Answer, AnswerKind, Resume, write_ask, write_hello};

use crate::limits::{HELLO_TRIES_MAX, PATIENCE_MAX, SAMPLES_TURN, TIMEOUT_TICKS};
use crate::log::Log;
use crate::stream_log::Wants;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// A hello is due.
    Begun,
    /// A welcome is waited for.
    Greeting,
    /// An agent has answered.
    Streaming,
}

/// What to send next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing, now.
    Nothing,
    /// A hello.
    Hello,
    /// A hello that does not probe the line: a lane begins.
    HelloOfLane,
    /// A question for an end of this stream.
    Ask(Stream),
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
    /// It is the first welcome since boot.
    is_first: bool,
}

/// The session. Its ticks are of 1024 µs and go round.
#[derive(Debug)]
pub struct Session {
    /// The number of the last hello.
    number: u32,
    /// Of the first hello since the last welcome: each claims at most what is held, so a welcome to any of them is
    /// valid.
    number_first: u32,
    phase: Phase,
    /// When the last hello was sent, and how many in a row.
    said: u32,
    tries: u8,
    turn: u8,
    /// No agent has answered since boot.
    is_alone: bool,
}

impl Session {
    /// A session that begins with a hello. `number` should be random.
    pub const fn new(number: u32) -> Self {
        Self {
            number,
            number_first: number.wrapping_add(1),
            phase: Phase::Begun,
            said: 0,
            tries: 0,
            turn: 0,
            is_alone: true,
        }
    }

    /// Whether an agent has answered and batches flow.
    pub fn is_streaming(&self) -> bool {
        self.phase == Phase::Streaming
    }

    /// The next message to send.
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
        let wants = log.streams.each_ref().map(|stream| stream.wants(&is_over));
        if wants.contains(&Wants::Late) {
            self.greet(log);
            return Next::Hello;
        }
        if wants.contains(&Wants::Welcome) {
            self.begin();
            return Next::HelloOfLane;
        }
        if wants.contains(&Wants::Hello) {
            return Next::Hello;
        }
        if let Some((stream, _)) = Stream::ALL.into_iter().zip(wants).find(|(_, wants)| *wants == Wants::Answer) {
            return Next::Ask(stream);
        }
        let [critical, samples] = wants.map(|wants| wants == Wants::Batch);
        if !critical {
            return if samples { Next::Batch(Stream::Samples) } else { Next::Nothing };
        }
        self.turn = if samples { (self.turn + 1) % SAMPLES_TURN } else { 0 };
        Next::Batch(if samples && self.turn == 0 { Stream::Samples } else { Stream::Critical })
    }

    /// Begins again with a hello. Every stream that waited will wait longer the next time.
    fn greet(&mut self, log: &mut Log<'_>) {
        log.streams.iter_mut().for_each(|stream| stream.be_patient(PATIENCE_MAX));
        self.begin();
    }

    const fn begin(&mut self) {
        (self.phase, self.tries, self.number_first) = (Phase::Begun, 0, self.number.wrapping_add(1));
    }

    /// Writes the hello to the start of the log's work buffer; returns its length. While batches flow its welcome is
    /// not waited for.
    pub fn hello(&mut self, log: &mut Log<'_>) -> Option<usize> {
        self.number = self.number.wrapping_add(1);
        if self.phase != Phase::Streaming {
            (self.phase, self.said) = (Phase::Greeting, log.ticks());
        }
        log.streams.iter_mut().for_each(|stream| stream.hello_sent());
        let held = log.held();
        write_hello(self.number, &held, log.work)
    }

    /// Writes the question for the stream to the start of the log's work buffer; returns its length.
    pub fn ask(stream: Stream, log: &mut Log<'_>) -> Option<usize> {
        let now = log.ticks();
        let Log { streams, work, .. } = log;
        let end = streams[usize::from(stream.number())].ask(now, work)?;
        write_ask(&end, work)
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
                heard.is_first = core::mem::take(&mut self.is_alone);
                let now = log.ticks();
                log.streams.iter_mut().for_each(|stream| stream.begin(now));
            }
            _ if self.phase != Phase::Streaming => return heard,
            _ => {}
        }
        for resume in answer {
            let Log { streams, source, work, .. } = &mut *log;
            let stream = &mut streams[usize::from(resume.lane.stream.number())];
            match answer.kind {
                AnswerKind::Nack => {
                    if stream.nack(resume.lane.epoch, end_of(&resume), source, work) {
                        self.greet(log);
                    }
                }
                kind => {
                    agree(matches!(kind, AnswerKind::Welcome(_)), &resume, log, &mut heard);
                    if kind == AnswerKind::Common {
                        log.of(resume.lane.stream).answered(&resume);
                    }
                }
            }
        }
        heard
    }
}

/// Holds what the agent has of a lane against what is here.
fn agree(is_welcome: bool, resume: &Resume, log: &mut Log<'_>, heard: &mut Heard) {
    let Resume { lane, check: theirs, .. } = *resume;
    let end = end_of(resume);
    let now = log.ticks();
    let Log { streams, source, work, .. } = &mut *log;
    let stream = &mut streams[usize::from(lane.stream.number())];
    let Some(first) = stream.first_of(lane.epoch) else { return };
    if end < first && is_welcome {
        // Given up since the hello was made.
        stream.hello_needed(lane.epoch);
    }
    if end < first || (end == first && !is_welcome) {
        return;
    }
    // Where it begins, an agent that does not know what came before has nothing to hold against it: that was lost, or
    // is in another agent's log. Only of what an earlier boot has left it should know, or that boot was parted from it.
    let is_known = || theirs.is_some() || (heard.is_first && first > 0 && stream.was_found(lane.epoch));
    let agrees = if end == first && !is_known() {
        true
    } else if !stream.may_have_sent(lane.epoch, end) {
        false
    } else {
        // When the log cannot be read now, the next answer will do.
        let Ok(ours) = stream.check(lane.epoch, end, source, work) else { return };
        // A batch that was released long ago is no contradiction.
        (theirs.is_some() && ours == theirs) || (end == first && ours.is_none())
    };
    if agrees && end > first {
        heard.released = true;
        stream.release(now, lane.epoch, end, work);
    } else if !agrees && is_welcome && log.part(lane, end) {
        heard.diverged += 1;
    }
}

/// The end that an answer names. Beyond what an epoch here can have it is one that never was here.
fn end_of(resume: &Resume) -> u32 {
    u32::try_from(resume.end.get()).unwrap_or(u32::MAX)
}
