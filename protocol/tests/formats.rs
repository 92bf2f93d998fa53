//! Batches, segments and frames under arbitrary events and arbitrary damage.

mod events;

use afferent_protocol::batch::{
    Batch, BatchBuilder, BatchError, CHAIN_START, ClockReading, EMPTIED_LEN, HEADER_LEN, Header, Lineage,
};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::codec::{DecodeError, body, records};
use afferent_protocol::event::{Body, Change, Event, Followed, Kind, LifeCycle, Progress};
use afferent_protocol::frame::{Accumulator, Fed, encode, frame_len_max};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::limits::BATCH_COUNT_MAX;
use afferent_protocol::scan::{Scan, Step, Tail};
use afferent_protocol::segment::{
    self, ENTRY_ALIGN, ENTRY_HEAD_LEN, EntryHead, LogKind, SEGMENT_HEADER_LEN, STOP_LEN, SegmentHeader,
};
use afferent_protocol::sign::Identity;
use afferent_protocol::wire::Writer;
use events::{OwnedEvent, owned_event};
use proptest::prelude::*;

/// What postcard writes of a body, with its number in front.
fn written(body: &Body<'_>) -> Vec<u8> {
    let mut buffer = [0; 4096];
    postcard::to_slice(body, &mut buffer).unwrap().to_vec()
}

#[test]
fn every_kind_and_every_change_has_the_number_that_is_on_the_wire() {
    for (kind, example) in Kind::ALL.into_iter().zip(OwnedEvent::examples()) {
        let body = example.event().body;
        assert_eq!((body.kind(), written(&body)[0]), (kind, kind.number()));
    }
    let example = OwnedEvent::examples().remove(0);
    for change in Change::ALL {
        let life_cycle = example.life_cycle(change);
        let bytes = written(&Body::LifeCycle(life_cycle));
        assert_eq!((life_cycle.kind(), &bytes[..2]), (change, &[Kind::LifeCycle.number(), change.number()][..]));
    }
}

