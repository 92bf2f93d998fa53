//! What waits for the line: control messages, and one message of batches a stream, cut to what the line and the peer
//! take.
//!
//! A message goes as whole batches while they are small enough, else in pieces. Control messages go before batches,
//! breakdowns before samples, also between the pieces of a batch of samples. How far a batch was confirmed is
//! remembered over connections, and a repetition goes on there: once, for the receiver may have lost what it had.

use crate::limits::SAMPLES_TURN;
use std::collections::VecDeque;
use std::ops::Range;

use afferent_protocol::batch::{Header, MAGIC};
use afferent_protocol::ids::{SourceId, Stream};
use afferent_protocol::piece::{PIECE_HEAD_LEN, PieceHead};
use afferent_protocol::session::Lane;

/// A message of batches on its way.
#[derive(Debug)]
struct Load {
    agent: SourceId,
    bytes: Vec<u8>,
    /// Where the batch begins that is next.
    at: usize,
    /// How much of that batch has gone in pieces.
    piece_at: usize,
    /// It continues where an earlier connection was.
    is_resumed: bool,
}

impl Load {
    fn new(agent: SourceId, bytes: Vec<u8>) -> Self {
        Self { agent, bytes, at: 0, piece_at: 0, is_resumed: false }
    }

    /// What names the next batch, and its length.
    fn head(&self) -> Option<PieceHead> {
        head_of(self.bytes.get(self.at..)?)
    }
}

/// How far a batch in pieces was confirmed.
#[derive(Clone, Copy, Debug)]
struct Partly {
    head: PieceHead,
    confirmed: usize,
    /// It was gone on with, or begun, over this connection.
    is_used: bool,
}

/// One message for the transport.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parcel {
    /// Whose topic it goes to.
    pub agent: SourceId,
    /// Payload of the message.
    pub payload: Vec<u8>,
    /// The piece that its PUBACK confirms.
    pub piece: Option<Piece>,
}

/// A piece of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    head: PieceHead,
    range: Range<usize>,
}

/// The messages that wait to be sent.
#[derive(Debug, Default)]
pub(super) struct Loads {
    controls: VecDeque<(SourceId, Vec<u8>)>,
    streams: [Option<Load>; 2],
    /// Came while its stream's place was taken: nothing else is taken meanwhile.
    next: Option<(SourceId, Vec<u8>)>,
    partly: [Option<Partly>; 2],
    turn: u8,
}

impl Loads {
    /// Whether a message can be taken.
    pub fn has_room(&self) -> bool {
        self.next.is_none() && self.controls.len() < 2
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.controls.is_empty() && self.streams.iter().all(Option::is_none) && self.next.is_none()
    }

    /// The connection is gone, and all that waited for it.
    pub fn clear(&mut self) {
        let mut partly = self.partly;
        partly.iter_mut().flatten().for_each(|partly| partly.is_used = false);
        *self = Self { partly, ..Self::default() };
    }

    /// Takes a message for the topic of `agent`.
    pub fn push(&mut self, agent: SourceId, message: Vec<u8>) {
        let Some(head) = head_of(&message) else { return self.controls.push_back((agent, message)) };
        let place = &mut self.streams[number(head.lane)];
        match place {
            None => *place = Some(Load::new(agent, message)),
            // The session begins again, and what it repeats is on its way: it goes on, unless it was not begun here.
            Some(load) if load.head().is_some_and(|known| known.is_of_batch(&head)) => {
                let piece_at = if load.is_resumed { 0 } else { load.piece_at };
                if load.is_resumed {
                    // The receiver does not have what was confirmed before.
                    self.partly[number(head.lane)] = None;
                }
                *load = Load { piece_at, ..Load::new(agent, message) };
            }
            Some(_) => {
                assert!(self.next.is_none(), "a message is taken only when there is room");
                self.next = Some((agent, message));
            }
        }
    }

    /// The next message of at most so many bytes where it can be cut, and in any case of no more than `packet_max`.
    pub fn pop(&mut self, bytes_max: usize, packet_max: usize) -> Option<Parcel> {
        if let Some((agent, payload)) = self.controls.pop_front() {
            return Some(Parcel { agent, payload, piece: None });
        }
        let [critical, samples] = [self.streams[0].is_some(), self.streams[1].is_some()];
        let stream = match (critical, samples) {
            (false, false) => return None,
            (true, true) if self.turn + 1 < SAMPLES_TURN => Stream::Critical,
            (true, false) => Stream::Critical,
            (_, true) => Stream::Samples,
        };
        self.turn = if critical && samples && stream == Stream::Critical { self.turn + 1 } else { 0 };
        let at = usize::from(stream.number());
        let load = self.streams[at].as_mut().expect("it waits");
        let parcel = cut(load, &mut self.partly[at], bytes_max.min(packet_max));
        if load.at >= load.bytes.len() {
            self.streams[at] = None;
            if let Some((agent, next)) = self.next.take() {
                self.push(agent, next);
            }
        }
        Some(parcel)
    }

