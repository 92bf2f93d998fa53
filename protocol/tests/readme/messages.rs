//! Messages of the session, and what is said on a serial line.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::checksum::crc32c;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SequenceRange, SourceId, Stream};
use afferent_protocol::limits::*;
use afferent_protocol::session::signed::{Down, Instance, Nonce, Place, Up, UpContent};
use afferent_protocol::session::{Check, Control, Held, Hello, Lane, Resume, Welcome};
use afferent_protocol::sign::{Context, Identity, sha256};

use super::rows::{in_order, text, variant, varint};
use super::{check_rows, header, table, table_after, time};

fn item(name: &str, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let rows = table("## Control messages", "item");
    in_order(rows.iter().find(|row| row[0] == name).unwrap()[1], fields)
}

const LANE: Lane = Lane { stream: Stream::Samples, epoch: Epoch::new(1000) };

fn lane_bytes() -> Vec<u8> {
    item("Lane", &[("stream", variant("Stream", "samples")), ("epoch", varint(1000))])
}

fn resume(check: Option<u64>) -> Resume {
    Resume { lane: LANE, end: Sequence::new(70), check: check.map(Check) }
}

fn resume_bytes(check: Option<u64>) -> Vec<u8> {
    let option = check.map_or(vec![0], |check| [vec![1], varint(check)].concat());
    item("Resume", &[("lane", lane_bytes()), ("end", varint(70)), ("check", option)])
}

#[test]
fn control_messages_lie_as_the_tables_say() {
    let check = |control: Control, name: &str, fields: &[(&str, Vec<u8>)]| {
        let rows = table("## Control messages", "kind");
        let row = rows.iter().find(|row| row[1] == name).unwrap();
        let rest = [varint(row[0].parse().unwrap()), in_order(row[3], fields)].concat();
        let expected = [b"AFC2".to_vec(), crc32c(&rest).to_le_bytes().to_vec(), rest].concat();
        assert_eq!(control.encode().as_slice(), expected, "{name}");
    };
    let held = Held { lane: LANE, first: Sequence::new(5), end: Sequence::new(600) };
    let held_bytes = item("Held", &[("lane", lane_bytes()), ("first", varint(5)), ("end", varint(600))]);
    let list = [vec![2], held_bytes.clone(), held_bytes].concat();
    let hello = Hello { session: 300, lanes: [held, held].into_iter().collect() };
    check(Control::Hello(hello), "hello", &[("session", varint(300)), ("lanes", list)]);
    let lanes: heapless::Vec<_, LANES_MAX> = [resume(None), resume(Some(u64::MAX))].into_iter().collect();
    let list = [vec![2], resume_bytes(None), resume_bytes(Some(u64::MAX))].concat();
    let fields = [("session", varint(300)), ("lanes", list.clone())];
    check(Control::Welcome(Welcome { session: 300, lanes: lanes.clone() }), "welcome", &fields);
    check(Control::Ack(lanes.clone()), "ack", &[("lanes", list.clone())]);
    let fields = [("lane", lane_bytes()), ("from", varint(5))];
    check(Control::Nack { lane: LANE, from: Sequence::new(5) }, "nack", &fields);
    check(Control::Ask(lanes), "ask", &[("ends", list)]);
    check(Control::Common(resume(Some(9))), "common", &[("end", resume_bytes(Some(9)))]);
    let range = SequenceRange { first: Sequence::new(5), end: Sequence::new(600) };
    let fields = [("lane", lane_bytes()), ("first", varint(5)), ("end", varint(600))];
    check(Control::Again { lane: LANE, range }, "again", &fields);
    assert_eq!(table("## Control messages", "kind").len(), 7);
}

