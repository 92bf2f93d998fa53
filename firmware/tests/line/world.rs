//! A device, a line of 115200 baud with faults, a receiver, and a ledger of what was recorded.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::rc::Rc;

use afferent_firmware::device::{Buffers, Device, DeviceSettings};
use afferent_firmware::limits::frame_bytes;
use afferent_firmware::protocol::event::{Alarm, AlarmTransition, Body, MachineState, Quality, Sample, State, Value};
use afferent_firmware::protocol::ids::{SourceId, Stream, Subject};
use afferent_firmware::queue::{Broken, PushError, Queue, RamQueue, Recovered};
use afferent_firmware::recorder::{RecordError, Recorder};
use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};

use crate::receiver::Receiver;

pub const BYTES_PER_MS: f64 = 11.52;
const BODY: usize = 2048;

type Critical = RamQueue<4096>;

/// A queue that outlives the device that works with it.
struct Kept(Rc<RefCell<Critical>>);

impl Queue for Kept {
    fn push(&mut self, item: &[u8]) -> Result<(), PushError> {
        self.0.borrow_mut().push(item)
    }
    fn find(&mut self, buffer: &mut [u8], wanted: &mut dyn FnMut(&[u8]) -> bool) -> Result<Option<usize>, Broken> {
        self.0.borrow_mut().find(buffer, wanted)
    }
    fn pop(&mut self) -> Result<bool, Broken> {
        self.0.borrow_mut().pop()
    }
    fn is_roomy(&mut self, len: usize) -> bool {
        self.0.borrow_mut().is_roomy(len)
    }
}

#[derive(Clone, Debug)]
pub enum Fault {
    Flip(u8),
    Drop(usize),
    Repeat(usize),
    Insert(Vec<u8>),
    Stall(u64),
    RestartReceiver,
    Burst(u32),
}

/// The device's end of the line.
#[derive(Default)]
struct Port {
    incoming: VecDeque<u8>,
    outgoing: VecDeque<u8>,
    room: usize,
}

impl ErrorType for Port {
    type Error = Infallible;
}
impl ReadReady for Port {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(!self.incoming.is_empty())
    }
}
impl Read for Port {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        let len = out.len().min(self.incoming.len());
        out.iter_mut().zip(self.incoming.drain(..len)).for_each(|(place, byte)| *place = byte);
        Ok(len)
    }
}
impl WriteReady for Port {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.room > 0)
    }
}
impl Write for Port {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let len = bytes.len().min(self.room);
        self.room -= len;
        self.outgoing.extend(&bytes[..len]);
        Ok(len)
    }
    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}

