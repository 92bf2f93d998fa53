//! Messages of the session, statements of keys, and a serial line.

use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::ClockReading;
use afferent_protocol::clock_exchange::{ClockReply, ClockRequest};
use afferent_protocol::endorsement::{Endorsement, Role};
use afferent_protocol::fragment::fragment;
use afferent_protocol::frame;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SequenceRange, SourceId, Stream};
use afferent_protocol::session::signed::{Down, Instance, Nonce, Place, Up, UpContent};
use afferent_protocol::session::{Check, Control, Held, Hello, Lane, Resume, Welcome};
use afferent_protocol::sign::{PublicKey, Running};

use super::{COLLEAGUE_KEY, KEY, LOG_ID, LOG_KEY, TERM, devices, time};

const CRITICAL: Lane = Lane { stream: Stream::Critical, epoch: Epoch::new(0x0102_0304_0506_0708) };
const SAMPLES: Lane = Lane { stream: Stream::Samples, epoch: Epoch::new(u64::MAX) };
const CHECK: Option<Check> = Some(Check(0x1122_3344_5566_7788));
/// Longest frame of the line, before its zero byte.
pub const LINE_FRAME_MAX: usize = 600;

fn resume(lane: Lane, end: u64, check: Option<Check>) -> Resume {
    Resume { lane, end: Sequence::new(end), check }
}

fn hello() -> Control {
    let held = |lane, first, end| Held { lane, first: Sequence::new(first), end: Sequence::new(end) };
    let lanes = [held(CRITICAL, 5, 300), held(SAMPLES, 0, u64::MAX)].into_iter().collect();
    Control::Hello(Hello { session: 70_000, lanes })
}

fn welcome() -> Control {
    let lanes = [resume(CRITICAL, 7, CHECK), resume(SAMPLES, 0, None)].into_iter().collect();
    Control::Welcome(Welcome { session: 70_000, lanes })
}

fn ack() -> Control {
    Control::Ack([resume(CRITICAL, 300, CHECK), resume(SAMPLES, 129, CHECK)].into_iter().collect())
}

fn nack() -> Control {
    Control::Nack { lane: SAMPLES, from: Sequence::new(129) }
}

fn ask() -> Control {
    Control::Ask([300, 150, 75].map(|end| resume(CRITICAL, end, CHECK)).into_iter().collect())
}

fn common() -> Control {
    Control::Common(resume(CRITICAL, 150, CHECK))
}

fn again() -> Control {
    let range = SequenceRange { first: Sequence::new(128), end: Sequence::new(256) };
    Control::Again { lane: CRITICAL, range }
}

pub fn controls() -> Vec<(&'static str, Control)> {
    vec![
        ("control-hello-v2", hello()),
        ("control-welcome-v2", welcome()),
        ("control-ack-v2", ack()),
        ("control-nack-v2", nack()),
        ("control-ask-v2", ask()),
        ("control-common-v2", common()),
        ("control-again-v2", again()),
    ]
}

fn up(answer: Nonce, content: UpContent) -> Up {
    let clock = ClockReading {
        wall: time(1_631_577_302_000_000),
        monotonic_us: 125_456_789,
        synchronised: true,
        boot: *b"0123456789abcdef",
    };
    Up {
        log_id: if answer == Nonce::NONE { [0; 16] } else { LOG_ID },
        nonce: NONCE,
        answer,
        key: KEY.public_key(),
        instance: Instance([0x1A; 16]),
        clock,
        former: vec![SourceId::literal("press-88"), SourceId::literal("press")],
        content,
    }
}

const NONCE: Nonce = Nonce([0x4E; 16]);
const ANSWER: Nonce = Nonce([0xA5; 16]);

pub fn ups() -> Vec<(&'static str, Up)> {
    vec![
        ("signed-hello-v1", up(Nonce::NONE, UpContent::Control(hello()))),
        ("signed-hello-proved-v1", up(ANSWER, UpContent::Control(hello()))),
        ("signed-ask-v1", up(ANSWER, UpContent::Control(ask()))),
        ("signed-state-online-v1", up(Nonce::NONE, UpContent::State { online: true })),
        ("signed-state-offline-v1", up(Nonce::NONE, UpContent::State { online: false })),
    ]
}