/// The signed message that the tables say.
fn signed_by_tables(
    source: &str,
    identity: &Identity,
    (direction, kind): (&str, u8),
    [log_id, nonce, answer]: [[u8; 16]; 3],
    fields: &[(&str, Vec<u8>)],
    content: &[u8],
) -> Vec<u8> {
    let row = table_after("## Signed messages", "| direction | name | fields in their order |")
        .into_iter()
        .find(|row| row[1] == direction)
        .unwrap();
    let number: u8 = row[0].parse().unwrap();
    let key = identity.public_key().0;
    let signed = [&[number, kind][..], &log_id, &nonce, &answer, &key, &in_order(row[2], fields), content].concat();
    let hashed = [source.as_bytes(), &[0], &signed].concat();
    let signature = identity.sign_in(Context::Control, &sha256(&hashed));
    let crc = crc32c(&[&signature[..], &signed].concat()).to_le_bytes();
    let message = [b"AFS1", &crc[..], &signature, &signed].concat();
    let head = table("## Signed messages", "offset");
    let layout = [
        ("magic", &b"AFS1"[..]),
        ("crc", &crc),
        ("signature", &signature),
        ("direction", &[number]),
        ("kind", &[kind]),
        ("log_id", &log_id),
        ("nonce", &nonce),
        ("answer", &answer),
        ("key", &key),
    ];
    check_rows("## Signed messages", &head, &message[..154], &layout);
    message
}

#[test]
fn messages_of_agents_lie_as_the_tables_say() {
    let (source, identity) = (SourceId::new("press-88").unwrap(), Identity::from_seed(&[7; 32]));
    let control = Control::Common(resume(None));
    let clock = ClockReading { wall: time(1000), monotonic_us: 300, synchronised: true, boot: [6; 16] };
    let up = |content| Up {
        log_id: [1; 16],
        nonce: Nonce([2; 16]),
        answer: Nonce([3; 16]),
        key: identity.public_key(),
        instance: Instance([5; 16]),
        clock,
        former: vec![SourceId::new("a").unwrap(), SourceId::new("b-1").unwrap()],
        content,
    };
    let fields = [
        ("instance", vec![5; 16]),
        ("boot", vec![6; 16]),
        ("synchronised", vec![1]),
        ("monotonic", varint(300)),
        ("wall", varint(2000)),
        ("former", [vec![2], text("a"), text("b-1")].concat()),
    ];
    let contents = table("## Signed messages", "content");
    assert_eq!(contents.iter().map(|row| (row[0], row[1])).collect::<Vec<_>>(), [("control", "0"), ("state", "1")]);
    let head = [[1; 16], [2; 16], [3; 16]];
    let expected = signed_by_tables("press-88", &identity, ("up", 0), head, &fields, &control.encode()[8..]);
    assert_eq!(up(UpContent::Control(control)).sign(&source, &identity), expected);
    for online in [false, true] {
        let content = in_order(contents[1][2], &[("online", vec![u8::from(online)])]);
        let expected = signed_by_tables("press-88", &identity, ("up", 1), head, &fields, &content);
        assert_eq!(up(UpContent::State { online }).sign(&source, &identity), expected);
    }
}

#[test]
fn messages_of_collectors_lie_as_the_tables_say() {
    let (source, identity) = (SourceId::new("press-88").unwrap(), Identity::from_seed(&[8; 32]));
    let place = Place { log_id: [1; 16], partition: 300, term: u64::MAX, offset: Offset::new(500) };
    let content = Control::Ack([resume(Some(9))].into_iter().collect());
    for (attestation, option) in [(None, vec![0]), (Some([9; 213]), [vec![1], vec![9; 213]].concat())] {
        let down = Down {
            nonce: Nonce([2; 16]),
            answer: Nonce([3; 16]),
            key: identity.public_key(),
            place,
            time: time(1000),
            is_proved: attestation.is_some(),
            endorsements: vec![[6; 146], [7; 146]],
            attestation,
            content: content.clone(),
        };
        let fields = [
            ("partition", varint(300)),
            ("term", varint(u64::MAX)),
            ("offset", varint(500)),
            ("time", varint(2000)),
            ("is_proved", vec![u8::from(attestation.is_some())]),
            ("endorsements", [vec![2], vec![6; 146], vec![7; 146]].concat()),
            ("attestation", option),
        ];
        let head = [[1; 16], [2; 16], [3; 16]];
        let expected = signed_by_tables("press-88", &identity, ("down", 0), head, &fields, &content.encode()[8..]);
        assert_eq!(down.sign(&source, &identity), expected);
    }
}

