//! A device that is played by hand, on a line in memory or on a Unix socket, and a log that commits when it is told to.

use std::io;

use afferent_host::stop::{self, StopSender};
use afferent_protocol::batch::{Batch, BatchBuilder, ClockReading, Lineage};
use afferent_protocol::clock_exchange::ClockRequest;
use afferent_protocol::codec;
use afferent_protocol::event::{
    Alarm, AlarmTransition, FilePlaces, Followed, LifeCycle, Progress, Quality, ResealReason, Sample, Value,
};
use afferent_protocol::ids::{Epoch, Sequence, Stream, Timestamp};
use afferent_protocol::limits::TIME_MAX;
use afferent_protocol::session::{Check, Control, Held, Hello, Lane, Resume};
use afferent_protocol::sign::Identity;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::clock::DeviceClock;
use super::session::{Session, put_frame};
use super::*;
use crate::clock::SystemClock;
use crate::intake::sink::fake::FakeSink;
use crate::metrics::Registry;
use crate::sequencer::{CommitSettings, OpenBatches};

const LANE: Lane = Lane { stream: Stream::Critical, epoch: Epoch::new(7) };

fn name(text: &str) -> SourceId {
    SourceId::new(text).unwrap()
}

/// The agent's side, at work on a socket.
struct Rig {
    sink: FakeSink,
    metrics: SerialMetrics,
    listener: UnixListener,
    stop: StopSender,
    running: JoinHandle<()>,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn start(sink: FakeSink) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line");
        let listener = UnixListener::bind(&path).unwrap();
        let settings =
            SerialSettings { agent: name("press-1"), device: name("spindle-1"), port: Address::Unix(path), baud: 0 };
        let metrics = SerialMetrics::new(&Registry::default(), "spindle-1");
        let (stop, stopped) = stop::channel();
        let running = tokio::spawn(run(settings, sink.clone(), Arc::new(SystemClock::new()), metrics.clone(), stopped));
        Self { sink, metrics, listener, stop, running, _folder: folder }
    }

    /// The device's end of the line, once the agent has opened it.
    async fn device(&self) -> Device {
        let (line, _) = self.listener.accept().await.unwrap();
        Device { line, incoming: Box::new(Accumulator::new()), unread: Vec::new() }
    }

    async fn end(self) {
        self.stop.stop();
        self.running.await.unwrap();
    }

    /// What was taken, without the times.
    fn events(&self) -> Vec<String> {
        let without_time = |text: String| text.split_once(' ').unwrap().1.to_owned();
        self.sink.events().into_iter().map(|(text, _)| without_time(text)).collect()
    }
}

/// The device's end of the line.
struct Device {
    line: UnixStream,
    incoming: Box<Accumulator<FRAME_BYTES_MAX>>,
    unread: Vec<u8>,
}

impl Device {
    async fn send(&mut self, payload: &[u8]) {
        let mut frame = Vec::new();
        put_frame(payload, &mut frame);
        self.line.write_all(&frame).await.unwrap();
    }

    async fn says_it_is(&mut self, source: &str) {
        self.send(&ClockRequest { boot: [1; 16], tick_us: 5, source: name(source) }.encode()).await;
    }

    async fn says_hello(&mut self, first: u64, end: u64) {
        self.says_hello_of(&[LANE], first, end).await;
    }

    async fn says_hello_of(&mut self, lanes: &[Lane], first: u64, end: u64) {
        let held = |lane: &Lane| Held { lane: *lane, first: Sequence::new(first), end: Sequence::new(end) };
        let lanes = lanes.iter().map(held).collect();
        self.send(&Control::Hello(Hello { session: 3, lanes }).encode()).await;
    }

    /// What the agent says to have of an end that the device asks for.
    async fn asks_for(&mut self, end: u64, check: u64) -> Resume {
        let end = Resume { lane: LANE, end: Sequence::new(end), check: Some(Check(check)) };
        self.send(&Control::Ask([end].into_iter().collect()).encode()).await;
        match self.hears().await {
            Control::Common(common) => common,
            other => panic!("{other:?} in place of an answer"),
        }
    }

