//! What goes out over the transport, and what the session asks the disk for.

use afferent_host::disk::Disk;
use afferent_protocol::batch::split;
use afferent_protocol::ids::{Sequence, SequenceRange};
use afferent_protocol::limits::LANES_MAX;
use afferent_protocol::session::signed::{Up, UpContent};
use afferent_protocol::session::{Action, Control, Lane};

use super::{AgentCore, Now, Outgoing};
use crate::limits::{AGAIN_BYTES_MAX, READ_RETRY_MS, READ_TRIES_MAX};
use crate::ring_log::{Known, ReadError};

/// A question of the session that the disk has not answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct LookUp {
    lane: Lane,
    end: Sequence,
    tries: u8,
}

impl<D: Disk> AgentCore<D> {
    /// A message of the session, signed.
    fn sign_control(&self, control: Control, now: &Now) -> Vec<u8> {
        let (who, session) = (self.ring.who(), &self.current);
        let up = Up {
            log_id: session.at.map(|at| at.log_id).or(self.memory.log_id()).unwrap_or_default(),
            nonce: session.nonce,
            answer: session.answer,
            key: who.identity.public_key(),
            instance: self.instance,
            clock: now.clock,
            former: if self.is_itself() { self.ring.former_names() } else { Vec::new() },
            content: UpContent::Control(control),
        };
        up.sign(&session.name, &who.identity)
    }

    /// Asks the disk what the session wants to know. A failed read shows nothing about what is held: it is
    /// asked again.
    fn look_up(&mut self, now: &Now) {
        if self.current.look_ups.is_empty() {
            return;
        }
        // What was given up since the question came is no contradiction, if only the session knows of it.
        self.report_held();
        for mut look_up in std::mem::take(&mut self.current.look_ups) {
            let LookUp { lane, end, tries } = look_up;
            match self.ring.check_at(lane, end) {
                Err(_) if tries < READ_TRIES_MAX => {
                    look_up.tries += 1;
                    self.current.look_ups.push(look_up);
                    self.current.look_up_at_ms = now.ms + READ_RETRY_MS;
                }
                Ok(Known::Check(check)) => self.current.sender.looked_up(now.ms, lane, end, Some(check)),
                Ok(Known::Absent) => self.current.sender.looked_up(now.ms, lane, end, None),
                Ok(Known::Damaged) | Err(_) => self.current.sender.boundary_unknown(lane, end),
            }
        }
    }

    /// Until when to wait before the disk is asked again.
    fn wait_until(&self, until_ms: Option<u64>) -> Option<u64> {
        if self.current.look_ups.is_empty() {
            return until_ms;
        }
        Some(until_ms.map_or(self.current.look_up_at_ms, |until_ms| until_ms.min(self.current.look_up_at_ms)))
    }

    /// What the current session sends next.
    pub(super) fn poll_current(&mut self, now: &Now, message: &mut Vec<u8>) -> Outgoing {
        message.clear();
        if self.current.look_up_at_ms <= now.ms {
            self.look_up(now);
        }
        if self.current.sender.is_streaming()
            && self.is_itself()
            && let Some(receipt) = self.memory.show()
        {
            message.extend_from_slice(&receipt);
            return Outgoing::Message(self.current.name);
        }
        loop {
            message.clear();
            match self.current.sender.next(now.ms) {
                Action::Wait { until_ms } => {
                    if self.send_again(now, message) {
                        return Outgoing::Message(self.current.name);
                    }
                    return Outgoing::Wait { until_ms: self.wait_until(until_ms) };
                }
                Action::Reconnect if self.is_itself() && std::mem::take(&mut self.stranger_answers) => {
                    // Another connection would lead to the same, as long as the stranger goes on answering.
                    self.current.sender.link_down();
                    self.current.sender.link_up();
                }
                Action::Reconnect => return Outgoing::Reconnect,
                Action::Hello(hello) => {
                    message.extend_from_slice(&self.sign_control(Control::Hello(hello), now));
                    return Outgoing::Message(self.current.name);
                }
                Action::Send { lane, from, bytes_max } => {
                    if self.send(lane, from, bytes_max, now, message) {
                        return Outgoing::Message(self.current.name);
                    }
                }
                Action::LookUp { lane, end } => {
                    self.current.look_ups.retain(|look_up| look_up.lane != lane);
                    self.current.look_ups.push(LookUp { lane, end, tries: 0 });
                    self.look_up(now);
                }
                Action::Ask { lane, after, until } => {
                    if let Some(question) = self.ask(lane, after, until, now) {
                        message.extend_from_slice(&self.sign_control(question, now));
                        return Outgoing::Message(self.current.name);
                    }
                }
                Action::Release { lane, end } => {
                    self.released += 1;
                    self.ring.release(lane, end);
                    self.report_held();
                }
                Action::Rewind { lane, to } => self.rewind(lane, to),
                Action::Reseal { lane, from } => self.reseal(lane, from),
            }
        }
    }

    /// Reads what is to be sent; `false` when there is nothing, for now or forever.
    fn send(&mut self, lane: Lane, from: Sequence, bytes_max: usize, now: &Now, message: &mut Vec<u8>) -> bool {
        match self.ring.read(lane, from, bytes_max, &now.clock, message) {
            Ok(batches) => {
                batches.into_iter().for_each(|batch| self.current.sender.sent(now.ms, batch));
                return true;
            }
            // It is declared, and not held any more: the session continues behind it.
            Err(ReadError::Corrupt { .. }) => {}
            // The disk does not answer, or takes no declaration. The other stream goes on meanwhile.
            Err(_) => self.current.sender.unread(lane.stream, now.ms + READ_RETRY_MS),
        }
        self.report_held();
        false
    }

    /// The question to ask about a lane that the receiver contradicts, when there is one.
    fn ask(&mut self, lane: Lane, after: Sequence, until: Sequence, now: &Now) -> Option<Control> {
        match self.ring.boundaries(lane, until, after, LANES_MAX) {
            Ok(ends) => self.current.sender.asked(now.ms, lane, &ends),
            Err(_) => {
                self.current.sender.unread(lane.stream, now.ms + READ_RETRY_MS);
                None
            }
        }
    }

    /// Sends what the collector has asked for once more, as far as it is still there.
    fn send_again(&mut self, now: &Now, message: &mut Vec<u8>) -> bool {
        while let Some((lane, SequenceRange { first, end })) = self.current.again.pop_front() {
            message.clear();
            if first >= end || self.ring.read(lane, first, AGAIN_BYTES_MAX, &now.clock, message).is_err() {
                continue;
            }
            let (mut bytes, mut next) = (0, first);
            for batch in split(message).map_while(Result::ok) {
                if batch.header().first >= end {
                    break;
                }
                (bytes, next) = (bytes + batch.header().batch_len(), batch.header().end());
            }
            message.truncate(bytes);
            if next > first && next < end {
                self.current.again.push_front((lane, SequenceRange { first: next, end }));
            }
            if bytes > 0 {
                return true;
            }
        }
        message.clear();
        false
    }
}