#[test]
fn what_is_said_about_clocks_on_a_serial_line_lies_as_the_table_says() {
    use afferent_protocol::clock_exchange::{ClockReply, ClockRequest};
    let rows = table("### Clock exchange", "offset");
    let source = SourceId::new("mill-2").unwrap();
    let request = ClockRequest { boot: [7; 16], tick_us: 0x0102_0304, source }.encode();
    let reply = ClockReply { boot: [7; 16], tick_us: 0x0102_0304, synchronised: true, wall: time(0x0506) }.encode();
    let tick = 0x0102_0304_u64.to_le_bytes();
    let fields: [(&[u8], &[u8]); 6] = [
        (b"AFT1", b"AFT1"),
        (&[0], &[1]),
        (&[7; 16], &[7; 16]),
        (&tick, &tick),
        (&[6], &[1]),
        (b"mill-2", &0x0506_i64.to_le_bytes()),
    ];
    assert_eq!(rows.len(), fields.len());
    for (row, (asked, answered)) in rows.iter().zip(fields) {
        let at: usize = row[0].parse().unwrap();
        assert!(row[1].parse::<usize>().is_ok_and(|len| len == asked.len()) || row[1] == "…");
        assert_eq!((&request[at..at + asked.len()], &reply[at..at + answered.len()]), (asked, answered), "{row:?}");
    }
    assert_eq!((request.len(), reply.len()), (36, 38));
}

#[test]
fn fragments_lie_as_the_table_says() {
    use afferent_protocol::fragment::{PIECE_LEN, fragment};
    let batch = [&header().encode()[..], &[9; 3]].concat();
    let bytes = fragment(&batch, 32).unwrap();
    let fields = [&b"AFF1"[..], &batch[4..8], &259_u16.to_le_bytes(), &32_u16.to_le_bytes(), &batch[32..64]];
    let rows = table("### Fragments", "offset");
    assert_eq!(rows.len(), fields.len());
    for (row, field) in rows.iter().zip(fields) {
        let at: usize = row[0].parse().unwrap();
        assert_eq!((row[1].parse(), &bytes[at..at + field.len()]), (Ok(field.len()), field), "{row:?}");
    }
    assert_eq!((bytes.len(), PIECE_LEN), (44, 32));
    assert_eq!(fragment(&batch, 256).unwrap().len(), 12 + 3);
}

#[test]
fn pieces_lie_as_the_table_says() {
    use afferent_protocol::piece::{MAGIC, PIECE_HEAD_LEN, PieceHead};
    let lane = Lane { stream: Stream::Samples, epoch: Epoch::new(0x0102_0304) };
    let head = PieceHead { crc: *b"crc!", lane, len: 70_000, at: 65_536 };
    let bytes = [&head.encode()[..], b"body"].concat();
    let (epoch, len, at) = (0x0102_0304_u64.to_le_bytes(), 70_000_u32.to_le_bytes(), 65_536_u32.to_le_bytes());
    let fields = [&MAGIC[..], b"crc!", &[1], &epoch, &len, &at, b"body"];
    let rows = table("### Pieces", "offset");
    assert_eq!(rows.len(), fields.len());
    for (row, field) in rows.iter().zip(fields) {
        let at: usize = row[0].parse().unwrap();
        assert!(row[1] == "…" || row[1].parse() == Ok(field.len()), "{row:?}");
        assert_eq!(&bytes[at..at + field.len()], field, "{row:?}");
    }
    assert_eq!(bytes.len(), PIECE_HEAD_LEN + 4);
}