    /// A piece was confirmed.
    pub fn confirmed(&mut self, piece: &Piece) {
        if let Some(partly) = &mut self.partly[number(piece.head.lane)]
            && partly.head.is_of_batch(&piece.head)
            && piece.range.start <= partly.confirmed
        {
            partly.confirmed = partly.confirmed.max(piece.range.end);
            assert!(partly.confirmed <= partly.head.len, "no more is confirmed than the batch has");
        }
    }
}

/// The next parcel of a message, which moves on.
fn cut(load: &mut Load, partly: &mut Option<Partly>, bytes_max: usize) -> Parcel {
    let (agent, begin) = (load.agent, load.at);
    if load.piece_at == 0 {
        while let Some(head) = load.head()
            && load.at - begin + head.len <= bytes_max
        {
            load.at += head.len;
        }
        if load.at > begin {
            return Parcel { agent, payload: load.bytes[begin..load.at].to_vec(), piece: None };
        }
    }
    // Bytes that are not a batch were not made by a session.
    let Some(head) = load.head() else {
        load.at = load.bytes.len();
        return Parcel { agent, payload: load.bytes[begin..].to_vec(), piece: None };
    };
    if load.piece_at == 0 {
        let known = partly.filter(|known| known.head.is_of_batch(&head) && !known.is_used);
        // A batch that was confirmed as a whole still ends with a piece, or it would get no answer.
        load.piece_at = known.map_or(0, |known| known.confirmed.min(head.len - 1));
        load.is_resumed = load.piece_at > 0;
        *partly = Some(Partly { head, confirmed: load.piece_at, is_used: true });
    }
    let room = bytes_max.saturating_sub(PIECE_HEAD_LEN).max(1);
    let range = load.piece_at..(load.piece_at + room).min(head.len);
    assert!(!range.is_empty() && range.end <= head.len, "a piece holds bytes of its batch");
    assert!(load.at + head.len <= load.bytes.len(), "a batch is whole before it is cut");
    let head = PieceHead { at: range.start, ..head };
    let payload = [&head.encode(), &load.bytes[load.at + range.start..load.at + range.end]].concat();
    load.piece_at = range.end;
    if range.end == head.len {
        (load.at, load.piece_at, load.is_resumed) = (load.at + head.len, 0, false);
    }
    Parcel { agent, payload, piece: Some(Piece { head, range }) }
}

/// What names the batch that the bytes begin with, when it is whole.
fn head_of(bytes: &[u8]) -> Option<PieceHead> {
    let header = bytes.starts_with(&MAGIC).then(|| Header::decode(bytes).ok())??;
    let lane = Lane { stream: header.stream, epoch: header.epoch };
    let whole = bytes.get(..header.batch_len())?;
    Some(PieceHead { crc: *whole[4..].first_chunk()?, lane, len: whole.len(), at: 0 })
}

fn number(lane: Lane) -> usize {
    usize::from(lane.stream.number())
}

#[cfg(test)]
mod tests {
    use afferent_protocol::batch::ClockReading;
    use afferent_protocol::checksum::crc32c;
    use afferent_protocol::ids::{Epoch, Sequence, Timestamp};
    use afferent_protocol::piece;

    use super::*;

    const AGENT: SourceId = SourceId::literal("mill");

