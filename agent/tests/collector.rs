//! A whole agent and a collector that is played by hand, over MQTT: what the agent believes, and what it keeps.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use afferent_agent::config::Config;
use afferent_agent::http::Health;
use afferent_agent::intake::sink::{EventSink, Waiting};
use afferent_agent::keep::{Kept, PIN_FILE};
use afferent_agent::ring_log::inspect;
use afferent_agent::run::{Reload, Running, health};
use afferent_host::disk::FsDisk;
use afferent_host::url::BrokerUrl;
use afferent_protocol::batch::split;
use afferent_protocol::codec;
use afferent_protocol::event::{Body, Breakdown, Event, LifeCycle, PreviousStop, Severity};
use afferent_protocol::ids::{Offset, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::session::signed::{Down, Nonce, Place, Up, UpContent, is_signed};
use afferent_protocol::session::{Check, Control, Resume, Welcome};
use afferent_protocol::sign::Identity;
use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, LastWill, Packet, PubAck, PubAckReason, Publish, SubAck, SubscribeReasonCode,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

const NAME: &str = "press-1";

/// What the collector has seen.
#[derive(Debug)]
enum Seen {
    Connected { client_id: String, will: Vec<u8> },
    State(Vec<u8>),
    Batches,
}

/// Takes what agents send and acks it, with this key.
struct Collector {
    address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    task: tokio::task::JoinHandle<()>,
}

impl Collector {
    async fn start(key: Identity) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, seen) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                serve(stream, &key, &tell).await;
            }
        });
        Self { address, seen, task }
    }

    /// The next thing that it sees of this kind.
    async fn next<T>(&mut self, wanted: impl Fn(Seen) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = wanted(self.seen.recv().await.unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), found).await.expect("it comes")
    }
}

async fn serve(mut stream: TcpStream, key: &Identity, tell: &mpsc::UnboundedSender<Seen>) {
    let (mut bytes, mut nonce) = (BytesMut::new(), Nonce::NONE);
    loop {
        let packet = match Packet::read(&mut bytes, None) {
            Ok(packet) => packet,
            Err(_) if matches!(stream.read_buf(&mut bytes).await, Ok(1..)) => continue,
            Err(_) => return,
        };
        let mut out = BytesMut::new();
        match packet {
            Packet::Connect(connect, will, _) => {
                let will = will.map(|LastWill { message, .. }| message.to_vec()).unwrap_or_default();
                tell.send(Seen::Connected { client_id: connect.client_id, will }).unwrap();
                let ack = ConnAck { session_present: false, code: ConnectReturnCode::Success, properties: None };
                ack.write(&mut out).unwrap();
            }
            Packet::Subscribe(subscribe) => {
                let return_codes = vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)];
                SubAck { pkid: subscribe.pkid, return_codes, properties: None }.write(&mut out).unwrap();
            }
            Packet::Publish(publish) => {
                let ack = PubAck { pkid: publish.pkid, reason: PubAckReason::Success, properties: None };
                ack.write(&mut out).unwrap();
                if let Some(answer) = answer(&publish, key, &mut nonce, tell) {
                    let topic = String::from_utf8_lossy(&publish.topic).replace("/up", "/down");
                    Publish::new(topic, QoS::AtMostOnce, answer, None).write(&mut out).unwrap();
                }
            }
            Packet::PingReq(_) => out.extend_from_slice(&[0xD0, 0]),
            _ => return,
        }
        if stream.write_all(&out).await.is_err() {
            return;
        }
    }
}

