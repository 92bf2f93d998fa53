//! The session over a serial line: frames in, frames out, never waiting for the line.
//!
//! [`Link::poll`] reads what has come, writes what the line takes, and asks the session what to do next when the last
//! frame is out. Nothing here knows how the log keeps its batches.

use afferent_protocol::clock_exchange::{self, ClockReply};
use afferent_protocol::fragment;
use afferent_protocol::frame::{self, Accumulator, Fed};
use afferent_protocol::ids::Sequence;
use afferent_protocol::session::{Action, Check, Control, Lane, SenderSettings, SentBatch, SizedSender, is_control};
use embedded_io::{Read, ReadReady, Write, WriteReady};

use crate::limits::{
    CLOCK_PERIOD_US, DOWN_FRAME_BYTES_MAX, LANES_MAX, NOISY_FROM, NOISY_MAX, QUIET_AFTER, READ_BYTES, TIMEOUT_TICKS,
    WINDOW_BATCHES_MAX, WINDOW_BYTES,
};
use crate::log::Log;

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
    sender: SizedSender<LANES_MAX, WINDOW_BATCHES_MAX>,
    incoming: Accumulator<DOWN_FRAME_BYTES_MAX>,
    frame: &'m mut [u8],
    /// What of the frame is still to be written.
    from: usize,
    len: usize,
    /// How often the frame is still to be repeated.
    repeats: u8,
    pieces: Option<Pieces>,
    noisiness: Noisiness,
    /// An agent has answered since the last hello, and this much noise had come by then: when nobody is there, waiting in
    /// vain says nothing about the line.
    was_streaming: bool,
    noise_before: u32,
    clock_due_us: u64,
    counters: LinkCounters,
}

/// A batch that is sent in fragments.
#[derive(Clone, Copy, Debug)]
struct Pieces {
    lane: Lane,
    first: Sequence,
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
        let settings = SenderSettings {
            window_bytes: WINDOW_BYTES,
            // One batch a frame: whatever the size, the first one is always taken.
            message_bytes_max: 1,
            timeout_ms: TIMEOUT_TICKS,
        };
        let mut sender = SizedSender::new(settings, session, [0; 32]);
        sender.link_up();
        Self {
            sender,
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
        self.sender.is_streaming()
    }

    /// Does what can be done now without waiting: to be called again and again. `work` has room for a batch.
    pub fn poll(
        &mut self,
        now_us: u64,
        log: &mut Log<'_>,
        line: &mut (impl Read + ReadReady + Write + WriteReady),
        work: &mut [u8],
    ) {
        self.read(now_us, log, line);
        self.was_streaming |= self.sender.is_streaming();
        while self.write(line) {
            // One look at the log for every frame: it changes by what the session does.
            if log.has_changed() {
                self.sender.held(log.held().iter().copied());
            }
            if !self.next_frame(now_us, log, work) {
                return;
            }
        }
    }

