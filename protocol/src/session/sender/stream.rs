//! What goes out once a receiver has answered.

use super::lane::{LaneState, SenderLane};
use super::{Action, Phase, Sender, SentBatch, WINDOW_S, lane_mut};
use crate::ids::{Sequence, Stream};
use crate::limits::WINDOW_BATCHES_MAX;
use crate::session::Lane;

/// One turn in so many goes to samples while both streams have something to send, so that they never starve.
const SAMPLES_TURN: u8 = 8;

impl Sender {
    /// The batch went to the transport. One that does not continue what was sent before is not counted: its message was
    /// overtaken by a nack, a welcome or a new connection, and will be sent again.
    pub fn sent(&mut self, now_ms: u64, batch: SentBatch) {
        let Some(lane) = lane_mut(&mut self.lanes, batch.lane) else { return };
        if self.phase != Phase::Streaming || batch.first != lane.sent_end || lane.state != LaneState::Agreed {
            return;
        }
        if !lane.patience.went_back && !self.in_flight.iter().any(|known| known.lane == batch.lane) {
            lane.patience.since_ms = now_ms;
        }
        if self.in_flight.push(batch).is_err() {
            // More batches in one message than the window has places: the last ones share one, and only the ack of the
            // last of them is known without asking the log.
            let last = self.in_flight.iter_mut().rfind(|known| known.lane == batch.lane && known.end == batch.first);
            let Some(last) = last else { return };
            (last.end, last.check, last.bytes) = (batch.end, batch.check, last.bytes + batch.bytes);
        }
        lane.sent_end = batch.end;
    }

    pub(super) fn stream(&mut self, now_ms: u64) -> Action {
        let until_ms = [self.patience_ends_at(), self.doubt_ends_at()].into_iter().flatten().min();
        if until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
            self.greet();
            return self.send_hello(now_ms);
        }
        if self.announce {
            return self.send_hello(now_ms);
        }
        if let Some(action) = self.search(now_ms) {
            return action;
        }
        self.pick(now_ms).unwrap_or_else(|| Action::Wait { until_ms: self.asks_again_at(now_ms, until_ms) })
    }

    /// The earliest of `until_ms`, the time when a log that could not be read is asked again, and that when a question
    /// is.
    fn asks_again_at(&self, now_ms: u64, until_ms: Option<u64>) -> Option<u64> {
        let unread = |stream: &Stream| self.ready(*stream).is_some() || self.is_searched(*stream);
        let again = Stream::ALL.into_iter().filter(unread);
        let again = again.map(|stream| self.unread_until_ms(stream));
        again.filter(|again_ms| *again_ms > now_ms).chain(until_ms).chain(self.search_at_ms()).min()
    }

    /// When a session that is in doubt begins again.
    fn doubt_ends_at(&self) -> Option<u64> {
        let since_ms = self.greeted_at_ms.unwrap_or_default();
        self.doubts.then_some(since_ms + self.settings.timeout_ms)
    }

    /// When the first of the lanes that wait for an ack has waited long enough.
    fn patience_ends_at(&self) -> Option<u64> {
        let waits = |lane: &&SenderLane| self.in_flight.iter().any(|batch| batch.lane == lane.held.lane);
        let line_ms = self.line_ms(self.in_flight.iter().map(|batch| batch.bytes).sum());
        self.lanes.iter().filter(waits).map(|lane| lane.patience.since_ms + lane.patience.timeout_ms + line_ms).min()
    }

    /// The next message: critical first, with a turn for samples now and then.
    fn pick(&mut self, now_ms: u64) -> Option<Action> {
        let readable = |stream: Stream| self.unread_until_ms(stream) <= now_ms;
        let [critical, samples] = Stream::ALL.map(|stream| self.ready(stream).filter(|_| readable(stream)));
        let chosen = match (critical, samples) {
            (Some(_), Some(samples)) if self.turn + 1 >= SAMPLES_TURN => {
                self.turn = 0;
                samples
            }
            (Some(critical), other) => {
                self.turn = if other.is_some() { self.turn + 1 } else { 0 };
                critical
            }
            (None, Some(samples)) => samples,
            (None, None) => return None,
        };
        let (lane, from) = chosen;
        // A stream without room is not ready.
        let room = self.window_bytes().saturating_sub(self.in_flight_bytes(lane.stream));
        // A message is no longer than the line takes in a second.
        Some(Action::Send { lane, from, bytes_max: self.settings.message_bytes_max.min(self.line_bytes(1)).min(room) })
    }

    /// Bytes of one stream that may be under way.
    fn window_bytes(&self) -> usize {
        self.settings.window_bytes.min(self.line_bytes(WINDOW_S))
    }

    /// What the line takes in so many seconds.
    fn line_bytes(&self, seconds: u64) -> usize {
        self.line.map_or(usize::MAX, |line| usize::try_from(line.saturating_mul(seconds)).unwrap_or(usize::MAX))
    }

    /// The oldest lane of the stream that has something to send, and from where on, if the window lets it.
    fn ready(&self, stream: Stream) -> Option<(Lane, Sequence)> {
        // Critical keeps a quarter of the places for itself, or samples could fill them all.
        let places = match stream {
            Stream::Critical => WINDOW_BATCHES_MAX - 1,
            Stream::Samples => WINDOW_BATCHES_MAX * 3 / 4,
        };
        if self.in_flight.len() >= places || self.in_flight_bytes(stream) >= self.window_bytes() {
            return None;
        }
        let next = self.lanes.iter().find(|lane| {
            lane.held.lane.stream == stream && lane.state == LaneState::Agreed && lane.sent_end < lane.held.end
        });
        next.map(|lane| (lane.held.lane, lane.sent_end))
    }

    fn in_flight_bytes(&self, stream: Stream) -> usize {
        self.in_flight.iter().filter(|batch| batch.lane.stream == stream).map(|batch| batch.bytes).sum()
    }
}
