//! How much may be under way over a connection: what the line is measured to take, no more.
//!
//! The measure is that of BBR (Cardwell et al., 2016): what was confirmed between a message's going out and its PUBACK,
//! by the time between. The window is what the line takes in the shortest round trip and in [`AHEAD_MS`], of the latter
//! [`AHEAD_BYTES_MAX`] at most, and begins small, for what is under way cannot be taken back: a ping or a breakdown
//! waits behind it.

use std::collections::VecDeque;

use crate::limits::{
    AHEAD_BYTES_MAX, AHEAD_MS, LINE_MIN, LINE_START, MESSAGE_BYTES_MAX, PIECE_BYTES_MIN, UNACKED_BYTES_MAX,
    UNACKED_MESSAGES_MAX,
};

/// A message without a PUBACK.
#[derive(Clone, Copy, Debug)]
struct Sent {
    id: u16,
    bytes: usize,
    at_ms: u64,
    /// Bytes that were confirmed by then.
    confirmed: u64,
}

/// The account of one connection.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_s: u64,
    window: usize,
    round_trip_ms: Option<u64>,
    confirmed: u64,
    sent: VecDeque<Sent>,
    under_way: usize,
    /// Messages without a PUBACK that the peer takes.
    messages_max: usize,
    next_id: u16,
}

impl Pace {
    /// Nothing is known of the line; the peer takes so many messages without a PUBACK.
    pub fn new(receive_max: Option<u16>) -> Self {
        let messages_max = usize::from(receive_max.unwrap_or(u16::MAX).max(1)).min(UNACKED_MESSAGES_MAX);
        Self {
            bytes_per_s: LINE_START,
            window: LINE_START as usize,
            round_trip_ms: None,
            confirmed: 0,
            sent: VecDeque::new(),
            under_way: 0,
            messages_max,
            next_id: 0,
        }
    }

    /// Bytes a second that the line takes, as far as is known.
    pub fn bytes_per_s(&self) -> u64 {
        self.bytes_per_s
    }

    /// Whether one more message may be sent. A first one always may.
    pub fn has_room(&self) -> bool {
        self.sent.is_empty() || (self.under_way < self.window && self.sent.len() < self.messages_max)
    }

    /// Whether nothing waits for its PUBACK.
    pub fn is_idle(&self) -> bool {
        self.sent.is_empty()
    }

    /// Bytes of the next message, at most: a second of the line, and two of them in the window.
    pub fn message_bytes(&self) -> usize {
        let second = usize::try_from(self.bytes_per_s).unwrap_or(usize::MAX);
        second.min(self.window / 2).clamp(PIECE_BYTES_MIN, MESSAGE_BYTES_MAX)
    }

    /// A message of so many bytes goes out; returns its packet identifier.
    pub fn sent(&mut self, bytes: usize, now_ms: u64) -> u16 {
        loop {
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if self.sent.iter().all(|sent| sent.id != self.next_id) {
                break;
            }
        }
        self.sent.push_back(Sent { id: self.next_id, bytes, at_ms: now_ms, confirmed: self.confirmed });
        self.under_way += bytes;
        self.next_id
    }