    /// The next control message; clock replies are passed over.
    async fn hears(&mut self) -> Control {
        loop {
            let bytes = std::mem::take(&mut self.unread);
            match self.incoming.feed(&bytes) {
                Fed::More => {}
                Fed::Noise { .. } => panic!("the agent makes no noise"),
                Fed::Frame { payload, taken } => {
                    let control = Control::decode(payload);
                    self.unread = bytes[taken..].to_vec();
                    match control {
                        Ok(control) => return control,
                        Err(_) => continue,
                    }
                }
            }
            let mut bytes = [0; 1000];
            let count = self.line.read(&mut bytes).await.unwrap();
            assert!(count > 0, "the agent keeps the line open");
            self.unread = bytes[..count].to_vec();
        }
    }

    async fn is_welcomed(&mut self) -> Resume {
        match self.hears().await {
            Control::Welcome(welcome) => welcome.lanes[0],
            other => panic!("{other:?} in place of a welcome"),
        }
    }

    async fn is_acked(&mut self) -> Resume {
        match self.hears().await {
            Control::Ack(lanes) => lanes[0],
            other => panic!("{other:?} in place of an ack"),
        }
    }
}

/// Batches of one alarm each, chained as devices do it.
fn batches(count: u64) -> Vec<Vec<u8>> {
    let mut previous = [0; 32];
    let batch = |first: u64| {
        let lineage = Lineage {
            source: name("spindle-1"),
            stream: LANE.stream,
            epoch: LANE.epoch,
            first: Sequence::new(first),
            previous,
        };
        let tick = 1_000_000 + first;
        let wall = Timestamp::new(tick as i64).unwrap();
        let clock = ClockReading { wall, monotonic_us: tick, synchronised: false, boot: [1; 16] };
        let (condition, priority) = ("burst", 1 + first as u16);
        let body = Body::Alarm(Alarm { condition, transition: AlarmTransition::Raised, priority, message: "" });
        let mut builder = BatchBuilder::new();
        builder.push(&Event { time: wall, subject: Subject::new("spindle").unwrap(), body }).unwrap();
        let mut bytes = Vec::new();
        let (header, _) = builder.seal(&lineage, &clock, &Identity::from_seed(&[1; 32]), &mut bytes);
        previous = [0; 32];
        previous[..4].copy_from_slice(&header.crc.to_le_bytes());
        bytes
    };
    (0..count).map(batch).collect()
}

fn alarm(index: u64) -> String {
    let body =
        Alarm { condition: "burst", transition: AlarmTransition::Raised, priority: 1 + index as u16, message: "" };
    format!("spindle {:?}", Body::Alarm(body))
}

fn is_up(event: &str) -> bool {
    event.contains("LinkUp")
}

#[tokio::test]
async fn a_batch_is_acked_when_it_is_durable_and_not_before() {
    let rig = Rig::start(FakeSink::holding());
    let mut device = rig.device().await;
    device.line.write_all(b"garbage at start\0").await.unwrap();
    device.says_it_is("spindle-1").await;
    device.says_hello(0, 1).await;
    assert_eq!(device.is_welcomed().await.end, Sequence::ZERO);
    device.send(&batches(1)[0]).await;
    rig.sink.taken(2).await;
    // The line is quiet until the commit: the ack is not among what has come by then.
    let early = io::Result::ok(device.line.try_read(&mut [0; 100]));
    assert_eq!(early, None, "nothing is said before the commit");
    rig.sink.commit();
    assert_eq!(device.is_acked().await.end, Sequence::new(1));
    assert!(is_up(&rig.events()[0]) && rig.events()[1] == alarm(0), "{:?}", rig.events());
    assert_eq!((rig.metrics.bad.get(), rig.metrics.batches.get()), (1, 1));
    rig.end().await;
}

#[tokio::test]
async fn a_repeated_batch_is_acked_again_and_stored_once_also_after_the_cable_was_pulled() {
    let rig = Rig::start(FakeSink::committing());
    let mut device = rig.device().await;
    device.says_it_is("spindle-1").await;
    device.says_hello(0, 2).await;
    device.is_welcomed().await;
    for batch in batches(2) {
        device.send(&batch).await;
        device.is_acked().await;
    }
    device.send(&batches(2)[1]).await;
    assert_eq!(device.is_acked().await.end, Sequence::new(2));
    drop(device);
    let mut device = rig.device().await;
    device.says_it_is("spindle-1").await;
    device.says_hello(0, 3).await;
    let resume = device.is_welcomed().await;
    assert_eq!((resume.end, resume.check.is_some()), (Sequence::new(2), true));
    device.send(&batches(3)[2]).await;
    assert_eq!(device.is_acked().await.end, Sequence::new(3));
    let events = rig.events();
    let alarms: Vec<_> = events.iter().filter(|event| event.contains("burst")).cloned().collect();
    assert_eq!(alarms, [alarm(0), alarm(1), alarm(2)]);
    let changes = ["LinkUp", "LinkDown"].map(|change| events.iter().filter(|event| event.contains(change)).count());
    assert_eq!(changes, [2, 1]);
    assert_eq!((rig.metrics.duplicates.get(), rig.metrics.gaps.get()), (1, 0));
    rig.end().await;
}

