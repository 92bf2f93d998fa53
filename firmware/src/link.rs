//! The session over a serial line: frames in, frames out, never waiting for the line.
//!
//! [`Link::poll`] reads what has come, writes what the line takes, and asks the session what to do next when the last
//! frame is out. Nothing here knows how the log keeps its batches.

use afferent_protocol::clock_exchange::ClockReply;
use afferent_protocol::fragment;
use afferent_protocol::frame::{self, Accumulator, Fed};
use afferent_protocol::ids::{Epoch, Stream};
use afferent_protocol::session::{Answer, is_control};
use embedded_io::{Read, ReadReady, Write, WriteReady};

use crate::limits::{CLOCK_PERIOD_US, DOWN_FRAME_BYTES_MAX, NOISY_FROM, NOISY_MAX, QUIET_AFTER, READ_BYTES};
use crate::log::Log;
use crate::session::{Heard, Next, Session};

/// Counters of the link, since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounters {
    /// Frames that were written, repeated ones included.
    pub frames_sent: u32,
    /// Frames that were read and understood.
    pub frames_taken: u32,
    /// What came and was no frame, or a frame that is not known here.
    pub noise: u32,
    /// Reads and writes that the line refused.
    pub line_errors: u32,
    /// Lanes in which the agent had something else than the log here.
    pub diverged: u32,
}

/// The link.
#[derive(Debug)]
pub struct Link<'m> {
    session: Session,
    incoming: Accumulator<DOWN_FRAME_BYTES_MAX>,
    frame: &'m mut [u8],
    /// What of the frame is still to be written.
    from: usize,
    len: usize,
    /// How often the frame is still to be repeated.
    repeats: u8,
    pieces: Option<Pieces>,
    noisiness: Noisiness,
    /// An agent has answered since the last hello, and this much noise had come by then: when no agent is there,
    /// waiting in vain shows nothing about the line.
    was_streaming: bool,
    noise_before: u32,
    clock_due_us: u64,
    counters: LinkCounters,
}

/// A batch that is sent in fragments.
#[derive(Clone, Copy, Debug)]
struct Pieces {
    stream: Stream,
    epoch: Epoch,
    first: u32,
    at: usize,
    passes: u8,
}

/// How bad the line is, from how often there was noise, or batches got no acks although an agent had answered.
#[derive(Clone, Copy, Debug, Default)]
struct Noisiness {
    hellos: u8,
    releases: u8,
}

impl Noisiness {
    fn hello(&mut self) {
        self.hellos = self.hellos.saturating_add(1).min(NOISY_MAX);
        self.releases = 0;
    }

    fn release(&mut self) {
        self.releases += 1;
        if self.releases >= QUIET_AFTER {
            self.hellos = self.hellos.saturating_sub(1);
            self.releases = 0;
        }
    }

    /// How often a batch is sent in pieces; 0 for not in pieces.
    const fn passes(self) -> u8 {
        if self.hellos < NOISY_FROM { 0 } else { self.hellos - NOISY_FROM + 2 }
    }
}

impl<'m> Link<'m> {
    /// A link that begins with a hello. `session` is best a random number; `frame` has room for the longest frame, see
    /// [`crate::limits::frame_bytes`].
    pub fn new(session: u32, frame: &'m mut [u8]) -> Self {
        if let Some(first) = frame.first_mut() {
            *first = 0;
        }
        Self {
            session: Session::new(session),
            incoming: Accumulator::new(),
            // A single delimiter, to end whatever noise came before.
            frame,
            from: 0,
            len: 1,
            repeats: 0,
            pieces: None,
            noisiness: Noisiness::default(),
            was_streaming: false,
            noise_before: 0,
            clock_due_us: 0,
            counters: LinkCounters::default(),
        }
    }

    /// Counters since boot.
    pub const fn counters(&self) -> &LinkCounters {
        &self.counters
    }

    /// Whether an agent has answered and batches flow.
    pub fn is_streaming(&self) -> bool {
        self.session.is_streaming()
    }

    /// Does what can be done now without waiting: to be called again and again.
    pub fn poll(&mut self, log: &mut Log<'_>, line: &mut (impl Read + ReadReady + Write + WriteReady)) {
        self.read(log, line);
        self.was_streaming |= self.session.is_streaming();
        while self.write(line) && self.next_frame(log) {}
    }