    fn read(&mut self, now_us: u64, log: &mut Log<'_>, line: &mut (impl Read + ReadReady)) {
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
            let mut rest = read;
            loop {
                let taken = match self.incoming.feed(rest) {
                    Fed::More => break,
                    Fed::Frame { payload, taken } => {
                        let counter = if take(&mut self.sender, now_us, log, payload) {
                            &mut self.counters.frames_taken
                        } else {
                            &mut self.counters.noise
                        };
                        *counter = counter.wrapping_add(1);
                        taken
                    }
                    Fed::Noise { taken, .. } => {
                        self.counters.noise = self.counters.noise.wrapping_add(1);
                        taken
                    }
                };
                rest = rest.get(taken..).unwrap_or(&[]);
            }
        }
    }

    /// Writes what the line takes; gives whether the last frame is out.
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

    /// Makes the next frame, if there is something to say.
    fn next_frame(&mut self, now_us: u64, log: &mut Log<'_>, work: &mut [u8]) -> bool {
        if let Some(is_put) = self.next_piece(log, work) {
            return is_put;
        }
        if now_us >= self.clock_due_us {
            self.clock_due_us = now_us.saturating_add(CLOCK_PERIOD_US);
            let request = log.clock.ask(now_us, &log.source).encode();
            return self.put(&request);
        }
        loop {
            let now = now_us >> 10;
            match self.sender.next(now) {
                Action::Wait { .. } => return false,
                Action::Hello(hello) => {
                    self.clock_due_us = 0;
                    let is_repeated = !self.sender.is_streaming() && !self.was_streaming;
                    if !self.sender.is_streaming() && (self.was_streaming || self.counters.noise != self.noise_before) {
                        self.noisiness.hello();
                    }
                    (self.was_streaming, self.noise_before) = (false, self.counters.noise);
                    let hello = Control::Hello(hello).write(work).and_then(|len| work.get(..len));
                    let is_put = hello.is_some_and(|hello| self.put(hello));
                    self.repeats = if is_repeated { 2 } else { self.noisiness.passes().min(2) };
                    return is_put;
                }
                Action::Send { lane, from, .. } => match self.send(now, lane, from, log, work) {
                    Some(is_put) => return is_put,
                    // The log cannot read it any more; the lane waits, and the next hello says what there is.
                    None => return false,
                },
                Action::LookUp { lane, end } => {
                    let check = log.check(lane, end, work);
                    self.sender.looked_up(now, lane, end, check);
                }
                Action::Release { lane, end } => {
                    self.noisiness.release();
                    log.release(lane, end, work);
                }
                Action::Diverged { lane } => {
                    self.counters.diverged = self.counters.diverged.wrapping_add(1);
                    log.give_up(lane, now_us, work);
                }
                // There is no connection to make anew on a serial line: it begins again.
                Action::Reconnect => {
                    self.sender.link_down();
                    self.sender.link_up();
                }
            }
            if log.has_changed() {
                self.sender.held(log.held().iter().copied());
            }
        }
    }

    fn send(&mut self, now: u64, lane: Lane, from: Sequence, log: &mut Log<'_>, work: &mut [u8]) -> Option<bool> {
        let (head, len) = log.read(lane, from, work)?;
        let passes = self.noisiness.passes();
        let is_put = if passes == 0 {
            self.put(work.get(..len)?)
        } else {
            self.pieces = Some(Pieces { lane, first: head.first, at: 0, passes });
            self.next_piece(log, work)?
        };
        let check = Check(head.crc.into());
        self.sender.sent(now, SentBatch { lane, first: head.first, end: head.end(), check, bytes: len });
        Some(is_put)
    }

    /// Makes the frame of the next fragment, if a batch is being sent in pieces and is still held.
    fn next_piece(&mut self, log: &mut Log<'_>, work: &mut [u8]) -> Option<bool> {
        let Pieces { lane, first, at, passes } = self.pieces.take()?;
        // It is read again for every piece: what is acked meanwhile need not be sent to its end.
        let (_, len) = log.read(lane, first, work)?;
        let piece = fragment::fragment(work.get(..len)?, at)?;
        let next = at + fragment::PIECE_LEN;
        self.pieces = match passes {
            _ if next < len => Some(Pieces { lane, first, at: next, passes }),
            2.. => Some(Pieces { lane, first, at: 0, passes: passes - 1 }),
            _ => None,
        };
        Some(self.put(&piece))
    }

    fn put(&mut self, payload: &[u8]) -> bool {
        let len = frame::encode(payload, self.frame).unwrap_or(0);
        (self.from, self.len) = (0, len);
        self.counters.frames_sent = self.counters.frames_sent.wrapping_add(1);
        len > 0
    }
}

/// Takes a message of the agent; gives whether it is one.
fn take(
    sender: &mut SizedSender<LANES_MAX, WINDOW_BATCHES_MAX>,
    now_us: u64,
    log: &mut Log<'_>,
    payload: &[u8],
) -> bool {
    if is_control(payload) {
        let Ok(control) = Control::decode(payload) else { return false };
        sender.control(now_us >> 10, &control);
        return true;
    }
    if payload.starts_with(&clock_exchange::MAGIC)
        && let Some(reply) = ClockReply::decode(payload)
    {
        log.clock.reply(now_us, &reply);
        return true;
    }
    false
}