/// What the collector says to a message.
fn answer(publish: &Publish, key: &Identity, nonce: &mut Nonce, tell: &mpsc::UnboundedSender<Seen>) -> Option<Vec<u8>> {
    let source = SourceId::new(NAME).unwrap();
    if publish.topic.ends_with(b"/state") {
        tell.send(Seen::State(publish.payload.to_vec())).unwrap();
        return None;
    }
    let content = if is_signed(&publish.payload) {
        let up = Up::read(&publish.payload).unwrap().verify_own_key(&source).unwrap();
        *nonce = up.nonce;
        let UpContent::Control(Control::Hello(hello)) = up.content else { return None };
        let resumes = hello.lanes.iter().map(|held| Resume { lane: held.lane, end: held.first, check: None });
        Control::Welcome(Welcome { session: hello.session, lanes: resumes.collect() })
    } else {
        let last = split(&publish.payload).map(Result::unwrap).last().unwrap();
        let header = last.header();
        tell.send(Seen::Batches).unwrap();
        let lane = afferent_protocol::session::Lane { stream: header.stream, epoch: header.epoch };
        let resume = Resume { lane, end: header.end(), check: Some(Check::of(&last.chain_hash())) };
        Control::Ack(std::iter::once(resume).collect())
    };
    let place = Place { log_id: [4; 16], partition: 0, term: 5, offset: Offset::new(100) };
    let down = Down {
        nonce: *nonce,
        answer: Nonce([2; 16]),
        key: key.public_key(),
        place,
        time: Timestamp::default(),
        is_proved: true,
        endorsements: Vec::new(),
        attestation: None,
        content,
    };
    Some(down.sign(&source, key))
}

fn config(data: &Path, address: SocketAddr) -> Config {
    let mut config = Config::default();
    config.agent.name = SourceId::new(NAME).unwrap();
    config.agent.data_dir = data.to_owned();
    config.intake.socket.enabled = false;
    config.intake.host.enabled = false;
    config.ring.pool_bytes = afferent_agent::config::Size(4 << 20);
    config.ship.url = BrokerUrl::plain(address);
    config
}

fn push(running: &Running) {
    let body = Body::Breakdown(Breakdown { code: "E42", severity: Severity::Error, message: "" });
    let event = Event { time: Timestamp::clamped(1_000_000), subject: Subject::new("88-C").unwrap(), body };
    running.intake().push(&event, Waiting::Nobody).unwrap();
}

/// Waits until nothing of the agent waits for its ack.
async fn drained(running: &Running) {
    let mut status = running.agent().status().clone();
    let drained =
        status.wait_for(|status| status.streaming && Stream::ALL.iter().all(|stream| status.unacked(*stream) == 0));
    tokio::time::timeout(Duration::from_secs(60), drained).await.expect("it drains").unwrap();
}

