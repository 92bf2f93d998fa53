//! A body of codec 1 behind a right header: what is decoded encodes to rows that decode to the same.
#![no_main]

use afferent_protocol::batch::{Batch, BatchBuilder, ClockReading, Header, Lineage};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::codec::records;
use afferent_protocol::event::Event;
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::sign::Identity;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (count, body) = input;
    let source = SourceId::new("fuzz").unwrap();
    let header = Header {
        crc: 0,
        signature: [0; 64],
        codec: 1,
        stream: Stream::Critical,
        body_len: body.len() as u32,
        decoded_len: body.len() as u32,
        count: u32::from(count) + 1,
        first: Sequence::new(5),
        epoch: Epoch::new(1),
        time_first: Timestamp::clamped(0),
        time_last: Timestamp::clamped(i64::MAX),
        clock: ClockReading::default(),
        previous: [0; 32],
        source,
    };
    let mut bytes = header.encode().to_vec();
    bytes.extend_from_slice(body);
    let crc = crc32c(&bytes[8..]);
    bytes[4..8].copy_from_slice(&crc.to_le_bytes());
    let Ok((batch, _)) = Batch::parse(&bytes) else { return };
    let Ok(decoded) = records(&batch, &mut []) else { return };
    let events: Vec<Event<'_>> = decoded.map_while(Result::ok).map(|record| record.event).collect();
    again(&events, source);
});

fn again(events: &[Event<'_>], source: SourceId) {
    let mut builder = BatchBuilder::new();
    let mut taken = 0;
    for event in events {
        event.check().unwrap();
        if builder.push(event).is_err() {
            break;
        }
        taken += 1;
    }
    if taken == 0 {
        return;
    }
    let lineage =
        Lineage { source, stream: Stream::Critical, epoch: Epoch::new(1), first: Sequence::ZERO, previous: [0; 32] };
    let mut bytes = vec![];
    builder.seal(&lineage, &ClockReading::default(), &Identity::from_seed(&[1; 32]), &mut bytes);
    let (batch, rest) = Batch::parse(&bytes).unwrap();
    assert!(rest.is_empty());
    let decoded: Vec<_> = records(&batch, &mut []).unwrap().map(|record| record.unwrap().event).collect();
    assert_eq!(decoded, events[..taken]);
}