#[tokio::test]
async fn without_a_hello_since_the_port_was_opened_nothing_is_acked() {
    let rig = Rig::start(FakeSink::committing());
    let mut device = rig.device().await;
    device.says_it_is("spindle-1").await;
    device.send(&batches(1)[0]).await;
    device.says_hello(0, 1).await;
    assert_eq!(device.is_welcomed().await.end, Sequence::ZERO, "the batch before it was passed over");
    assert_eq!(rig.metrics.batches.get(), 0);
    rig.end().await;
}

#[tokio::test]
async fn another_device_is_refused_and_that_is_said_once() {
    let rig = Rig::start(FakeSink::committing());
    let mut device = rig.device().await;
    for _ in 0..2 {
        device.says_it_is("mill-2").await;
        device.says_hello(0, 1).await;
        device.send(&batches(1)[0][..100]).await;
    }
    rig.sink.taken(1).await;
    let refused = LifeCycle::Refused {
        source: "mill-2",
        reason: "this port is for spindle-1; correct the cabling, or `device` in the configuration",
    };
    // The right one, on the same line, is taken.
    device.says_it_is("spindle-1").await;
    device.says_hello(0, 1).await;
    assert_eq!(device.is_welcomed().await.end, Sequence::ZERO);
    assert_eq!(rig.events()[0], format!("spindle-1 {:?}", Body::LifeCycle(refused)));
    assert!(rig.events().len() == 2 && is_up(&rig.events()[1]), "{:?}", rig.events());
    assert_eq!((rig.metrics.refused.get(), rig.metrics.unknown.get()), (1, 2));
    rig.end().await;
}

#[tokio::test]
async fn a_batch_of_another_history_is_refused_and_said() {
    let rig = Rig::start(FakeSink::committing());
    let mut device = rig.device().await;
    device.says_it_is("spindle-1").await;
    device.says_hello(0, 2).await;
    device.is_welcomed().await;
    device.send(&batches(1)[0]).await;
    let acked = device.is_acked().await;
    let mut other = batches(2)[1].clone();
    // Another batch before it: the chain does not fit.
    let at = other.windows(4).position(|four| four == &batches(1)[0][4..8]).unwrap();
    other[at] ^= 1;
    let crc = afferent_protocol::checksum::crc32c(&other[8..]).to_le_bytes();
    other[4..8].copy_from_slice(&crc);
    device.send(&other).await;
    assert_eq!(device.is_acked().await, acked);
    rig.sink.taken(3).await;
    assert!(rig.events()[2].contains("two devices share a name"), "{:?}", rig.events());
    rig.end().await;
}

fn crc_of(batch: &[u8]) -> u64 {
    Batch::parse(batch).unwrap().0.header().crc.into()
}

#[tokio::test]
async fn a_device_that_asks_hears_which_of_its_ends_are_here_with_the_same_check() {
    let rig = Rig::start(FakeSink::committing());
    let mut device = rig.device().await;
    device.says_it_is("spindle-1").await;
    device.says_hello(0, 3).await;
    device.is_welcomed().await;
    let batches = batches(3);
    for batch in &batches {
        device.send(batch).await;
        device.is_acked().await;
    }
    for (at, batch) in (1..).zip(&batches) {
        assert_eq!(device.asks_for(at, crc_of(batch)).await.end, Sequence::new(at));
        // The control: the same end with another check, and the check at another end.
        assert_eq!(device.asks_for(at, crc_of(batch) ^ 1).await.end, Sequence::ZERO);
        assert_eq!(device.asks_for(at + 1, crc_of(batch)).await.end, Sequence::ZERO);
    }
    rig.end().await;
}