    fn read(&mut self, log: &mut Log<'_>, line: &mut (impl Read + ReadReady)) {
        let mut bytes = [0; READ_BYTES];
        while matches!(line.read_ready(), Ok(true)) {
            let read = match line.read(&mut bytes) {
                Ok(0) => return,
                Ok(len) => bytes.get(..len).unwrap_or(&[]),
                Err(_) => {
                    self.counters.line_errors = self.counters.line_errors.wrapping_add(1);
                    return;
                }
            };
            self.feed(log, read);
        }
    }

    /// Takes bytes of the line.
    #[inline(never)]
    fn feed(&mut self, log: &mut Log<'_>, mut bytes: &[u8]) {
        loop {
            let (is_message, taken) = match self.incoming.feed(bytes) {
                Fed::More => return,
                Fed::Frame { payload, taken } => {
                    let heard = hear(&mut self.session, log, payload);
                    if let Some(Heard { released, diverged, .. }) = heard {
                        self.counters.diverged = self.counters.diverged.wrapping_add(diverged.into());
                        if released {
                            self.noisiness.release();
                        }
                    }
                    (heard.is_some(), taken)
                }
                Fed::Noise { taken, .. } => (false, taken),
            };
            let counter = if is_message { &mut self.counters.frames_taken } else { &mut self.counters.noise };
            *counter = counter.wrapping_add(1);
            bytes = bytes.get(taken..).unwrap_or(&[]);
        }
    }

    /// Writes what the line takes; returns whether the last frame is out.
    fn write(&mut self, line: &mut (impl Write + WriteReady)) -> bool {
        while let Some(rest) = self.frame.get(self.from..self.len) {
            if rest.is_empty() {
                if self.repeats == 0 {
                    return true;
                }
                (self.from, self.repeats) = (0, self.repeats - 1);
                continue;
            }
            if !matches!(line.write_ready(), Ok(true)) {
                return false;
            }
            match line.write(rest) {
                Ok(len) => self.from += len,
                Err(_) => {
                    self.counters.line_errors = self.counters.line_errors.wrapping_add(1);
                    return false;
                }
            }
        }
        true
    }

    /// Writes the next frame, if there is something to send.
    #[inline(never)]
    fn next_frame(&mut self, log: &mut Log<'_>) -> bool {
        if let Some(is_put) = self.next_piece(log) {
            return is_put;
        }
        if log.now_us >= self.clock_due_us {
            self.clock_due_us = log.now_us + CLOCK_PERIOD_US;
            let len = log.clock.ask(log.now_us, &log.source, log.work).unwrap_or(0);
            return self.put(log.work.get(..len).unwrap_or(&[]));
        }
        match self.session.next(log) {
            Next::Nothing => false,
            next @ (Next::Hello | Next::HelloOfLane) => self.hello(next == Next::Hello, log).unwrap_or(false),
            Next::Ask(stream) => {
                let len = Session::ask(stream, log).unwrap_or(0);
                len > 0 && self.put(log.work.get(..len).unwrap_or(&[]))
            }
            // The log cannot read it now; it is asked again the next time.
            Next::Batch(stream) => self.send(stream, log).unwrap_or(false),
        }
    }

    fn hello(&mut self, may_be_noise: bool, log: &mut Log<'_>) -> Option<bool> {
        self.clock_due_us = 0;
        let is_streaming = self.session.is_streaming();
        let is_repeated = !is_streaming && !self.was_streaming;
        if may_be_noise && !is_streaming && (self.was_streaming || self.counters.noise != self.noise_before) {
            self.noisiness.hello();
        }
        (self.was_streaming, self.noise_before) = (false, self.counters.noise);
        let len = self.session.hello(log)?;
        let is_put = self.put(log.work.get(..len)?);
        self.repeats = if is_repeated { 2 } else { self.noisiness.passes() };
        Some(is_put)
    }

