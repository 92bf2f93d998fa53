//! The core between a disk that fails and a collector that is played by hand.

mod disks;
mod forgeries;
mod former;
mod kept;

use afferent_host::disk::simulated::SimDisk;
use afferent_protocol::attestation::ATTESTATION_LEN;
use afferent_protocol::batch::split;
use afferent_protocol::ids::{Offset, Sequence, SequenceRange, Timestamp};
use afferent_protocol::session::signed::{Down, Place, Up, UpContent, is_down, is_signed};
use afferent_protocol::session::{Check, Control, Hello, Lane, Resume, Welcome};
use afferent_protocol::sign::Identity;

use super::*;
use crate::keep::Keepsake;
use crate::ring_log::Known;
use crate::ring_log::tests::{batch, clock, last_entry, settings, who};

const NONCE: Nonce = Nonce([1; 16]);

fn now(ms: u64) -> Now {
    Now { ms, clock: clock() }
}

fn start(disk: &SimDisk) -> AgentCore<SimDisk> {
    start_as(disk, "press-1")
}

fn start_as(disk: &SimDisk, name: &str) -> AgentCore<SimDisk> {
    let mut drawn = disk.content_operations().wrapping_mul(77);
    let mut entropy = || {
        drawn = drawn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        drawn
    };
    let settings = CoreSettings { ring: settings(8), ..CoreSettings::default() };
    let mut core = AgentCore::open(disk.clone(), disk.beside(), settings, who(name), &clock(), &mut entropy).unwrap().0;
    core.trust(TrustSettings { keys: vec![Collector::default().key.public_key()], trust_first: false });
    core
}

fn commit(core: &mut AgentCore<SimDisk>, stream: Stream, mark: i64) {
    let commit = core.durable_commits()[usize::from(stream.number())] + 1;
    assert!(core.commit(stream, commit, &mut batch(stream, mark, 1, 500), &now(0)).moved);
}

/// What `count` batches of the stream are acked with.
fn resume_of(core: &mut AgentCore<SimDisk>, stream: Stream, count: u64) -> Resume {
    let held = core.ring.held().into_iter().find(|held| held.lane.stream == stream).unwrap();
    let end = Sequence::new(count);
    let Known::Check(check) = core.ring.check_at(held.lane, end).unwrap() else { panic!("it was just written") };
    Resume { lane: held.lane, end, check: Some(check) }
}

/// Signs what a collector says.
#[derive(Clone)]
struct Collector {
    key: Identity,
    place: Place,
    answer: Nonce,
    is_proved: bool,
    nonce: Nonce,
    source: &'static str,
    attestation: Option<[u8; ATTESTATION_LEN]>,
}

impl Default for Collector {
    fn default() -> Self {
        Self {
            key: Identity::from_seed(&[9; 32]),
            place: Place { log_id: [4; 16], partition: 0, term: 5, offset: Offset::new(100) },
            answer: Nonce([2; 16]),
            is_proved: true,
            nonce: NONCE,
            source: "press-1",
            attestation: None,
        }
    }
}

impl Collector {
    fn down(&self, content: Control) -> Down {
        Down {
            nonce: self.nonce,
            answer: self.answer,
            key: self.key.public_key(),
            place: self.place,
            time: Timestamp::default(),
            is_proved: self.is_proved,
            endorsements: Vec::new(),
            attestation: self.attestation,
            content,
        }
    }

    fn says(&self, content: Control) -> Vec<u8> {
        self.down(content).sign(&who(self.source).source, &self.key)
    }

    fn acks(&self, resume: Resume) -> Vec<u8> {
        self.says(Control::Ack([resume].into_iter().collect()))
    }

    fn welcomes(&self, hello: &Hello, lanes: &[Resume]) -> Vec<u8> {
        let lanes = lanes.iter().copied().collect();
        self.says(Control::Welcome(Welcome { session: hello.session, lanes }))
    }
}

/// What a message of the agent says.
fn said(message: &[u8]) -> Up {
    Up::read(message).unwrap().verify_own_key(&who("press-1").source).unwrap()
}

fn hello_of(message: &[u8]) -> Option<Hello> {
    match (is_signed(message) && !is_down(message)).then(|| said(message).content) {
        Some(UpContent::Control(Control::Hello(hello))) => Some(hello),
        _ => None,
    }
}

/// Connects; returns the hello.
fn greet(core: &mut AgentCore<SimDisk>) -> Hello {
    core.link_up(NONCE);
    let mut message = Vec::new();
    assert_eq!(core.poll(&now(0), &mut message), Outgoing::Message(core.ring().who().source));
    hello_of(&message).expect("a session begins with a hello")
}

/// Connects; the collector says that this is what it holds.
fn connect(core: &mut AgentCore<SimDisk>, lanes: &[Resume]) -> Collector {
    let hello = greet(core);
    let collector = Collector::default();
    core.receive(&collector.welcomes(&hello, lanes), &now(0));
    collector
}

/// All messages until the core waits, and until when it does.
fn messages(core: &mut AgentCore<SimDisk>, ms: u64) -> (Vec<Vec<u8>>, Option<u64>) {
    let (mut messages, mut message) = (Vec::new(), Vec::new());
    loop {
        match core.poll(&now(ms), &mut message) {
            Outgoing::Wait { until_ms } => return (messages, until_ms),
            Outgoing::Message(_) => messages.push(message.clone()),
            Outgoing::Reconnect => panic!("the connection is good"),
        }
    }
}

/// The streams of the batches that are sent until the core waits, and until when it does.
fn sent(core: &mut AgentCore<SimDisk>, ms: u64) -> (Vec<Stream>, Option<u64>) {
    let (messages, until_ms) = messages(core, ms);
    let batches = messages.iter().flat_map(|message| split(message).map_while(Result::ok));
    (batches.map(|batch| batch.header().stream).collect(), until_ms)
}

/// Answers every question with the largest of these ends, until none is asked; mends what is to be mended.
fn settle(core: &mut AgentCore<SimDisk>, collector: &Collector, common: &[Resume]) {
    for ms in 1..200 {
        for message in messages(core, ms).0 {
            if !is_signed(&message) {
                continue;
            }
            let UpContent::Control(Control::Ask(asked)) = said(&message).content else { continue };
            let found = asked.iter().find(|resume| common.contains(resume));
            let none = Resume { end: Sequence::ZERO, ..asked[0] };
            core.receive(&collector.says(Control::Common(*found.unwrap_or(&none))), &now(ms));
        }
        core.retry(&now(ms));
    }
}

fn held_first(core: &AgentCore<SimDisk>, stream: Stream) -> Sequence {
    core.ring.held().into_iter().find(|held| held.lane.stream == stream).unwrap().first
}