/// The only batch of a lane: it says what its alarm was before, about the subject that it has at hand.
fn resealed(epoch: u64, subject: &str) -> Vec<u8> {
    let (stream, epoch) = (LANE.stream, Epoch::new(epoch));
    let lineage = Lineage { source: name("spindle-1"), stream, epoch, first: Sequence::ZERO, previous: [0; 32] };
    let reason = ResealReason::Diverged;
    let says = LifeCycle::Resealed { stream, epoch: LANE.epoch, first: Sequence::new(4), reason };
    let alarm = Alarm { condition: "burst", transition: AlarmTransition::Raised, priority: 5, message: "" };
    let mut builder = BatchBuilder::new();
    for body in [Body::LifeCycle(says), Body::Alarm(alarm)] {
        let subject = Subject::new(subject).unwrap();
        builder.push(&Event { time: Timestamp::new(1_000_004).unwrap(), subject, body }).unwrap();
    }
    let mut bytes = Vec::new();
    builder.seal(&lineage, &ClockReading::default(), &Identity::from_seed(&[1; 32]), &mut bytes);
    bytes
}

#[tokio::test]
async fn what_a_device_has_sealed_again_is_taken_once_and_is_about_the_device() {
    let rig = Rig::start(FakeSink::committing());
    let mut device = rig.device().await;
    device.says_it_is("spindle-1").await;
    device.says_hello(0, 1).await;
    device.is_welcomed().await;
    device.send(&batches(1)[0]).await;
    device.is_acked().await;
    let (again, next) = (Lane { epoch: Epoch::new(8), ..LANE }, Lane { epoch: Epoch::new(9), ..LANE });
    // The agent's own name as a subject does not make it the agent's statement.
    for (lane, subject) in [(again, "press-1"), (next, "spindle")] {
        device.says_hello_of(&[lane, LANE], 0, 2).await;
        assert_eq!(device.is_welcomed().await.end, Sequence::ZERO);
        device.send(&resealed(lane.epoch.get(), subject)).await;
        assert_eq!(device.is_acked().await.end, Sequence::new(2));
    }
    let events = rig.events();
    let says = events.iter().filter(|event| event.contains("Resealed")).collect::<Vec<_>>();
    assert_eq!(says.len(), 2, "{events:?}");
    assert!(
        says.iter().all(|event| event.starts_with("spindle-1 ") && event.contains("first: Sequence(4)")),
        "{says:?}"
    );
    assert_eq!(events.iter().filter(|event| event.contains("burst")).count(), 3);
    assert_eq!((rig.metrics.resealed.get(), rig.metrics.refused.get()), (2, 0));
    rig.end().await;
}

#[tokio::test]
async fn a_lane_that_is_not_named_any_more_is_known_until_the_next_batch_is_here() {
    let rig = Rig::start(FakeSink::committing());
    let mut device = rig.device().await;
    device.says_it_is("spindle-1").await;
    let again = Lane { epoch: Epoch::new(8), ..LANE };
    device.says_hello_of(&[again, LANE], 0, 2).await;
    device.is_welcomed().await;
    device.send(&resealed(8, "spindle")).await;
    device.is_acked().await;
    // The ack is lost in a reset: the device names what lies in its memory, and then the same lane again.
    for lanes in [&[LANE][..], &[again, LANE]] {
        device.says_hello_of(lanes, 0, 2).await;
        let resume = device.is_welcomed().await;
        assert_eq!(resume.end, Sequence::new(if lanes.len() == 2 { 2 } else { 0 }));
    }
    // The control: when another batch has come meanwhile, it is forgotten, or there would be more of them forever.
    device.says_hello(0, 1).await;
    device.is_welcomed().await;
    device.send(&batches(1)[0]).await;
    device.is_acked().await;
    device.says_hello_of(&[again, LANE], 0, 2).await;
    assert_eq!(device.is_welcomed().await.end, Sequence::ZERO);
    rig.end().await;
}

