//! For tests: a disk in memory that fails and loses power on command, and an agent that seals batches.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use afferent_host::disk::{Disk, DiskFile};
use afferent_protocol::batch::{
    Batch, BatchBuilder, CHAIN_START, ChainHash, ClockReading, HEADER_LEN, Header, Lineage, SIGNED_FROM,
};
use afferent_protocol::checksum::crc32c;
use afferent_protocol::event::{Body, Event, Loss, Quality, Sample, Value};
use afferent_protocol::ids::{Epoch, Sequence, SourceId, Stream, Subject, Timestamp};
use afferent_protocol::session::signed::{Down, Instance, Nonce, Up, UpContent};
use afferent_protocol::session::{Control, Held, Hello, Lane};
use afferent_protocol::sign::{Identity, sha256};

use crate::core::{Answer, Core, Refusal};
use crate::log::UnifiedLog;

const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Content {
    /// What a read gives.
    current: Vec<u8>,
    /// What a power cut leaves.
    durable: Vec<u8>,
    /// Sectors that the next sync writes.
    dirty: BTreeSet<usize>,
}

/// A change of names that is not durable yet.
#[derive(Clone, Debug)]
enum NameChange {
    Made(String, usize),
    Removed(String),
    Renamed(String, String, usize),
}

#[derive(Clone, Debug, Default)]
struct State {
    /// Every file that ever was: handles stay with theirs, whatever becomes of its name.
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    /// What a power cut leaves, but for the changes since, each of which it leaves or not.
    durable_names: BTreeMap<String, usize>,
    changes: Vec<NameChange>,
    random: u64,
    /// Operations (creates, removals, renamings, writes, syncs) until one fails; then all do until it is set anew.
    fails_in: Option<u64>,
    sync_lies: bool,
}