    fn batch(stream: Stream, first: u64, body: usize) -> Vec<u8> {
        let header = Header {
            crc: 0,
            signature: [0; 64],
            codec: 1,
            stream,
            body_len: body as u32,
            decoded_len: body as u32,
            count: 1,
            first: Sequence::new(first),
            epoch: Epoch::new(1),
            time_first: Timestamp::default(),
            time_last: Timestamp::default(),
            clock: ClockReading::default(),
            previous: [0; 32],
            source: AGENT,
        };
        let mut bytes = [&header.encode()[..], &vec![first as u8; body]].concat();
        let crc = crc32c(&bytes[8..]);
        bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// What a receiver makes of parcels: whole batches and joined pieces. It also returns whether a piece did not fit.
    #[derive(Default)]
    struct Joined {
        whole: Vec<Vec<u8>>,
        pieces: [Vec<u8>; 2],
        missed: usize,
    }

    impl Joined {
        fn take(&mut self, payload: &[u8]) {
            let Some((head, bytes)) = piece::read(payload) else { return self.whole.push(payload.to_vec()) };
            let piece = &mut self.pieces[number(head.lane)];
            if head.at == 0 {
                piece.clear();
            }
            if head.at != piece.len() {
                self.missed += 1;
                return;
            }
            piece.extend_from_slice(bytes);
            if piece.len() == head.len {
                self.whole.push(std::mem::take(piece));
            }
        }
    }

    #[test]
    fn every_batch_passes_through_any_limit_and_no_message_is_larger() {
        let batches = [batch(Stream::Samples, 0, 50), batch(Stream::Samples, 1, 70_000), batch(Stream::Samples, 2, 9)];
        for bytes_max in [64, 300, 700, 1024, 65_000, 1 << 20] {
            let mut loads = Loads::default();
            loads.push(AGENT, batches.concat());
            let mut joined = Joined::default();
            while let Some(parcel) = loads.pop(bytes_max, 1 << 20) {
                assert!(parcel.payload.len() <= bytes_max, "{} of {bytes_max}", parcel.payload.len());
                joined.take(&parcel.payload);
            }
            assert!(loads.is_empty() && joined.missed == 0);
            assert_eq!(joined.whole.concat(), batches.concat(), "{bytes_max}");
        }
    }

    #[test]
    fn a_breakdown_goes_between_the_pieces_of_samples_and_samples_go_on() {
        let mut loads = Loads::default();
        let (samples, breakdown) = (batch(Stream::Samples, 0, 10_000), batch(Stream::Critical, 0, 40));
        loads.push(AGENT, samples.clone());
        loads.pop(1024, 1024).unwrap();
        loads.push(AGENT, breakdown.clone());
        loads.push(AGENT, b"signed".to_vec());
        assert_eq!(loads.pop(1024, 1024).unwrap().payload, b"signed");
        assert_eq!(loads.pop(1024, 1024).unwrap().payload, breakdown);
        // While breakdowns never end, samples have their turn.
        let mut critical = 0;
        for first in 1..=100 {
            loads.push(AGENT, batch(Stream::Critical, first, 40));
            critical += usize::from(loads.pop(1024, 1024).unwrap().piece.is_none());
            while loads.next.is_some() {
                loads.pop(1024, 1024);
            }
        }
        assert!((80..100).contains(&critical), "{critical}");
    }

    /// Sends with a connection that breaks after so many parcels, until the receiver has the batch; returns how many it
    /// took.
    fn send_over_breaks(remembers: bool) -> Option<usize> {
        let batch = batch(Stream::Samples, 0, 64 * 1024);
        let (mut loads, mut joined) = (Loads::default(), Joined::default());
        for connection in 0..40 {
            loads.push(AGENT, batch.clone());
            for _ in 0..10 {
                let Some(parcel) = loads.pop(1024, 1024) else { break };
                joined.take(&parcel.payload);
                loads.confirmed(&parcel.piece.unwrap());
            }
            if !joined.whole.is_empty() {
                return Some(connection);
            }
            if remembers { loads.clear() } else { loads = Loads::default() }
        }
        None
    }

    #[test]
    fn what_was_confirmed_is_kept_over_connections() {
        assert_eq!(send_over_breaks(true), Some(6));
        assert_eq!(send_over_breaks(false), None, "the control: whoever begins again never arrives");
    }

    #[test]
    fn a_receiver_that_has_lost_what_was_confirmed_gets_it_from_the_beginning() {
        let batch = batch(Stream::Samples, 0, 5_000);
        let mut loads = Loads::default();
        loads.push(AGENT, batch.clone());
        let parcel = loads.pop(1024, 1024).unwrap();
        loads.confirmed(&parcel.piece.unwrap());
        loads.clear();
        loads.push(AGENT, batch.clone());
        let mut joined = Joined::default();
        joined.take(&loads.pop(1024, 1024).unwrap().payload);
        assert_eq!(joined.missed, 1);
        // It asks, and the session repeats the batch: while it is under way, and once more.
        for _ in 0..2 {
            loads.push(AGENT, batch.clone());
            while let Some(parcel) = loads.pop(1024, 1024) {
                joined.take(&parcel.payload);
            }
            assert_eq!(joined.whole.pop(), Some(batch.clone()));
        }
        // The control: what was begun here is not begun again by a repetition.
        loads.push(AGENT, batch.clone());
        joined.take(&loads.pop(1024, 1024).unwrap().payload);
        loads.push(AGENT, batch.clone());
        while let Some(parcel) = loads.pop(1024, 1024) {
            assert!(!joined.pieces[1].is_empty(), "it goes on");
            joined.take(&parcel.payload);
        }
        assert_eq!(joined.whole, [batch]);
    }
}
