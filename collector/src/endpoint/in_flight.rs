//! Messages that were read and are not answered yet. Answers keep the order of the messages.

use std::collections::VecDeque;

use super::answers::PublishAnswer;

/// The queue of one connection.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    waiting: VecDeque<Waiting>,
    handed_over: u64,
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    packet_id: u16,
    state: MessageState,
}

#[derive(Clone, Copy, Debug)]
enum MessageState {
    /// The writer has it, under this number.
    HandedOver(u64),
    Answered(PublishAnswer),
}

impl InFlight {
    /// The number of unanswered messages.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Adds a message that goes to the writer; returns the number under which the writer answers it.
    pub fn hand_over(&mut self, packet_id: u16) -> u64 {
        self.handed_over += 1;
        self.waiting.push_back(Waiting { packet_id, state: MessageState::HandedOver(self.handed_over) });
        self.handed_over
    }

    /// Adds a message that was answered without the writer.
    pub fn answered(&mut self, packet_id: u16, answer: PublishAnswer) {
        self.waiting.push_back(Waiting { packet_id, state: MessageState::Answered(answer) });
    }

    /// The writer has answered a message.
    pub fn released(&mut self, number: u64, answer: PublishAnswer) {
        let waiting = self.waiting.iter_mut().find(|w| matches!(w.state, MessageState::HandedOver(n) if n == number));
        if let Some(waiting) = waiting {
            waiting.state = MessageState::Answered(answer);
        }
    }

    /// The next answer that may go out.
    pub fn next_answer(&mut self) -> Option<(u16, PublishAnswer)> {
        match self.waiting.front()? {
            Waiting { packet_id, state: MessageState::Answered(answer) } => {
                let answer = (*packet_id, *answer);
                self.waiting.pop_front();
                Some(answer)
            }
            Waiting { state: MessageState::HandedOver(_), .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_out_in_the_order_of_the_messages() {
        let mut in_flight = InFlight::default();
        let first = in_flight.hand_over(10);
        in_flight.answered(11, PublishAnswer::NotAuthorized);
        let second = in_flight.hand_over(12);
        assert_eq!(in_flight.next_answer(), None, "the refusal waits for the message before it");
        in_flight.released(first, PublishAnswer::Taken);
        assert_eq!(in_flight.next_answer(), Some((10, PublishAnswer::Taken)));
        assert_eq!(in_flight.next_answer(), Some((11, PublishAnswer::NotAuthorized)));
        assert_eq!(in_flight.next_answer(), None);
        in_flight.released(second, PublishAnswer::Taken);
        assert_eq!(in_flight.next_answer(), Some((12, PublishAnswer::Taken)));
        assert_eq!(in_flight.len(), 0);
    }
}