/// Waits until the agent is unhealthy for a reason that says this.
async fn unhealthy(running: &Running, part: &str) {
    let mut status = running.agent().status().clone();
    let says = |health: Health| matches!(health, Health::Unhealthy(why) if why.contains(part));
    let found = async {
        while !says(health(&status.borrow_and_update().clone(), &running.agent().link().borrow().clone())) {
            status.changed().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.expect("it says so");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_collector_on_this_machine_is_believed_and_then_no_other() {
    let data = tempfile::tempdir().unwrap();
    let key = Identity::from_seed(&[9; 32]);
    let mut collector = Collector::start(key.clone()).await;
    let running = Running::start(config(data.path(), collector.address)).await.unwrap();
    push(&running);
    let source = SourceId::new(NAME).unwrap();
    let (id, will) = collector
        .next(|seen| match seen {
            Seen::Connected { client_id, will } => Some((client_id, will)),
            _ => None,
        })
        .await;
    let state = collector.next(|seen| if let Seen::State(state) = seen { Some(state) } else { None }).await;
    let said = |bytes: &[u8]| Up::read(bytes).unwrap().verify_own_key(&source).unwrap();
    let (will, state) = (said(&will), said(&state));
    assert_eq!((will.content, state.content), (UpContent::State { online: false }, UpContent::State { online: true }));
    assert_eq!((will.nonce, will.instance), (state.nonce, state.instance));
    assert!(id.starts_with("press-1.") && id.len() == "press-1.".len() + 8, "{id}");
    drained(&running).await;
    running.stop("test").await;
    let kept = Kept::read(data.path());
    assert_eq!(kept.pins.iter().map(|pin| pin.key).collect::<Vec<_>>(), [key.public_key()]);
    assert!(kept.receipt.is_some());
    collector.task.abort();

    let stranger = Identity::from_seed(&[8; 32]);
    let mut other = Collector::start(stranger.clone()).await;
    let running = Running::start(config(data.path(), other.address)).await.unwrap();
    push(&running);
    unhealthy(&running, &stranger.public_key().to_string()).await;
    assert_eq!(Kept::read(data.path()), kept);
    running.stop("test").await;
    other.seen.close();
    while let Some(seen) = other.seen.recv().await {
        assert!(!matches!(seen, Seen::Batches), "nothing is shipped to a stranger: {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_of_the_configuration_is_believed_and_can_be_changed_while_the_agent_runs() {
    let data = tempfile::tempdir().unwrap();
    let key = Identity::from_seed(&[9; 32]);
    let mut collector = Collector::start(key.clone()).await;
    let naming = |seed: u8| {
        let mut config = config(data.path(), collector.address);
        config.ship.collector_keys = vec![Identity::from_seed(&[seed; 32]).public_key()];
        config
    };
    let (wrong, right) = (naming(8), naming(9));
    let mut running = Running::start(wrong).await.unwrap();
    push(&running);
    unhealthy(&running, &format!("collector_keys = [\"{}\"]", key.public_key())).await;
    Reload::default().read(&mut running, || Ok(right.clone())).await;
    collector.next(|seen| if matches!(seen, Seen::Batches) { Some(()) } else { None }).await;
    drained(&running).await;
    running.stop("test").await;
    assert!(!data.path().join(PIN_FILE).exists(), "nothing was learned");
    collector.task.abort();
}

/// The critical life-cycle events in the ring, as words.
fn told(data: &Path) -> Vec<String> {
    let mut told = Vec::new();
    let disk = FsDisk::read_only(data.join("ring"));
    inspect::dump(&disk, &mut |header, head, batch| {
        if header.stream != Stream::Critical {
            return;
        }
        let _ = head;
        for event in codec::records(batch, &mut []).unwrap().map(|record| record.unwrap().event) {
            match event.body {
                Body::LifeCycle(LifeCycle::Started { previous, .. }) => told.push(format!("started {previous:?}")),
                Body::LifeCycle(LifeCycle::Heartbeat { .. }) => told.push("heartbeat".to_owned()),
                Body::LifeCycle(LifeCycle::Stopped { .. }) => told.push("stopped".to_owned()),
                _ => {}
            }
        }
    })
    .unwrap();
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_says_how_far_it_is_soon_after_its_start_and_before_it_stops() {
    let data = tempfile::tempdir().unwrap();
    // Nobody listens there.
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let running = Running::start(config(data.path(), nowhere)).await.unwrap();
    let mut status = running.agent().status().clone();
    status.wait_for(|status| status.commits[0] >= 2).await.unwrap();
    running.stop("test").await;
    let first = ["started None", "heartbeat", "heartbeat", "stopped"];
    assert_eq!(told(data.path()), first);
    let running = Running::start(config(data.path(), nowhere)).await.unwrap();
    running.stop("test").await;
    let clean = format!("started {:?}", PreviousStop::Clean);
    assert_eq!(told(data.path())[first.len()], clean, "the goodbye was the last word");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_key_does_not_stop_capture_and_what_the_ring_holds_is_sealed_again() {
    for lost in [None, Some(&b""[..]), Some(&[7; 31])] {
        let data = tempfile::tempdir().unwrap();
        let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let running = Running::start(config(data.path(), nowhere)).await.unwrap();
        push(&running);
        running.stop("test").await;
        let path = data.path().join("identity.key");
        match lost {
            None => std::fs::remove_file(&path).unwrap(),
            Some(content) => std::fs::write(&path, content).unwrap(),
        }
        let mut collector = Collector::start(Identity::from_seed(&[9; 32])).await;
        let running = Running::start(config(data.path(), collector.address)).await.unwrap();
        push(&running);
        collector.next(|seen| if let Seen::Batches = seen { Some(()) } else { None }).await;
        drained(&running).await;
        let resealed = running.agent().status().borrow().ring.counters.resealed_events;
        assert!(resealed >= 3, "{resealed} events were sealed again");
        running.stop("test").await;
        // The control: with the key nothing is sealed again.
        let running = Running::start(config(data.path(), collector.address)).await.unwrap();
        drained(&running).await;
        assert_eq!(running.agent().status().borrow().ring.counters.resealed_events, 0);
        running.stop("test").await;
        collector.task.abort();
    }
}
