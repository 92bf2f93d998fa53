//! All of it behind three calls: make a [`Device`], record into a [`Recorder`] from anywhere, and [`Device::poll`] in
//! the main loop.

use afferent_protocol::batch::HEADER_LEN;
use afferent_protocol::event::Body;
use afferent_protocol::ids::{SourceId, Subject};
use embedded_io::{Read, ReadReady, Write, WriteReady};

use crate::clock::Clock;
use crate::limits::{BATCH_BODY_BYTES_MAX, DOWN_FRAME_BYTES_MAX, SEAL_SAMPLES_AFTER_US, frame_bytes};
use crate::link::{Link, LinkCounters};
use crate::log::Log;
use crate::queue::Queue;
use crate::recorder::Recorder;

/// Who a device is, and what it cannot know by itself.
#[derive(Clone, Copy, Debug)]
pub struct DeviceSettings {
    /// Its name, as the agent's configuration has it.
    pub source: SourceId,
    /// Subject of the device's own events, such as losses.
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

/// The buffers that a device works in: bodies of at most `CRITICAL` and `SAMPLES` bytes, and `FRAME`, which is
/// [`crate::limits::frame_bytes`] of the longer one.
#[derive(Debug)]
pub struct Buffers<const CRITICAL: usize, const SAMPLES: usize, const FRAME: usize> {
    critical: [u8; CRITICAL],
    samples: [u8; SAMPLES],
    work: [u8; FRAME],
    frame: [u8; FRAME],
}

impl<const CRITICAL: usize, const SAMPLES: usize, const FRAME: usize> Buffers<CRITICAL, SAMPLES, FRAME> {
    /// Empty ones.
    pub const fn new() -> Self {
        const {
            let longest = if CRITICAL > SAMPLES { CRITICAL } else { SAMPLES };
            assert!(longest <= BATCH_BODY_BYTES_MAX && FRAME >= frame_bytes(longest), "the longest batch fits a frame");
            assert!(FRAME > DOWN_FRAME_BYTES_MAX + HEADER_LEN, "a hello and a small batch fit");
        }
        Self { critical: [0; CRITICAL], samples: [0; SAMPLES], work: [0; FRAME], frame: [0; FRAME] }
    }
}

impl<const CRITICAL: usize, const SAMPLES: usize, const FRAME: usize> Default for Buffers<CRITICAL, SAMPLES, FRAME> {
    fn default() -> Self {
        Self::new()
    }
}

/// A device: its log and its link.
pub struct Device<'m> {
    log: Log<'m>,
    link: Link<'m>,
    seal_samples_after_us: u64,
}

impl<'m> Device<'m> {
    /// A device with these two queues, for critical events and for samples.
    pub fn new<const CRITICAL: usize, const SAMPLES: usize, const FRAME: usize>(
        settings: &DeviceSettings,
        [critical, samples]: [&'m mut dyn Queue; 2],
        buffers: &'m mut Buffers<CRITICAL, SAMPLES, FRAME>,
    ) -> Self {
        let Buffers { critical: critical_body, samples: samples_body, work, frame } = buffers;
        let names = (settings.source, settings.subject);
        let queues: [(_, &mut [u8]); 2] = [(critical, critical_body), (samples, samples_body)];
        let mut log = Log::open(names, Clock::new(settings.boot), queues, settings.entropy, work);
        let link = Link::new(log.draw() as u32, frame);
        Self { log, link, seal_samples_after_us: settings.seal_samples_after_us }
    }

    /// Says that the end of what the critical queue held was damaged: see [`crate::queue::Recovered::Damaged`].
    pub fn critical_was_damaged(&mut self) {
        self.log.critical_was_damaged();
    }

    /// Appends an event past the recorder, from the main loop: for texts that are made at run time.
    pub fn append(&mut self, now_us: u64, subject: Subject<'static>, body: &Body<'_>) {
        self.log.now_us = now_us;
        self.log.append(now_us, subject, body);
    }

    /// Empties the recorder, seals what is due, and does what the line takes without waiting.
    pub fn poll<const N: usize>(
        &mut self,
        now_us: u64,
        recorder: &Recorder<N>,
        line: &mut (impl Read + ReadReady + Write + WriteReady),
    ) {
        self.log.now_us = now_us;
        // No more than the recorder holds: a storm of interrupts must not keep the main loop here.
        for drained in core::iter::from_fn(|| recorder.take()).take(N + 2) {
            self.log.take(&drained);
        }
        self.log.seal_due(self.seal_samples_after_us);
        self.log.declare_due(self.link.is_streaming());
        self.link.poll(&mut self.log, line);
    }

    /// Counters of the link.
    pub const fn link_counters(&self) -> &LinkCounters {
        self.link.counters()
    }

    /// Whether an agent has answered and batches flow.
    pub fn is_streaming(&self) -> bool {
        self.link.is_streaming()
    }

    /// Number of undeclared losses: there were more kinds at a time than [`crate::limits::LOSSES_MAX`].
    pub const fn losses_undeclared(&self) -> u32 {
        self.log.undeclared()
    }
}