#[tokio::test]
async fn a_batch_without_its_records_is_refused_and_said() {
    let rig = Rig::start(FakeSink::committing());
    let mut device = rig.device().await;
    device.says_it_is("spindle-1").await;
    let lane = Lane { stream: Stream::Samples, ..LANE };
    let held = Held { lane, first: Sequence::ZERO, end: Sequence::new(1) };
    let lanes = [held].into_iter().collect();
    device.send(&Control::Hello(Hello { session: 3, lanes }).encode()).await;
    device.is_welcomed().await;
    let Lane { stream, epoch } = lane;
    let lineage = Lineage { source: name("spindle-1"), stream, epoch, first: Sequence::ZERO, previous: [0; 32] };
    let body = Body::Sample(Sample { value: Value::Bool(true), unit: "", quality: Quality::Good });
    let mut builder = BatchBuilder::new();
    builder.push(&Event { time: Timestamp::default(), subject: Subject::new("spindle").unwrap(), body }).unwrap();
    let mut bytes = Vec::new();
    builder.seal(&lineage, &ClockReading::default(), &Identity::from_seed(&[1; 32]), &mut bytes);
    device.send(&Batch::parse(&bytes).unwrap().0.emptied()).await;
    rig.sink.taken(2).await;
    assert!(rig.events()[1].contains("has no records"), "{:?}", rig.events());
    device.send(&bytes).await;
    assert_eq!(device.is_acked().await.end, Sequence::new(1), "the batch itself is taken");
    rig.end().await;
}

#[tokio::test]
async fn a_device_that_writes_the_agents_own_tables_is_refused_and_that_is_said() {
    let (stream, epoch) = (LANE.stream, LANE.epoch);
    let files = FilePlaces::default();
    let followed = Followed { stream, input: "press", number: u64::MAX, horizon: Timestamp::default(), files };
    let progress = Progress { stream, epoch, end: Sequence::new(9), check: 0, ticks: None };
    for table in [Body::Followed(followed), Body::Progress(progress)] {
        let rig = Rig::start(FakeSink::committing());
        let mut device = rig.device().await;
        device.says_it_is("spindle-1").await;
        device.says_hello(0, 1).await;
        device.is_welcomed().await;
        let lineage = Lineage { source: name("spindle-1"), stream, epoch, first: Sequence::ZERO, previous: [0; 32] };
        let mut builder = BatchBuilder::new();
        let subject = Subject::new("press-1").unwrap();
        builder.push(&Event { time: Timestamp::default(), subject, body: table }).unwrap();
        let mut bytes = Vec::new();
        builder.seal(&lineage, &ClockReading::default(), &Identity::from_seed(&[1; 32]), &mut bytes);
        device.send(&bytes).await;
        rig.sink.taken(2).await;
        let said = format!("a device must not send its {} about press-1", table.kind().type_name());
        assert!(rig.events()[1].contains(&said), "{:?}", rig.events());
        rig.end().await;
    }
}

/// A batch of alarms at these ticks, sealed at the last of them.
fn batch_of(ticks: &[i64], synchronised: Option<i64>) -> Vec<u8> {
    let lineage = Lineage {
        source: name("spindle-1"),
        stream: LANE.stream,
        epoch: LANE.epoch,
        first: Sequence::ZERO,
        previous: [0; 32],
    };
    let monotonic_us = *ticks.last().unwrap() as u64;
    let wall = Timestamp::new(synchronised.unwrap_or(monotonic_us as i64)).unwrap();
    let clock = ClockReading { wall, monotonic_us, synchronised: synchronised.is_some(), boot: [1; 16] };
    let alarm = Alarm { condition: "burst", transition: AlarmTransition::Raised, priority: 1, message: "" };
    let mut builder = BatchBuilder::new();
    for tick in ticks {
        let (time, subject) = (Timestamp::new(*tick).unwrap(), Subject::new("spindle").unwrap());
        builder.push(&Event { time, subject, body: Body::Alarm(alarm) }).unwrap();
    }
    let mut bytes = Vec::new();
    builder.seal(&lineage, &clock, &Identity::from_seed(&[1; 32]), &mut bytes);
    bytes
}