    fn send(&mut self, stream: Stream, log: &mut Log<'_>) -> Option<bool> {
        let at = usize::from(stream.number());
        let (epoch, first) = log.streams[at].ready()?;
        let (end, len) = log.read(stream, epoch, first)?;
        let passes = self.noisiness.passes();
        let is_put = if passes == 0 {
            self.put(log.work.get(..len)?)
        } else {
            self.pieces = Some(Pieces { stream, epoch, first, at: 0, passes });
            self.next_piece(log)?
        };
        let now = log.ticks();
        log.streams[at].sent(now, end, len);
        Some(is_put)
    }

    /// Makes the frame of the next fragment, if a batch is being sent in pieces and is still held.
    #[inline(never)]
    fn next_piece(&mut self, log: &mut Log<'_>) -> Option<bool> {
        let mut pieces = self.pieces.take()?;
        // It is read again for every piece: what is acked meanwhile need not be sent to its end.
        let (_, len) = log.read(pieces.stream, pieces.epoch, pieces.first)?;
        let mut piece = [0; fragment::FRAGMENT_LEN_MAX];
        let piece_len = fragment::write(log.work.get(..len)?, pieces.at, &mut piece)?;
        pieces.at += fragment::PIECE_LEN;
        if pieces.at >= len {
            (pieces.at, pieces.passes) = (0, pieces.passes.saturating_sub(1));
        }
        self.pieces = (pieces.passes > 0).then_some(pieces);
        Some(self.put(piece.get(..piece_len)?))
    }

    #[inline(never)]
    fn put(&mut self, payload: &[u8]) -> bool {
        let len = frame::encode(payload, self.frame).unwrap_or(0);
        (self.from, self.len) = (0, len);
        self.counters.frames_sent = self.counters.frames_sent.wrapping_add(1);
        len > 0
    }
}

/// Takes a message of the agent; `None` when it is none.
fn hear(session: &mut Session, log: &mut Log<'_>, payload: &[u8]) -> Option<Heard> {
    if is_control(payload) {
        return Some(session.hear(Answer::read(payload).ok()?, log));
    }
    log.clock.reply(log.now_us, &ClockReply::decode(payload)?);
    Some(Heard::default())
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use afferent_protocol::checksum::crc32c;
    use afferent_protocol::ids::{SourceId, Subject, Timestamp};

    use super::*;
    use crate::clock::Clock;
    use crate::queue::{Queue, RamQueue};

    fn framed(payload: &[u8]) -> Vec<u8> {
        let mut bytes = [0; 1024];
        let len = frame::encode(payload, &mut bytes).unwrap();
        bytes[..len].to_vec()
    }

    #[test]
    fn noise_what_is_too_long_and_what_another_version_says_are_counted_and_skipped() {
        let (mut critical, mut samples, mut work) = (RamQueue::<512>::new(), RamQueue::<512>::new(), [0; 700]);
        let (mut critical_body, mut samples_body, mut frame) = ([0; 64], [0; 64], [0; 700]);
        let names = (SourceId::literal("mill"), Subject::literal("mill"));
        let queues: [(&mut dyn Queue, &mut [u8]); 2] =
            [(&mut critical, &mut critical_body), (&mut samples, &mut samples_body)];
        let mut log = Log::open(names, Clock::new([1; 16]), queues, 7, &mut work);
        let mut link = Link::new(1, &mut frame);
        // A kind of control message that comes after the last one that is known.
        let newer = [b"AFC2".as_slice(), &crc32c(&[7, 0]).to_le_bytes(), &[7, 0]].concat();
        let mut damaged = framed(b"AFT1 damaged");
        damaged[5] ^= 1;
        let too_long = framed(&[7; DOWN_FRAME_BYTES_MAX]);
        let noise =
            [framed(b"AFX2 what is it"), framed(b""), framed(&newer), damaged, too_long, b"\x05\xFF\0".to_vec()];
        for (count, bytes) in (1..).zip(noise) {
            link.feed(&mut log, &bytes);
            assert_eq!((link.counters().noise, link.counters().frames_taken), (count, 0), "{bytes:?}");
        }
        let reply = ClockReply { boot: [1; 16], tick_us: 0, synchronised: true, wall: Timestamp::default() };
        link.feed(&mut log, &framed(&reply.encode()));
        assert_eq!((link.counters().noise, link.counters().frames_taken), (6, 1));
    }
}