fn seal(events: &[Event<'_>], first: u64) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    events.iter().for_each(|event| builder.push(event).expect("so few fit"));
    let lineage = Lineage {
        source: SourceId::new("press-88").unwrap(),
        stream: Stream::Samples,
        epoch: Epoch::new(3),
        first: Sequence::new(first),
        previous: CHAIN_START,
    };
    let mut bytes = vec![];
    builder.seal(&lineage, &ClockReading::default(), &Identity::from_seed(&[5; 32]), &mut bytes);
    assert!(builder.is_empty());
    bytes
}

fn small_batch(first: u64) -> Vec<u8> {
    let events = OwnedEvent::examples();
    seal(&events.iter().map(OwnedEvent::event).collect::<Vec<_>>(), first)
}

/// Decodes to the end or to the first error.
fn decode(bytes: &[u8]) -> Result<usize, DecodeError> {
    let (batch, _) = Batch::parse(bytes).expect("the checksum was set right");
    records(&batch, &mut [])?.try_fold(0, |count, record| record.map(|_| count + 1))
}

/// A batch with its checksum set right after it was changed.
fn mended(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    bytes
}

proptest! {
    #[test]
    fn events_come_out_of_a_batch_as_they_went_in(owned in prop::collection::vec(owned_event(), 1..60), first in 0_u64..1 << 40) {
        let events: Vec<_> = owned.iter().map(OwnedEvent::event).collect();
        events.iter().for_each(|event| event.check().expect("the strategy makes valid events"));
        let bytes = seal(&events, first);
        let (batch, rest) = Batch::parse(&bytes).unwrap();
        prop_assert!(rest.is_empty());
        prop_assert_eq!(Header::decode(&batch.header().encode()).unwrap(), *batch.header());
        let decoded: Vec<_> = records(&batch, &mut []).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(decoded.len(), events.len());
        for (at, record) in decoded.iter().enumerate() {
            prop_assert_eq!(record.sequence.get(), first + at as u64);
            prop_assert_eq!(record.event, events[at]);
        }
        prop_assert_eq!(batch.header().time_first, events.iter().map(|event| event.time).min().unwrap());
        prop_assert_eq!(batch.header().time_last, events.iter().map(|event| event.time).max().unwrap());
    }

    #[test]
    fn the_stream_that_an_event_names_carries_it(owned in owned_event()) {
        let body = owned.event().body;
        let named = match body {
            Body::Progress(Progress { stream, .. })
            | Body::Followed(Followed { stream, .. })
            | Body::LifeCycle(LifeCycle::Resealed { stream, .. }) => stream,
            Body::Sample(_) => Stream::Samples,
            _ => Stream::Critical,
        };
        prop_assert_eq!(body.stream(), named);
    }

    #[test]
    fn a_row_written_by_hand_is_the_row_that_serde_writes(owned in owned_event()) {
        let event = owned.event();
        let bytes = seal(&[event], 0);
        let (batch, _) = Batch::parse(&bytes).unwrap();
        let mut buffer = [0; 4096];
        let mut out = Writer::new(&mut buffer);
        out.byte(1);
        out.text(event.subject.as_str());
        match event.body {
            Body::Sample(sample) => {
                out.byte(1);
                out.text(sample.unit);
            }
            _ => out.byte(0),
        }
        out.signed(event.time.micros());
        out.byte(0);
        body::put(&mut out, &event.body, 0);
        match out.written() {
            Some(len) => prop_assert_eq!(&buffer[..len], batch.body()),
            None => prop_assert!(is_of_hosts(&event.body), "a device can say it"),
        }
    }

    #[test]
    fn a_body_that_lies_is_refused_or_read_but_never_panics(
        count in 1_u32..=BATCH_COUNT_MAX,
        body in prop::collection::vec(any::<u8>(), 0..200),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = small_batch(0);
        for (at, byte) in damage {
            let places = bytes.len() - HEADER_LEN;
            bytes[HEADER_LEN + at.index(places)] = byte;
        }
        let _ = decode(&mended(bytes.clone()));
        bytes.truncate(HEADER_LEN);
        bytes.extend_from_slice(&body);
        for at in [76, 80] {
            bytes[at..at + 4].copy_from_slice(&(body.len() as u32).to_le_bytes());
        }
        bytes[84..88].copy_from_slice(&count.to_le_bytes());
        if let Ok(decoded) = decode(&mended(bytes)) {
            prop_assert_eq!(decoded, count as usize);
        }
    }

    #[test]
    fn a_scan_over_any_damage_gives_only_what_was_written(
        damage in prop::collection::vec((any::<prop::sample::Index>(), 1_u8..), 1..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let (bytes, places, header) = segment_of(5);
        let mut damaged = bytes.clone();
        for (at, byte) in damage {
            let at = SEGMENT_HEADER_LEN + at.index(damaged.len() - SEGMENT_HEADER_LEN);
            damaged[at] ^= byte;
        }
        if let Some(cut) = cut {
            damaged.truncate(SEGMENT_HEADER_LEN + cut.index(damaged.len() - SEGMENT_HEADER_LEN));
        }
        let mut scan = Scan::new(&damaged, header.seed());
        let mut at = SEGMENT_HEADER_LEN;
        while let Some(step) = scan.step() {
            match step {
                Step::Entry(position, entry) => {
                    prop_assert_eq!(position.get() as usize, at);
                    prop_assert!(places.contains(&at), "an entry where none was written");
                    let len = entry.batch.bytes().len();
                    prop_assert_eq!(entry.batch.bytes(), &bytes[at + ENTRY_HEAD_LEN..at + ENTRY_HEAD_LEN + len]);
                    at += entry.head.entry_len();
                }
                Step::Corrupt { from, to } => {
                    prop_assert_eq!(from.get() as usize, at);
                    prop_assert!(to > from);
                    at = to.get() as usize;
                }
            }
        }
        prop_assert_eq!(scan.tail().end().get() as usize, at);
    }

    #[test]
    fn frames_arrive_however_the_line_is_cut_and_whatever_stands_between_them(
        frames in prop::collection::vec((prop::collection::vec(prop_oneof![Just(0_u8), any::<u8>()], 0..400), prop::collection::vec(any::<u8>(), 0..700)), 0..6),
        cuts in prop::collection::vec(1_usize..300, 1..20),
    ) {
        let mut line = vec![];
        for (payload, noise) in &frames {
            line.extend_from_slice(noise);
            line.push(0);
            let mut frame = vec![0; frame_len_max(payload.len())];
            let len = encode(payload, &mut frame).unwrap();
            prop_assert!(!frame[..len - 1].contains(&0));
            line.extend_from_slice(&frame[..len]);
        }
        let mut cuts = cuts.iter().cycle();
        let (mut accumulator, mut arrived, mut rest) = (Accumulator::<512>::new(), vec![], &line[..]);
        while !rest.is_empty() {
            let (mut chunk, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            rest = after;
            loop {
                match accumulator.feed(chunk) {
                    Fed::More => break,
                    Fed::Frame { payload, taken } => {
                        arrived.push(payload.to_vec());
                        chunk = &chunk[taken..];
                    }
                    Fed::Noise { taken, .. } => chunk = &chunk[taken..],
                }
            }
        }
        let sent: Vec<_> = frames.into_iter().map(|(payload, _)| payload).collect();
        prop_assert_eq!(arrived, sent);
    }
}

/// Whether it is an event of agents and collectors, which no device writes.
fn is_of_hosts(body: &Body<'_>) -> bool {
    let Body::LifeCycle(life) = body else { return matches!(body, Body::Followed(_)) };
    matches!(
        life,
        LifeCycle::Attested { .. }
            | LifeCycle::TermBegun { .. }
            | LifeCycle::Heartbeat { .. }
            | LifeCycle::Resealed { .. }
            | LifeCycle::RingReplaced { .. }
            | LifeCycle::Conflict { .. }
            | LifeCycle::RolledBack { .. }
            | LifeCycle::Retired { .. }
            | LifeCycle::KeyReplaced { .. }
            | LifeCycle::KeyEndorsed { .. }
            | LifeCycle::Alias { .. }
            | LifeCycle::Forgotten { .. }
            | LifeCycle::Unread { .. }
    )
}

/// A segment of so many entries and a stop, and where the entries begin.
fn segment_of(entries: u64) -> (Vec<u8>, Vec<usize>, SegmentHeader) {
    let header = SegmentHeader {
        kind: LogKind::Ring,
        log_id: [6; 16],
        generation: 2,
        stream: Stream::Samples,
        epoch: Epoch::new(3),
        first_ordinal: 0,
        begun: Timestamp::default(),
    };
    let (mut bytes, mut places, mut ordinal) = (header.encode().to_vec(), vec![], 0);
    for _ in 0..entries {
        let batch = small_batch(ordinal);
        let head = EntryHead::new(Batch::parse(&batch).unwrap().0.header(), ordinal, 0, Timestamp::default());
        places.push(bytes.len());
        segment::put_entry(&mut bytes, header.seed(), &head, &batch);
        ordinal = head.end_ordinal();
    }
    bytes.resize(bytes.len() + STOP_LEN, 0);
    (bytes, places, header)
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_batch_is_noticed() {
    let bytes = small_batch(7);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Batch::parse(&flipped).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(matches!(Batch::parse(&bytes[..len]), Err(BatchError::Short { .. })), "{len} bytes");
    }
}

#[test]
fn header_fields_that_lie_are_refused() {
    let bytes = small_batch(7);
    let with = |at: usize, field: &[u8]| {
        let mut bytes = bytes.clone();
        bytes[at..at + field.len()].copy_from_slice(field);
        mended(bytes)
    };
    let refused = |at: usize, field: &[u8]| {
        assert!(Batch::parse(&with(at, field)).is_err(), "{field:?} at {at}");
    };
    refused(72, &[0]);
    refused(72, &[2]);
    refused(74, &[2]);
    refused(75, &[2]);
    for len in [u32::MAX, 1_048_321, 1 << 20, bytes.len() as u32] {
        refused(76, &len.to_le_bytes());
    }
    refused(80, &(4_194_305_u32).to_le_bytes());
    for count in [0, BATCH_COUNT_MAX + 1, u32::MAX] {
        refused(84, &count.to_le_bytes());
    }
    refused(88, &u64::MAX.to_le_bytes());
    for time in [-1, i64::MIN, i64::MAX] {
        for at in [104, 112, 128] {
            refused(at, &time.to_le_bytes());
        }
    }
    refused(104, &253_402_300_799_999_999_i64.to_le_bytes());
    for len in [0, 7, 64, 71, 72, 255] {
        refused(184, &[len]);
    }
    refused(185, b"a/b");
    refused(185, b".");
    refused(255, b"x");
    assert_eq!(decode(&with(73, &[2])), Err(DecodeError::Codec(2)));
    assert_eq!(decode(&with(80, &1_u32.to_le_bytes())), Err(DecodeError::Length));
    let count = OwnedEvent::examples().len() as u32;
    assert_eq!(
        decode(&with(84, &(count + 1).to_le_bytes())),
        Err(DecodeError::Record { index: count, count: count + 1 })
    );
    assert!(matches!(decode(&with(84, &(count - 1).to_le_bytes())), Err(DecodeError::LeftOver { .. })));
    for dictionary in [&[0xFF, 0x08][..], &[0xFF; 10], &[0x81, 0x80]] {
        assert_eq!(decode(&with(HEADER_LEN, dictionary)), Err(DecodeError::Dictionary), "{dictionary:?}");
    }
}

#[test]
fn every_flipped_bit_of_a_segment_costs_only_the_entry_that_it_is_in() {
    let (bytes, places, header) = segment_of(3);
    let end = bytes.len() - STOP_LEN;
    for bit in SEGMENT_HEADER_LEN * 8..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let mut scan = Scan::new(&flipped, header.seed());
        let mut found = vec![];
        while let Some(step) = scan.step() {
            if let Step::Entry(at, _) = step {
                found.push(at.get() as usize);
            }
        }
        let hit = places.iter().rposition(|place| *place <= bit / 8).filter(|_| bit / 8 < end);
        let expected: Vec<_> = (0..places.len()).filter(|at| Some(*at) != hit).map(|at| places[at]).collect();
        assert_eq!(found, expected, "bit {bit}");
        let torn = matches!(scan.tail(), Tail::Torn { .. });
        assert_eq!(torn, bit / 8 >= places[2], "bit {bit}");
    }
    assert_eq!(end % ENTRY_ALIGN, 0);
}

#[test]
fn every_flipped_bit_of_a_segment_header_leaves_the_other_copy() {
    let (bytes, _, header) = segment_of(0);
    for bit in 0..SEGMENT_HEADER_LEN * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let segment::Head::Present { header: read, .. } = SegmentHeader::decode(&flipped) else { panic!("bit {bit}") };
        assert_eq!(read, header);
    }
}

#[test]
fn an_emptied_batch_keeps_its_header_its_chain_and_its_signature_and_has_no_records() {
    let bytes = small_batch(7);
    let (batch, _) = Batch::parse(&bytes).unwrap();
    let emptied = batch.emptied();
    let (parsed, rest) = Batch::parse(&emptied).unwrap();
    assert!(rest.is_empty() && parsed.header().is_emptied() && !batch.header().is_emptied());
    let Header { crc, codec, body_len, decoded_len, .. } = *parsed.header();
    assert_eq!(Header { crc, codec, body_len, decoded_len, ..*batch.header() }, *parsed.header());
    assert_eq!((parsed.chain_hash(), parsed.body()), (batch.chain_hash(), &batch.chain_hash()[..]));
    let verifier = Identity::from_seed(&[5; 32]).public_key().verifier().unwrap();
    assert_eq!(verifier.verify(&parsed), verifier.verify(&batch));
    assert!(verifier.verify(&parsed).is_some());
    assert_eq!(decode(&emptied), Ok(0));
    assert!(records(&parsed, &mut []).unwrap().subjects().is_empty());
    assert_eq!(parsed.emptied(), emptied, "there is nothing left to remove");
}

#[test]
fn a_kept_chain_hash_that_was_edited_is_not_what_was_signed() {
    let bytes = small_batch(7);
    let verifier = Identity::from_seed(&[5; 32]).public_key().verifier().unwrap();
    let emptied = Batch::parse(&bytes).unwrap().0.emptied();
    for bit in HEADER_LEN * 8..EMPTIED_LEN * 8 {
        let mut edited = emptied.to_vec();
        edited[bit / 8] ^= 1 << (bit % 8);
        let edited = mended(edited);
        assert_eq!(verifier.verify(&Batch::parse(&edited).unwrap().0), None, "bit {bit}");
    }
}

#[test]
fn an_emptied_batch_of_another_form_is_refused() {
    let bytes = small_batch(7);
    let emptied = Batch::parse(&bytes).unwrap().0.emptied().to_vec();
    let refused =
        |bytes: Vec<u8>| assert_eq!(Batch::parse(&mended(bytes)).err(), Some(BatchError::Field("removed body")));
    let with = |at: usize, byte: u8| {
        let mut bytes = emptied.clone();
        bytes[at] = byte;
        bytes
    };
    assert_eq!((emptied[74], emptied[76], emptied[80]), (1, 32, 32));
    refused(with(74, 0));
    for len in [0, 31, 33] {
        refused(with(76, len));
        refused(with(80, len));
    }
    let mut whole = bytes;
    whole[73] = 255;
    refused(whole);
}

#[test]
#[should_panic(expected = "critical events are never removed")]
fn a_critical_batch_is_never_emptied() {
    let event = OwnedEvent::examples().remove(0);
    let mut builder = BatchBuilder::new();
    builder.push(&event.event()).unwrap();
    let lineage = Lineage {
        source: SourceId::new("press-88").unwrap(),
        stream: Stream::Critical,
        epoch: Epoch::new(3),
        first: Sequence::ZERO,
        previous: CHAIN_START,
    };
    let mut bytes = vec![];
    builder.seal(&lineage, &ClockReading::default(), &Identity::from_seed(&[5; 32]), &mut bytes);
    Batch::parse(&bytes).unwrap().0.emptied();
}
