//! Whoever can make valid batches, and therefore invalid ones that differ from them in one point alone.

use super::{Mqtt, Reason, down, up};
use crate::said;
use afferent_protocol::batch::{BatchBuilder, CHAIN_START, ClockReading, HEADER_LEN, Header, Lineage, SIGNED_FROM};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::event::{Body, Breakdown, Event, Severity};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::session::signed::{Down, Nonce, UpContent};
use afferent_protocol::session::{Control, Held, Hello, Lane};
use afferent_protocol::sign::{Identity, sha256};

/// One lane of one source with its key.
#[derive(Clone, Debug)]
pub struct Sealer {
    /// The key.
    pub identity: Identity,
    /// Where the next batch stands.
    pub lineage: Lineage,
    /// Names that its hello says it had before.
    pub former: Vec<SourceId>,
}

impl Sealer {
    /// A source of this name with the key of this seed, at the beginning of its `critical` stream.
    ///
    /// # Panics
    /// When it is no name.
    pub fn new(name: &str, seed: u8) -> Self {
        let lineage = Lineage {
            source: SourceId::new(name).expect("it is a name"),
            stream: Stream::Critical,
            epoch: Epoch::new(88),
            first: Sequence::ZERO,
            previous: CHAIN_START,
        };
        Self { identity: Identity::from_seed(&[seed; 32]), lineage, former: Vec::new() }
    }

    /// Its hello, as a claim that answers nothing.
    pub fn hello(&self) -> Vec<u8> {
        self.hello_over(Nonce([1; 16]), Nonce::NONE)
    }

    /// Proves over this connection that it has its key, as agents do: says hello, and again with what it is answered.
    ///
    /// # Panics
    /// When the collector does not believe it.
    pub fn prove(&self, mqtt: &mut Mqtt) {
        assert_eq!(self.try_to_prove(mqtt), Reason::SUCCESS, "its hello is refused");
    }

    /// The same, where its hello may be refused: why it is.
    ///
    /// # Panics
    /// When the collector does not believe it.
    pub fn try_to_prove(&self, mqtt: &mut Mqtt) -> Reason {
        let name = self.lineage.source.as_str();
        let nonce = Nonce([1; 16]);
        mqtt.subscribe(&down(name)).expect("it may listen to its own topic");
        let mut answer = Nonce::NONE;
        for _ in 0..2 {
            let taken = mqtt.publish(up(name), &self.hello_over(nonce, answer)).expect("it is answered");
            if taken != Reason::SUCCESS {
                return taken;
            }
            let welcome = Down::read(&mqtt.next_message().expect("it is welcomed")).expect("it is a signed message");
            assert!(matches!(welcome.claim().content, Control::Welcome(_)), "no welcome: {:?}", welcome.claim());
            if welcome.claim().is_proved {
                return Reason::SUCCESS;
            }
            answer = welcome.claim().answer;
        }
        panic!("{name} has answered, and is not believed");
    }

    fn hello_over(&self, nonce: Nonce, answer: Nonce) -> Vec<u8> {
        let Lineage { stream, epoch, first, .. } = self.lineage;
        let held = Held { lane: Lane { stream, epoch }, first, end: first };
        let lanes = [held].into_iter().collect();
        let hello = UpContent::Control(Control::Hello(Hello { session: 1, lanes }));
        said::up_formerly(&self.lineage.source, &self.former, &self.identity, nonce, answer, hello)
    }

    /// The next batch, with one breakdown of this code; the one after it follows it.
    pub fn seal(&mut self, code: &str) -> Vec<u8> {
        let wall = Timestamp::new(1_767_225_600_000_000).expect("it is a time");
        let body = Body::Breakdown(Breakdown { code, severity: Severity::Error, message: "" });
        let subject = Subject::new("88-C").expect("it is a path");
        let mut builder = BatchBuilder::new();
        builder.push(&Event { time: wall, subject, body }).expect("one event fits");
        let clock = ClockReading { wall, monotonic_us: 1, synchronised: true, boot: [7; 16] };
        let mut bytes = Vec::new();
        let (header, chain) = builder.seal(&self.lineage, &clock, &self.identity, &mut bytes);
        self.lineage.first = header.end();
        self.lineage.previous = chain;
        bytes
    }

    /// A batch as [`Sealer::seal`] makes it, with another header, and signed all the same.
    pub fn seal_with(&mut self, code: &str, change: impl FnOnce(&mut Header)) -> Vec<u8> {
        let mut bytes = self.seal(code);
        let mut header = Header::decode(&bytes).expect("it was just sealed");
        change(&mut header);
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        header.signature = self.identity.sign(&sha256(&bytes[SIGNED_FROM..]));
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        with_right_checksum(bytes)
    }
}

/// Makes the checksum of a batch right again, after something in it was changed.
pub fn with_right_checksum(mut batch: Vec<u8>) -> Vec<u8> {
    let crc = crc32c(&batch[8..]);
    batch[4..8].copy_from_slice(&crc.to_le_bytes());
    batch
}