pub struct World {
    pub receiver: Receiver,
    pub is_plugged: bool,
    /// What the receiver answers is lost.
    pub is_deaf: bool,
    /// The numbers that no two boots should have in common.
    pub constants: Option<([u8; 16], u64)>,
    pub noise_one_in: Option<u64>,
    pub bytes_up: usize,
    pub bytes_possible: f64,
    device: Option<Device<'static>>,
    critical: Rc<RefCell<Critical>>,
    recorder: Recorder<32>,
    port: Port,
    tick_us: u64,
    credit: f64,
    stalled_ms: u64,
    /// Faults of each direction: after how many bytes, which.
    faults: [VecDeque<(u32, Fault)>; 2],
    rng: u64,
    boot: u8,
    /// Bodies of what the recorder took, per stream.
    accepted: [Vec<String>; 2],
    /// How many it did not.
    refused: [u64; 2],
    samples: i64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut world = Self {
            receiver: Receiver::default(),
            is_plugged: true,
            is_deaf: false,
            constants: None,
            noise_one_in: None,
            bytes_up: 0,
            bytes_possible: 0.0,
            device: None,
            critical: Rc::default(),
            recorder: Recorder::new(),
            port: Port::default(),
            tick_us: 0,
            credit: 0.0,
            stalled_ms: 0,
            faults: Default::default(),
            rng: seed,
            boot: 0,
            accepted: Default::default(),
            refused: [0; 2],
            samples: 0,
        };
        world.cut_power();
        world
    }

    /// A boot after a reset: `.uninit` RAM stays.
    pub fn reset(&mut self) {
        assert_ne!(self.critical.borrow_mut().recover(), Recovered::Damaged);
        self.boot += 1;
        self.tick_us = 0;
        self.recorder = Recorder::new();
        self.port = Port::default();
        let source = SourceId::new("mill-2").expect("a name");
        let random = ([self.boot; 16], self.random());
        let (boot, entropy) = self.constants.unwrap_or(random);
        let subject = Subject::new("mill-2").expect("a path");
        let settings = DeviceSettings::new(source, subject, boot, entropy);
        // A firmware has them in statics; here they are leaked, some KiB a boot.
        let critical = Box::leak(Box::new(Kept(self.critical.clone())));
        let samples = Box::leak(Box::new(RamQueue::<16384>::new()));
        let buffers = Box::leak(Box::new(Buffers::<512, BODY, { frame_bytes(BODY) }>::new()));
        self.device = Some(Device::new(&settings, [critical, samples], buffers));
    }

    pub fn cut_power(&mut self) {
        self.critical = Rc::default();
        self.reset();
    }

    /// A boot after memory has lost the newest items of what it had said to hold.
    pub fn forget(&mut self, count: usize) {
        let mut items = Vec::new();
        let all = self.critical.borrow_mut().find(&mut [0; 4096], &mut |item| {
            items.push(item.to_vec());
            false
        });
        all.expect("it is RAM");
        self.critical = Rc::default();
        items.truncate(items.len() - count);
        items.iter().for_each(|item| self.critical.borrow_mut().push(item).expect("they had room"));
        self.reset();
    }

    pub fn device(&self) -> &Device<'static> {
        self.device.as_ref().expect("it runs")
    }

    fn random(&mut self) -> u64 {
        self.rng = self.rng.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.rng >> 11
    }

    pub fn record(&mut self, body: Body<'static>) {
        let stream = usize::from(matches!(body, Body::Sample(_)));
        let subject = Subject::new("mill-2/spindle/temperature").expect("a path");
        match self.recorder.record(self.tick_us, subject, body) {
            Ok(()) => self.accepted[stream].push(format!("{body:?}")),
            Err(RecordError::Lost) => self.refused[stream] += 1,
            Err(error) => panic!("{error}"),
        }
    }

    pub fn record_sample(&mut self) {
        self.samples += 1;
        let value =
            if self.samples % 3 == 0 { Value::Integer(self.samples) } else { Value::Float(self.samples as f64) };
        self.record(Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good }));
    }

    pub fn record_float(&mut self) {
        self.samples += 1;
        let value = Value::Float(self.samples as f64 / 7.0);
        self.record(Body::Sample(Sample { value, unit: "Cel", quality: Quality::Good }));
    }

    pub fn record_alarm(&mut self) {
        self.record_alarm_of("overheat", AlarmTransition::Raised);
    }

    pub fn record_alarm_of(&mut self, condition: &'static str, transition: AlarmTransition) {
        let priority = 1 + (self.accepted[0].len() % 1000) as u16;
        self.record(Body::Alarm(Alarm { condition, transition, priority, message: "" }));
    }

    /// An event that is like every other of its kind.
    pub fn record_heartbeat(&mut self) {
        self.record(Body::State(State { state: MachineState::Executing, reason: "heartbeat" }));
    }

    /// One millisecond.
    pub fn step(&mut self) {
        self.tick_us += 1000;
        self.receiver.wall_us += 1000;
        self.credit += BYTES_PER_MS;
        self.bytes_possible += BYTES_PER_MS;
        let bytes = self.credit as usize;
        self.credit -= bytes as f64;
        // A UART's buffer, as DMA or an interrupt would empty it.
        self.port.room = 64_usize.saturating_sub(self.port.outgoing.len());
        let device = self.device.as_mut().expect("it runs");
        device.poll(self.tick_us, &self.recorder, &mut self.port);
        if self.stalled_ms > 0 {
            self.stalled_ms -= 1;
            return;
        }
        let len = bytes.min(self.port.outgoing.len());
        self.bytes_up += len;
        let up: Vec<u8> = self.port.outgoing.drain(..len).collect();
        let up = self.disturbed(0, up);
        if self.is_plugged {
            let down = self.receiver.feed(&up);
            let down = self.disturbed(1, down);
            if !self.is_deaf {
                self.port.incoming.extend(down);
            }
        }
    }

    fn disturbed(&mut self, way: usize, bytes: Vec<u8>) -> Vec<u8> {
        let mut out = Vec::new();
        for mut byte in bytes {
            if let Some(one_in) = self.noise_one_in
                && self.random().is_multiple_of(one_in)
            {
                byte ^= 1 + (self.random() % 255) as u8;
            }
            out.push(byte);
            let Some((after, _)) = self.faults[way].front_mut() else { continue };
            *after -= 1;
            if *after > 0 {
                continue;
            }
            let (_, fault) = self.faults[way].pop_front().expect("it was there");
            match fault {
                Fault::Flip(bits) => *out.last_mut().expect("just pushed") ^= bits,
                Fault::Drop(count) => out.truncate(out.len().saturating_sub(count)),
                Fault::Repeat(count) => {
                    let from = out.len().saturating_sub(count);
                    out.extend_from_within(from..);
                }
                Fault::Insert(noise) => out.extend(noise),
                Fault::Stall(ms) => self.stalled_ms += ms,
                Fault::RestartReceiver => self.receiver = std::mem::take(&mut self.receiver).restarted(),
                Fault::Burst(count) => (0..count).for_each(|_| self.record_sample()),
            }
        }
        out
    }

    pub fn run_with_faults(&mut self, up: &[(u32, Fault)], down: &[(u32, Fault)]) {
        self.faults = [up.iter().cloned().collect(), down.iter().cloned().collect()];
        for step in 0..12_000 {
            if step % 20 == 0 {
                self.record_sample();
            }
            if step % 900 == 0 {
                self.record_alarm();
            }
            self.step();
        }
        self.faults = Default::default();
    }

    /// Runs on a quiet line until nothing is left to send.
    pub fn settle(&mut self) {
        // The longest timeout is 32 s; every fault can have led to one.
        self.settle_for(120_000);
    }

    /// Runs on a quiet line for so many milliseconds.
    pub fn settle_for(&mut self, ms: u32) {
        self.noise_one_in = None;
        (0..ms).for_each(|_| self.step());
        assert!(self.device().is_streaming(), "the device streams on a quiet line");
    }

    /// What was recorded is in the log, once and in order, but for what is declared as lost; returns how much of each
    /// stream. Which sequences that were is not asked: epochs that were used twice do not tell.
    pub fn check_once(&self) -> [u64; 2] {
        Stream::ALL.map(|stream| {
            let at = usize::from(stream.number());
            let seen = self.receiver.events_of(stream);
            let mut recorded = self.accepted[at].iter();
            for seen in &seen {
                assert!(recorded.any(|body| *body == seen.body), "{seen:?} came twice, or was not recorded");
            }
            let missing = self.accepted[at].len() as u64 + self.refused[at] - seen.len() as u64;
            assert!(missing <= self.receiver.declared(stream), "{stream}: {missing} are missing without a word");
            missing
        })
    }

    /// What was recorded is in the log, in order, and what is missing is declared; returns how many of each stream.
    pub fn check(&self) -> [u64; 2] {
        let lost = self.receiver.check();
        for stream in Stream::ALL {
            let at = usize::from(stream.number());
            let seen = self.receiver.events_of(stream);
            let mut recorded = self.accepted[at].iter();
            for seen in &seen {
                assert!(recorded.any(|body| *body == seen.body), "{seen:?} was not recorded, or not in this order");
            }
            let missing = self.accepted[at].len() as u64 + self.refused[at] - seen.len() as u64;
            assert_eq!(missing, lost[at], "{stream}: missing, and declared as lost");
        }
        assert_eq!(self.receiver.conflicts, 0);
        lost
    }
}