impl State {
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.random >> 33
    }

    fn may(&mut self) -> io::Result<()> {
        match &mut self.fails_in {
            Some(0) => Err(io::Error::from_raw_os_error(5)),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// A disk in memory; clones are the same disk.
#[derive(Clone, Debug)]
pub(crate) struct MemoryDisk(Arc<Mutex<State>>);

#[derive(Debug)]
pub(crate) struct MemoryFile(MemoryDisk, usize);

impl MemoryDisk {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { random: seed, ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// From the operation after so many on, all of them fail; `None` ends that.
    pub fn fails_in(&self, operations: Option<u64>) {
        self.state().fails_in = operations;
    }

    /// For controls: syncs say that they worked and do nothing.
    pub fn sync_lies(&self) {
        self.state().sync_lies = true;
    }

    /// The disk after a power cut: of every sector that was not synced, either the old or the new content, and every
    /// change of names that was not synced or not.
    pub fn cut(&self) -> Self {
        let mut state = self.state().clone();
        for change in std::mem::take(&mut state.changes) {
            if state.random().is_multiple_of(2) {
                continue;
            }
            match change {
                NameChange::Made(name, file) => {
                    state.durable_names.insert(name, file);
                }
                NameChange::Removed(name) => {
                    state.durable_names.remove(&name);
                }
                NameChange::Renamed(from, to, file) => {
                    state.durable_names.remove(&from);
                    state.durable_names.insert(to, file);
                }
            }
        }
        state.names = state.durable_names.clone();
        for at in 0..state.files.len() {
            for sector in std::mem::take(&mut state.files[at].dirty) {
                if state.random().is_multiple_of(2) {
                    state.files[at].persist(sector);
                }
            }
            state.files[at].current = state.files[at].durable.clone();
        }
        state.fails_in = None;
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].current.clone()
    }

    /// Rot: another byte stands there, now and after a power cut.
    pub fn rot(&self, name: &str, at: usize, with: impl Fn(u8) -> u8) {
        let mut state = self.state();
        let file = state.names[name];
        let content = &mut state.files[file];
        content.current[at] = with(content.current[at]);
        content.durable[at] = content.current[at];
    }
}

impl Content {
    fn persist(&mut self, sector: usize) {
        let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.current.len()));
        self.durable[from..to].copy_from_slice(&self.current[from..to]);
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let state = self.state();
        let len = |file: usize| state.files[file].current.len() as u64;
        Ok(state.names.iter().map(|(name, file)| (name.clone(), len(*file))).collect())
    }

    fn open(&self, name: &str) -> io::Result<MemoryFile> {
        let file = self.state().names.get(name).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(MemoryFile(self.clone(), file))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<MemoryFile> {
        let mut state = self.state();
        state.may()?;
        let (zeros, file) = (vec![0; len as usize], state.files.len());
        state.files.push(Content { current: zeros.clone(), durable: zeros, ..Content::default() });
        assert!(state.names.insert(name.to_owned(), file).is_none(), "{name} is there already");
        state.changes.push(NameChange::Made(name.to_owned(), file));
        drop(state);
        Ok(MemoryFile(self.clone(), file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.may()?;
        state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        state.changes.push(NameChange::Removed(name.to_owned()));
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        state.may()?;
        let file = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        state.changes.push(NameChange::Renamed(from.to_owned(), to.to_owned(), file));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut state = self.state();
        state.may()?;
        state.changes.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let state = self.0.state();
        let from = position as usize;
        let bytes = state.files[self.1].current.get(from..from + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        let mut state = self.0.state();
        let allowed = state.may();
        // A write that fails may have come some way.
        let written = if allowed.is_ok() { bytes.len() } else { state.random() as usize % (bytes.len() + 1) };
        let content = &mut state.files[self.1];
        let from = position as usize;
        assert!(from + bytes.len() <= content.current.len(), "the log writes only into space that it has taken");
        content.current[from..from + written].copy_from_slice(&bytes[..written]);
        content.dirty.extend(from / SECTOR..(from + written).div_ceil(SECTOR));
        allowed
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.state();
        let allowed = state.may();
        if state.sync_lies {
            return allowed;
        }
        let random = state.random();
        let content = &mut state.files[self.1];
        // A sync that fails writes some, and forgets that the others are still to be written.
        for sector in std::mem::take(&mut content.dirty) {
            if allowed.is_ok() || (random >> (sector % 16)) & 1 == 0 {
                content.persist(sector);
            }
        }
        allowed
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state().files[self.1].current.len() as u64)
    }
}

pub(crate) fn clock(seconds: u64) -> ClockReading {
    let wall = Timestamp::clamped(1_700_000_000_000_000 + seconds as i64 * 1_000_000);
    ClockReading { wall, monotonic_us: seconds * 1_000_000, synchronised: true, boot: [7; 16] }
}

pub(crate) fn source(name: &str) -> SourceId {
    SourceId::new(name).unwrap()
}

pub(crate) fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

pub(crate) fn parse(bytes: &[u8]) -> Batch<'_> {
    Batch::parse(bytes).unwrap().0
}

/// One lane of an agent: seals batch after batch.
#[derive(Debug)]
pub(crate) struct Agent {
    pub name: SourceId,
    pub identity: Identity,
    pub lane: Lane,
    pub next: u64,
    pub chain: ChainHash,
    /// Which run of it this is: another one has another instance and another connection.
    pub run: u8,
    /// The number of its next hello.
    pub session: u32,
    builder: BatchBuilder,
}

impl Agent {
    pub fn new(name: &str, stream: Stream, epoch: u64) -> Self {
        let identity = identity(name.bytes().fold(1, |sum, byte| sum ^ byte));
        let lane = Lane { stream, epoch: Epoch::new(epoch) };
        let (chain, builder) = (CHAIN_START, BatchBuilder::new());
        Self { name: source(name), identity, lane, next: 0, chain, run: 1, session: 1, builder }
    }

    fn seal(&mut self) -> Vec<u8> {
        let Lane { stream, epoch } = self.lane;
        let first = Sequence::new(self.next);
        let lineage = Lineage { source: self.name, stream, epoch, first, previous: self.chain };
        let mut bytes = Vec::new();
        let (header, chain) = self.builder.seal(&lineage, &clock(self.next), &self.identity, &mut bytes);
        (self.next, self.chain) = (header.end().get(), chain);
        bytes
    }

    /// A batch of so many samples.
    pub fn samples(&mut self, count: u64) -> Vec<u8> {
        for index in 0..count {
            let subject = Subject::new("88-C/spindle/temperature").unwrap();
            let value = Value::Integer((self.next + index) as i64);
            let body = Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good });
            self.builder.push(&Event { time: clock(self.next + index).wall, subject, body }).unwrap();
        }
        self.seal()
    }

    /// A batch with one event.
    pub fn event(&mut self, body: Body<'_>) -> Vec<u8> {
        let subject = Subject::new("88-C").unwrap();
        self.builder.push(&Event { time: clock(self.next).wall, subject, body }).unwrap();
        self.seal()
    }

    /// A batch with one event, whose subject is the agent itself.
    pub fn of_itself(&mut self, body: Body<'_>) -> Vec<u8> {
        let name = self.name;
        let subject = Subject::new(name.as_str()).unwrap();
        self.builder.push(&Event { time: clock(self.next).wall, subject, body }).unwrap();
        self.seal()
    }

    /// A batch that declares a loss.
    pub fn loss(&mut self, loss: Loss) -> Vec<u8> {
        let name = self.name;
        let subject = Subject::new(name.as_str()).unwrap();
        self.builder.push(&Event { time: clock(self.next).wall, subject, body: Body::Loss(loss) }).unwrap();
        self.seal()
    }

    /// As [`Agent::samples`], without going on: the next batch is the same.
    pub fn samples_of(&mut self, count: u64) -> Vec<u8> {
        let (next, chain) = (self.next, self.chain);
        let bytes = self.samples(count);
        (self.next, self.chain) = (next, chain);
        bytes
    }

    /// A batch of one sample, signed, whose header says another count and codec. The lane does not go on.
    pub fn lie(&mut self, count: u32, codec: u8) -> Vec<u8> {
        let mut bytes = self.samples_of(1);
        let header = Header { count, codec, ..*parse(&bytes).header() };
        bytes[..HEADER_LEN].copy_from_slice(&header.encode());
        let signature = self.identity.sign(&sha256(&bytes[SIGNED_FROM..]));
        bytes[8..SIGNED_FROM].copy_from_slice(&signature);
        let crc = crc32c(&bytes[8..]).to_le_bytes();
        bytes[4..8].copy_from_slice(&crc);
        bytes
    }

    /// The hello of one that holds its lane from `first` on, which proves nothing yet.
    pub fn hello(&self, first: u64) -> Vec<u8> {
        self.hello_over(first, Nonce::NONE)
    }

    /// The same, with the answer to a challenge.
    pub fn hello_over(&self, first: u64, answer: Nonce) -> Vec<u8> {
        let held = Held { lane: self.lane, first: Sequence::new(first), end: Sequence::new(self.next.max(first)) };
        let lanes = [held].into_iter().collect();
        self.up(answer, Control::Hello(Hello { session: self.session, lanes }))
    }

    /// What it says, signed.
    pub fn up(&self, answer: Nonce, control: Control) -> Vec<u8> {
        self.said_over(answer, UpContent::Control(control))
    }

    /// The same, without an answer to a challenge.
    pub fn said(&self, content: UpContent) -> Vec<u8> {
        self.said_over(Nonce::NONE, content)
    }

    fn said_over(&self, answer: Nonce, content: UpContent) -> Vec<u8> {
        let up = Up {
            log_id: [0; 16],
            nonce: Nonce([self.run; 16]),
            answer,
            key: self.identity.public_key(),
            instance: Instance([self.run; 16]),
            clock: clock(self.next),
            former: Vec::new(),
            content,
        };
        up.sign(&self.name, &self.identity)
    }
}

/// Says hello and proves it; gives what is answered to that.
pub(crate) fn greet<L: UnifiedLog>(
    core: &mut Core<L>,
    agent: &Agent,
    first: u64,
    clock: &ClockReading,
) -> Result<Vec<Answer>, Refusal> {
    let mut say = |message: &[u8]| {
        core.receive(agent.name, message, None, clock).refusal.map_or(Ok(()), Err)?;
        Ok(core.commit(clock).expect("the disk works"))
    };
    let answers = say(&agent.hello(first))?;
    let welcomed = |answer: &Answer| answer.agent == agent.name && matches!(answer.control, Control::Welcome(_));
    let welcome = answers.iter().find(|answer| welcomed(answer)).expect("a hello is answered");
    let challenge = Down::read(&welcome.message).expect("it is a signed message").claim().answer;
    say(&agent.hello_over(first, challenge))
}