pub fn downs() -> Vec<(&'static str, Down)> {
    let plain = Down {
        nonce: NONCE,
        answer: ANSWER,
        key: LOG_KEY.public_key(),
        place: Place { log_id: LOG_ID, partition: 0, term: TERM, offset: Offset::new(16_384) },
        time: time(1_631_577_302_500_000),
        is_proved: false,
        endorsements: vec![],
        attestation: None,
        content: welcome(),
    };
    let endorsed = Down {
        key: COLLEAGUE_KEY.public_key(),
        is_proved: true,
        endorsements: vec![endorsement(Role::Colleague, COLLEAGUE_KEY.public_key()).sign(&LOG_KEY)],
        attestation: Some(attestation().sign(&LOG_KEY)),
        content: ack(),
        ..plain.clone()
    };
    let proved = |content| Down { is_proved: true, content, ..plain.clone() };
    vec![
        ("signed-nack-v1", proved(nack())),
        ("signed-common-v1", proved(common())),
        ("signed-again-v1", proved(again())),
        ("signed-welcome-v1", plain),
        ("signed-ack-v1", endorsed),
    ]
}

/// What the log's key says of another.
pub fn endorsement(role: Role, key: PublicKey) -> Endorsement {
    Endorsement { role, log_id: LOG_ID, key, by: LOG_KEY.public_key() }
}

pub fn attestation() -> Attestation {
    Attestation {
        key: LOG_KEY.public_key(),
        log_id: LOG_ID,
        partition: 0,
        term: TERM,
        number: 7,
        end: Offset::new(16_384),
        time: time(1_631_577_301_000_000),
        previous: [0xD6; 32],
        hash: Running::from_hash([0x5A; 32]),
    }
}

/// Attestations and endorsements.
pub fn statements() -> Vec<(&'static str, Vec<u8>)> {
    let endorsed = |role, identity: &afferent_protocol::sign::Identity| {
        endorsement(role, identity.public_key()).sign(&LOG_KEY).to_vec()
    };
    vec![
        ("attestation-v1", attestation().sign(&LOG_KEY).to_vec()),
        ("endorsement-successor-v1", endorsed(Role::Successor, &KEY)),
        ("endorsement-colleague-v1", endorsed(Role::Colleague, &COLLEAGUE_KEY)),
    ]
}

/// What is said about clocks, and pieces of a batch.
pub fn payloads() -> Vec<(&'static str, Vec<u8>)> {
    let boot = *b"fedcba9876543210";
    let source = SourceId::literal("spindle-1");
    let (synchronised, wall) = (true, time(1_631_577_302_000_000));
    let (_, batch) = devices().remove(0);
    let last = batch.len() / 32 * 32;
    vec![
        ("clock-request-v1", ClockRequest { boot, tick_us: 7_000_000, source }.encode().to_vec()),
        ("clock-reply-v1", ClockReply { boot, tick_us: 7_000_000, synchronised, wall }.encode().to_vec()),
        ("fragment-v1", fragment(&batch, 32).unwrap().to_vec()),
        ("fragment-last-v1", fragment(&batch, last).unwrap().to_vec()),
    ]
}

/// A serial line: noise, frames, a frame with a flipped bit, one that is too long, and half a frame at the end.
pub fn line() -> Vec<u8> {
    let frame = |payload: &[u8]| {
        let mut out = vec![0; frame::frame_len_max(payload.len())];
        let len = frame::encode(payload, &mut out).unwrap();
        out.truncate(len);
        out
    };
    let acks = controls().into_iter().map(|(_, control)| frame(&control.encode()));
    let others = payloads().into_iter().map(|(_, payload)| frame(&payload));
    let mut flipped = frame(b"flipped");
    flipped[3] ^= 4;
    let long: Vec<u8> = (0..=255).chain(0..=255).chain(1..=60).collect();
    let parts = [b"noise\x05 before the first frame\0\0".to_vec(), frame(b"")]
        .into_iter()
        .chain(acks)
        .chain(others)
        .chain([flipped, frame(&[0; 300]), frame(&[0xFF; 300]), frame(&long), vec![1; 700], vec![0], frame(b"last")])
        .chain([frame(b"half of this")[..6].to_vec()]);
    parts.flatten().collect()
}