/// What a batch becomes in the agent's log, among events of others; returns the boot, and the ticks that a reader makes
/// of what is there.
fn ticks_read_back(batch: &[u8], asked: Option<u64>, arrived: &ClockReading) -> ([u8; 16], Vec<i64>) {
    let settings =
        SerialSettings { agent: name("press-1"), device: name("spindle-1"), port: Address::Unix("".into()), baud: 0 };
    let metrics = SerialMetrics::new(&Registry::default(), "spindle-1");
    let (mut session, mut device_clock) = (Session::new(&settings, &[], metrics), DeviceClock::default());
    if let Some(tick_us) = asked {
        let request = ClockRequest { boot: [1; 16], tick_us, source: name("spindle-1") };
        session.take(&request.encode(), arrived, &mut device_clock);
    }
    let whose = ClockRequest { boot: [9; 16], tick_us: 0, source: name("spindle-1") };
    session.take(&whose.encode(), arrived, &mut device_clock);
    let lanes = [Held { lane: LANE, first: Sequence::ZERO, end: Sequence::new(1) }].into_iter().collect();
    let hello = Control::Hello(Hello { session: 3, lanes });
    session.take(&hello.encode(), arrived, &mut device_clock);
    let stored = session.take(batch, arrived, &mut device_clock).stored.expect("it is the next one");

    let mut open = OpenBatches::new(CommitSettings::default(), 1 << 16);
    let foreign = Event {
        time: Timestamp::new(77).unwrap(),
        subject: Subject::new("press-1").unwrap(),
        body: Body::LifeCycle(LifeCycle::Stopped { reason: "" }),
    };
    open.push(&foreign, Waiting::Producer, 0).unwrap();
    open.push_device(&stored.events, stored.progress, 0).unwrap();
    open.push(&foreign, Waiting::Producer, 0).unwrap();
    let mut taken = BatchBuilder::new();
    open.take(LANE.stream, &mut taken).unwrap();
    let lineage = Lineage {
        source: name("press-1"),
        stream: LANE.stream,
        epoch: Epoch::new(1),
        first: Sequence::ZERO,
        previous: [0; 32],
    };
    let mut bytes = Vec::new();
    taken.seal(&lineage, arrived, &Identity::from_seed(&[2; 32]), &mut bytes);
    let (batch, _) = Batch::parse(&bytes).unwrap();
    let events: Vec<_> = codec::records(&batch, &mut []).unwrap().map(|record| record.unwrap().event).collect();
    let progress = events.iter().enumerate().filter_map(|(at, event)| match event.body {
        Body::Progress(Progress { ticks: Some(ticks), .. }) => Some((at, ticks)),
        _ => None,
    });
    let [(at, ticks)] = progress.collect::<Vec<_>>()[..] else { panic!("one batch of a device: {events:?}") };
    let of_device = &events[at - ticks.events as usize..at];
    assert!(of_device.iter().all(|event| event.subject.as_str() == "spindle"), "{of_device:?}");
    (ticks.boot, of_device.iter().map(|event| event.time.micros() - ticks.offset_us).collect())
}

#[test]
fn the_tick_of_every_event_can_be_read_back_exactly_however_its_time_was_made() {
    let ticks = [1_000_000, 1_000_001, 999_000, 1_500_000];
    let agent = |wall: i64| ClockReading { wall: Timestamp::new(wall).unwrap(), ..ClockReading::default() };
    let day = agent(86_400_000_000);
    for (what, synchronised, asked, arrived) in [
        ("the device knows UTC", Some(86_399_000_000), None, &day),
        ("the agent knows the boot", None, Some(1_400_000), &day),
        ("nobody knows the boot", None, None, &day),
        ("the agent believes that it is 1970", None, Some(1_400_000), &agent(0)),
        ("the device believes that it is 9999", Some(TIME_MAX), None, &day),
    ] {
        assert_eq!(
            ticks_read_back(&batch_of(&ticks, synchronised), asked, arrived),
            ([1; 16], ticks.to_vec()),
            "{what}"
        );
    }
}

/// The agent's end of a pseudo terminal is a serial port to it.
#[cfg(feature = "serial")]
#[tokio::test]
async fn a_serial_port_is_opened_and_carries_bytes_both_ways() {
    let (mut other, port) = tokio_serial::SerialStream::pair().unwrap();
    let path = tokio_serial::SerialPort::name(&port).expect("a pseudo terminal has a name");
    let mut opened = Address::Device(path.into()).open(115_200).await.unwrap();
    // All bytes, as they are: nothing is translated or echoed.
    let all: Vec<u8> = (0..=255).collect();
    opened.write_all(&all).await.unwrap();
    let mut came = vec![0; 256];
    other.read_exact(&mut came).await.unwrap();
    assert_eq!(came, all);
    other.write_all(&all).await.unwrap();
    opened.read_exact(&mut came).await.unwrap();
    assert_eq!(came, all);
}