    /// A PUBACK came, while more waits to be sent or not; `false` for one that nothing waits for.
    pub fn confirmed(&mut self, id: u16, now_ms: u64, more_waits: bool) -> bool {
        let Some(at) = self.sent.iter().position(|sent| sent.id == id) else { return false };
        let sent = self.sent.remove(at).expect("it is there");
        assert!(sent.bytes <= self.under_way, "the bytes in flight include those of every message");
        self.under_way -= sent.bytes;
        assert!(self.under_way == 0 || !self.sent.is_empty(), "no bytes are in flight without a message");
        self.confirmed += sent.bytes as u64;
        let took_ms = now_ms.saturating_sub(sent.at_ms).max(1);
        let measured = (self.confirmed - sent.confirmed) * 1000 / took_ms;
        let round_trip_ms = self.round_trip_ms.map_or(took_ms, |known| known.min(took_ms));
        self.round_trip_ms = Some(round_trip_ms);
        // A line that had nothing to do shows only what it was given.
        if measured > self.bytes_per_s {
            self.bytes_per_s = measured;
        } else if more_waits {
            self.bytes_per_s = ((3 * self.bytes_per_s + measured) / 4).max(LINE_MIN);
        }
        let line_in = |ms: u64| usize::try_from(self.bytes_per_s.saturating_mul(ms) / 1000).unwrap_or(usize::MAX);
        let ahead = line_in(AHEAD_MS).min(AHEAD_BYTES_MAX);
        let of_line = line_in(round_trip_ms).saturating_add(ahead).min(UNACKED_BYTES_MAX);
        // It doubles with what was confirmed of it, until the line is full.
        self.window = (self.window + sent.bytes).min(of_line).max(1);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line that takes so many bytes a second, behind a buffer without end, and confirms what it has passed on.
    struct SlowLine {
        bytes_per_s: u64,
        latency_ms: u64,
        free_at_ms: u64,
        confirms: VecDeque<(u64, u16)>,
    }

    impl SlowLine {
        fn takes(&mut self, id: u16, bytes: usize, now_ms: u64) {
            self.free_at_ms = self.free_at_ms.max(now_ms) + bytes as u64 * 1000 / self.bytes_per_s;
            self.confirms.push_back((self.free_at_ms + self.latency_ms, id));
        }

        /// Milliseconds that a ping waits which goes out now.
        fn queue_ms(&self, now_ms: u64) -> u64 {
            self.free_at_ms.saturating_sub(now_ms)
        }
    }

    /// Sends for so long as much as may be sent; returns the bytes that were confirmed, and the longest that a ping
    /// would have waited. `naive` sends as a window of fixed size lets it.
    fn drive(line: &mut SlowLine, pace: &mut Pace, until_ms: u64, naive: Option<usize>) -> (u64, u64) {
        let (mut longest_ms, mut under_way) = (0, 0);
        for now_ms in 0..until_ms {
            while line.confirms.front().is_some_and(|(at_ms, _)| *at_ms <= now_ms) {
                let (_, id) = line.confirms.pop_front().unwrap();
                under_way -= pace.sent.iter().find(|sent| sent.id == id).unwrap().bytes;
                assert!(pace.confirmed(id, now_ms, true));
            }
            while naive.map_or_else(|| pace.has_room(), |window| under_way < window) {
                let bytes = naive.map_or_else(|| pace.message_bytes(), |window| window / 4);
                line.takes(pace.sent(bytes, now_ms), bytes, now_ms);
                under_way += bytes;
            }
            longest_ms = longest_ms.max(line.queue_ms(now_ms));
        }
        (pace.confirmed, longest_ms)
    }

    fn line(bytes_per_s: u64, latency_ms: u64) -> SlowLine {
        SlowLine { bytes_per_s, latency_ms, free_at_ms: 0, confirms: VecDeque::new() }
    }

    #[test]
    fn a_ping_gets_through_on_every_line_and_the_line_is_used() {
        for (bytes_per_s, latency_ms) in [(1_000, 20), (1_000, 700), (9_600, 300), (100_000, 600), (5_000_000, 1)] {
            let seconds = 120;
            let mut pace = Pace::new(None);
            let (confirmed, longest_ms) = drive(&mut line(bytes_per_s, latency_ms), &mut pace, seconds * 1000, None);
            assert!(longest_ms <= 15_000, "{bytes_per_s} B/s: a ping waits {longest_ms} ms");
            let used = confirmed * 100 / (bytes_per_s.min(UNACKED_BYTES_MAX as u64 * 4) * seconds);
            assert!(used >= 60, "{bytes_per_s} B/s, {latency_ms} ms: {used} % of the line");
        }
        // The control: a window of 512 KiB keeps a ping waiting for minutes, longer than any keep-alive.
        let (_, longest_ms) = drive(&mut line(1_000, 20), &mut Pace::new(None), 120_000, Some(512 * 1024));
        assert!(longest_ms > 300_000, "{longest_ms} ms");
    }

    #[test]
    fn a_breakdown_waits_for_no_more_than_keeps_the_line_busy() {
        for (bytes_per_s, latency_ms) in [(1_000_000, 5), (1_000_000, 200), (20_000_000, 1)] {
            let mut pace = Pace::new(None);
            let (confirmed, longest_ms) = drive(&mut line(bytes_per_s, latency_ms), &mut pace, 20_000, None);
            // The control: two seconds of the line, which 1 MiB holds at most.
            let naive = UNACKED_BYTES_MAX as u64 * 1000 / bytes_per_s;
            assert!(longest_ms < (naive / 2).max(latency_ms), "{bytes_per_s} B/s: it waits {longest_ms} ms of {naive}");
            let used = confirmed * 100 / (bytes_per_s * 20);
            assert!(used >= 60, "{bytes_per_s} B/s, {latency_ms} ms: {used} % of the line");
        }
    }

    #[test]
    fn a_line_that_gets_slow_is_given_less() {
        let mut pace = Pace::new(None);
        drive(&mut line(1_000_000, 5), &mut pace, 10_000, None);
        let before = pace.bytes_per_s();
        assert!(before > 500_000 && pace.message_bytes() > AHEAD_BYTES_MAX / 2, "{before}, {}", pace.message_bytes());
        // What was under way is confirmed at the slow line's pace.
        let under_way: Vec<_> = pace.sent.iter().map(|sent| (sent.id, sent.bytes)).collect();
        let mut now_ms = 10_000;
        for (id, bytes) in under_way {
            now_ms += bytes as u64 * 1000 / 2_000;
            pace.confirmed(id, now_ms, true);
        }
        assert!(pace.bytes_per_s() < before / 2, "{} of {before}", pace.bytes_per_s());
        for _ in 0..4 {
            let bytes = pace.message_bytes();
            let id = pace.sent(bytes, now_ms);
            now_ms += bytes as u64 * 1000 / 2_000;
            pace.confirmed(id, now_ms, true);
        }
        assert!(pace.bytes_per_s() < 200_000, "{}", pace.bytes_per_s());
    }

    #[test]
    fn little_that_is_said_does_not_make_a_line_slow() {
        let mut pace = Pace::new(None);
        drive(&mut line(1_000_000, 5), &mut pace, 10_000, None);
        let before = pace.bytes_per_s();
        while let Some(sent) = pace.sent.front().copied() {
            pace.confirmed(sent.id, sent.at_ms + 1, false);
        }
        for at in 0..100 {
            let id = pace.sent(300, 20_000 + at * 1000);
            pace.confirmed(id, 20_040 + at * 1000, false);
        }
        assert!(pace.bytes_per_s() >= before);
    }

    #[test]
    fn the_peers_receive_maximum_is_kept_and_an_identifier_is_used_once_at_a_time() {
        let mut pace = Pace::new(Some(2));
        let ids = [pace.sent(1, 0), pace.sent(1, 0)];
        assert!(!pace.has_room() && ids == [1, 2]);
        assert!(pace.confirmed(2, 1, true) && pace.has_room() && !pace.confirmed(2, 1, true));
        pace.next_id = u16::MAX;
        assert_eq!(pace.sent(1, 2), 2, "1 still waits, and 0 is none");
    }
}
