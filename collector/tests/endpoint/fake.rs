//! An admission that remembers, whose commits wait or fail as the test wants, and an endpoint in front of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use afferent_collector::core::{Answer, MessageConnection, Reason, Refusal};
use afferent_collector::endpoint::{Access, Endpoint, EndpointSettings, Registry};
use afferent_collector::intake::{self, Admission, Admitted, Health, Intake, Outbox, WriterThread};
use afferent_collector::supervise::Supervisor;
use afferent_host::stop::{self, StopSender};
use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream};
use afferent_protocol::session::signed::Instance;
use afferent_protocol::session::{Control, Lane};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// What the fake has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub received: Vec<(String, Vec<u8>)>,
    /// Of `received`, how many are in commits that succeeded.
    pub committed: usize,
    pub commits_begun: usize,
    pub commits_failed: usize,
    /// Connections that have ended, by agent.
    pub closed: BTreeMap<String, Vec<u64>>,
}

#[derive(Debug, Default)]
struct Gate {
    shut: bool,
    failures: usize,
}

/// The test's hand on the fake.
#[derive(Clone, Debug)]
pub struct Hand {
    gate: Arc<(Mutex<Gate>, Condvar)>,
    seen: Arc<watch::Sender<Seen>>,
}

impl Hand {
    fn new() -> Self {
        Self { gate: Arc::default(), seen: Arc::new(watch::channel(Seen::default()).0) }
    }

    /// Commits wait from now on.
    pub fn shut(&self) {
        self.gate.0.lock().unwrap().shut = true;
    }

    /// Commits go on.
    pub fn open(&self) {
        self.gate.0.lock().unwrap().shut = false;
        self.gate.1.notify_all();
    }

    /// The next commits fail.
    pub fn fail(&self, times: usize) {
        self.gate.0.lock().unwrap().failures = times;
    }

    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until the fake has seen so much. The time limit only ends a test that hangs.
    pub async fn until(&self, what: &str, mut done: impl FnMut(&Seen) -> bool) -> Seen {
        let mut seen = self.seen.subscribe();
        let waiting = seen.wait_for(|seen| done(seen));
        let seen = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        seen.unwrap_or_else(|_| panic!("never came: {what}")).unwrap().clone()
    }
}

struct Fake {
    hand: Hand,
    pending: Vec<(String, Vec<u8>)>,
    answers: Vec<Answer>,
    end: u64,
}

impl Admission for Fake {
    type CommitError = &'static str;

    /// Who says "run n" has proved itself to be that run.
    fn receive(
        &mut self,
        agent: SourceId,
        payload: &[u8],
        connection: Option<MessageConnection>,
        _clock: &ClockReading,
    ) -> Result<Admitted, Refusal> {
        if payload == b"garbage" {
            return Err(Refusal { reason: Reason::Malformed, message: "garbage".to_owned() });
        }
        self.pending.push((agent.to_string(), payload.to_vec()));
        let (control, connection) = (answer(), connection.map(|connection| connection.number));
        self.answers.push(Answer { agent, connection, message: control.encode().to_vec(), control });
        Ok(match payload {
            [b'r', b'u', b'n', b' ', run] => Admitted::Proved(Instance([*run; 16])),
            _ => Admitted::Taken,
        })
    }

    fn state(&mut self, _agent: SourceId, _payload: &[u8], _clock: &ClockReading) -> Result<Admitted, Refusal> {
        panic!("only a broker's state topics count")
    }

    fn closed(&mut self, agent: SourceId, connection: u64, _clock: &ClockReading) {
        self.hand.seen.send_modify(|seen| seen.closed.entry(agent.to_string()).or_default().push(connection));
    }

    fn commit(&mut self, _clock: &ClockReading) -> Result<Vec<Answer>, &'static str> {
        self.hand.seen.send_modify(|seen| seen.commits_begun += 1);
        let mut gate = self.hand.gate.0.lock().unwrap();
        while gate.shut {
            gate = self.hand.gate.1.wait(gate).unwrap();
        }
        if gate.failures > 0 {
            gate.failures -= 1;
            self.pending.clear();
            self.answers.clear();
            self.hand.seen.send_modify(|seen| seen.commits_failed += 1);
            return Err("the disk is full");
        }
        self.end += self.pending.len() as u64;
        self.hand.seen.send_modify(|seen| {
            seen.received.append(&mut self.pending);
            seen.committed = seen.received.len();
        });
        Ok(std::mem::take(&mut self.answers))
    }

    fn ending(&mut self, _clock: &ClockReading) {}

    fn durable_end(&self) -> Offset {
        Offset::new(self.end)
    }
}

/// What the fake answers to every message.
pub fn answer() -> Control {
    let lane = Lane { stream: Stream::Critical, epoch: Epoch::new(7) };
    Control::Nack { lane, from: Sequence::new(42) }
}

/// An endpoint on a free port, with the fake behind it.
pub struct Plant {
    pub address: SocketAddr,
    pub hand: Hand,
    pub health: Arc<Health>,
    pub intake: Option<Intake>,
    pub registry: Arc<Registry>,
    switch: StopSender,
    serving: JoinHandle<()>,
    writer: WriterThread,
}

/// Settings for a free port of this machine.
pub fn settings(access: Access) -> EndpointSettings {
    EndpointSettings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        access,
        tls: None,
        connections_max: 5000,
        handshake_max: Duration::from_secs(30),
    }
}

impl Plant {
    pub async fn open() -> Self {
        Self::start(settings(Access::Open)).await
    }

    pub async fn start(settings: EndpointSettings) -> Self {
        let hand = Hand::new();
        let (intake, incoming) = Intake::new();
        let registry = Arc::new(Registry::default());
        let health = Arc::new(Health::default());
        let (switch, stopping) = stop::channel();
        let fake = Fake { hand: hand.clone(), pending: Vec::new(), answers: Vec::new(), end: 0 };
        let outbox = Outbox::Endpoint(Arc::clone(&registry));
        let (asked, _) = mpsc::channel(1);
        let supervisor = Supervisor::new(Arc::clone(&health), stopping.clone());
        let (writer, _) = intake::spawn(fake, incoming, outbox, asked, &supervisor).unwrap();
        let endpoint =
            Endpoint::bind(settings, intake.clone(), Arc::clone(&registry), Arc::clone(&health), stopping).await;
        let endpoint = endpoint.unwrap();
        let address = endpoint.address().unwrap();
        let serving = tokio::spawn(endpoint.serve());
        Self { address, hand, health, intake: Some(intake), registry, switch, serving, writer }
    }

    /// Every test ends so: what still runs then would be a leak, and an error of the writer a failure.
    pub async fn stop(mut self) -> Seen {
        self.hand.open();
        self.switch.stop();
        drop(self.intake.take());
        self.serving.await.unwrap();
        self.writer.joined().await.unwrap();
        self.hand.seen()
    }
}
