//! All of it behind three calls: make a [`Device`], record into a [`Recorder`] from anywhere, and [`Device::poll`] in the
//! main loop.

use afferent_protocol::event::Body;
use afferent_protocol::ids::{SourceId, Subject};
use embedded_io::{Read, ReadReady, Write, WriteReady};

use crate::clock::Clock;
use crate::limits::SEAL_SAMPLES_AFTER_US;
use crate::link::{Link, LinkCounters};
use crate::log::Log;
use crate::queue::Queue;
use crate::recorder::Recorder;

/// Who a device is, and what it cannot know by itself.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSettings {
    /// Its name, as the agent's configuration has it.
    pub source: SourceId,
    /// What losses are about.
    pub subject: Subject<'static>,
    /// Names this boot: no two boots of any device have the same.
    pub boot: [u8; 16],
    /// Differs from boot to boot and from device to device: a random number, or a unique id mixed with a boot counter.
    pub entropy: u64,
    /// Samples wait so long for others before they are sealed, in µs.
    pub seal_samples_after_us: u64,
}

impl DeviceSettings {
    /// Settings with the usual values where there are such.
    pub const fn new(source: SourceId, subject: Subject<'static>, boot: [u8; 16], entropy: u64) -> Self {
        Self { source, subject, boot, entropy, seal_samples_after_us: SEAL_SAMPLES_AFTER_US }
    }
}

/// A device: its log and its link. `CRITICAL` and `SAMPLES` are the bytes of the longest body of each stream, `FRAME` is
/// [`crate::limits::frame_bytes`] of the longer one.
#[derive(Debug)]
pub struct Device<C, S, const CRITICAL: usize, const SAMPLES: usize, const FRAME: usize> {
    log: Log<C, S, CRITICAL, SAMPLES>,
    link: Link<FRAME>,
    work: [u8; FRAME],
    seal_samples_after_us: u64,
}

impl<C: Queue, S: Queue, const CRITICAL: usize, const SAMPLES: usize, const FRAME: usize>
    Device<C, S, CRITICAL, SAMPLES, FRAME>
{
    /// A device with these two queues, for critical events and for samples.
    pub fn new(settings: &DeviceSettings, critical: C, samples: S) -> Self {
        const {
            let longest = if CRITICAL > SAMPLES { CRITICAL } else { SAMPLES };
            assert!(FRAME >= crate::limits::frame_bytes(longest), "a frame has room for the longest batch");
        }
        let mut work = [0; FRAME];
        let names = (settings.source, settings.subject);
        let clock = Clock::new(settings.boot);
        let mut log = Log::open(names, clock, (critical, samples), settings.entropy, &mut work);
        let link = Link::new(log.draw() as u32);
        Self { log, link, work, seal_samples_after_us: settings.seal_samples_after_us }
    }

    /// Says that the end of what the critical queue held was damaged: see [`crate::queue::Recovered::Damaged`].
    pub fn critical_was_damaged(&mut self) {
        self.log.critical_was_damaged();
    }

    /// Ends the device, as a reset does; gives its queues back.
    pub fn into_queues(self) -> (C, S) {
        self.log.into_queues()
    }

    /// Appends an event past the recorder, from the main loop: for texts that are made at run time.
    pub fn append(&mut self, now_us: u64, subject: Subject<'static>, body: &Body<'_>) {
        self.log.append(now_us, subject, body, now_us, &mut self.work);
    }

    /// Empties the recorder, seals what is due, and does what the line takes without waiting.
    pub fn poll<const N: usize>(
        &mut self,
        now_us: u64,
        recorder: &Recorder<N>,
        line: &mut (impl Read + ReadReady + Write + WriteReady),
    ) {
        // No more than the recorder holds: a storm of interrupts must not keep the main loop here.
        for drained in core::iter::from_fn(|| recorder.take()).take(N + 2) {
            self.log.take(drained, now_us, &mut self.work);
        }
        self.log.seal_due(now_us, self.seal_samples_after_us, &mut self.work);
        self.log.declare_due(now_us, self.link.is_streaming(), &mut self.work);
        self.link.poll(now_us, &mut self.log, line, &mut self.work);
    }

    /// Counters of the link.
    pub const fn link_counters(&self) -> &LinkCounters {
        self.link.counters()
    }

    /// Whether an agent has answered and batches flow.
    pub fn is_streaming(&self) -> bool {
        self.link.is_streaming()
    }

    /// Losses that nobody will hear of: more kinds of them at a time than [`crate::limits::LOSSES_MAX`].
    pub const fn losses_undeclared(&self) -> u32 {
        self.log.undeclared()
    }
}
