//! An agent, as far as the wire knows one.

use std::time::Duration;

use afferent_protocol::batch::{BatchBuilder, CHAIN_START, ClockReading, Lineage};
use afferent_protocol::event::{Body, Event, Recovery};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::session::signed::{Down, Instance, Nonce, Up, UpContent};
use afferent_protocol::session::{Control, Held, Hello, Lane};
use afferent_protocol::sign::Identity;
use afferent_protocol::topic::{Leaf, Topic};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{LastWill, Packet};
use rumqttc::v5::{AsyncClient, ConnectionError, Event as MqttEvent, EventLoop, MqttOptions};

pub const LANE: Lane = Lane { stream: Stream::Critical, epoch: Epoch::new(9) };

pub fn name() -> SourceId {
    SourceId::new("press-88").unwrap()
}

/// The time limits here only end a test that hangs.
pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("it never came")
}

pub struct Agent {
    pub identity: Identity,
    nonce: Nonce,
    /// What its newest welcome brought, and whether that was to a proved hello.
    answer: (Nonce, bool),
    client: AsyncClient,
    events: EventLoop,
}

fn topic(leaf: Leaf) -> String {
    Topic { agent: name(), leaf }.text().to_string()
}

fn rand() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn up(identity: &Identity, nonce: Nonce, answer: Nonce, content: UpContent) -> Vec<u8> {
    let (log_id, key, instance) = ([0; 16], identity.public_key(), Instance([1; 16]));
    let (clock, former) = (ClockReading::default(), Vec::new());
    Up { log_id, nonce, answer, key, instance, clock, former, content }.sign(&name(), identity)
}

impl Agent {
    /// Connects, again and again until somebody is there.
    pub async fn connect(port: u16) -> Self {
        let mut options = MqttOptions::new("press-88", "127.0.0.1", port);
        options.set_keep_alive(Duration::from_secs(30));
        let identity = Identity::from_seed(&[7; 32]);
        let nonce = Nonce(rand());
        let will = up(&identity, nonce, Nonce::NONE, UpContent::State { online: false });
        options.set_last_will(LastWill::new(topic(Leaf::State), will, QoS::AtLeastOnce, true, None));
        within(async {
            loop {
                let (client, mut events) = AsyncClient::new(options.clone(), 10);
                if events.poll().await.is_ok() {
                    let answer = (Nonce::NONE, false);
                    let agent = Self { identity: identity.clone(), nonce, answer, client, events };
                    agent.client.subscribe(topic(Leaf::Down), QoS::AtLeastOnce).await.unwrap();
                    return agent;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    pub async fn hello(&self, session: u32) {
        let lanes = [Held { lane: LANE, first: Sequence::ZERO, end: Sequence::new(1) }].into_iter().collect();
        let hello = UpContent::Control(Control::Hello(Hello { session, lanes }));
        self.publish(up(&self.identity, self.nonce, self.answer.0, hello)).await;
    }

    pub async fn publish(&self, payload: Vec<u8>) {
        self.client.publish(topic(Leaf::Up), QoS::AtLeastOnce, false, payload).await.unwrap();
    }

    pub async fn control(&mut self) -> Result<Control, ConnectionError> {
        loop {
            if let MqttEvent::Incoming(Packet::Publish(publish)) = within(self.events.poll()).await? {
                let down = Down::read(&publish.payload).unwrap().verify_own_key(&name()).unwrap();
                if down.nonce == self.nonce {
                    self.answer = (down.answer, down.is_proved);
                    return Ok(down.content);
                }
            }
        }
    }

    /// Says hello until it is welcomed and has proved itself; gives where the lane is to go on.
    pub async fn welcomed(&mut self, session: u32) -> Sequence {
        loop {
            self.hello(session).await;
            let answer = tokio::time::timeout(Duration::from_secs(1), self.control()).await;
            if let Ok(Ok(Control::Welcome(welcome))) = answer {
                assert_eq!(welcome.session, session);
                if self.answer.1 {
                    return welcome.lanes[0].end;
                }
            }
        }
    }

    /// The one batch that this agent has.
    pub fn batch(&self) -> Vec<u8> {
        let time = Timestamp::new(1_378_943_671_000_000).unwrap();
        let mut builder = BatchBuilder::new();
        let body = Body::Recovery(Recovery { code: "E42", message: "" });
        builder.push(&Event { time, subject: Subject::new("88-C").unwrap(), body }).unwrap();
        let lineage = Lineage {
            source: name(),
            stream: LANE.stream,
            epoch: LANE.epoch,
            first: Sequence::ZERO,
            previous: CHAIN_START,
        };
        let mut bytes = Vec::new();
        let clock = ClockReading { wall: time, ..ClockReading::default() };
        builder.seal(&lineage, &clock, &self.identity, &mut bytes);
        bytes
    }
}
