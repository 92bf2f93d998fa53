//! The library in a firmware of your own. `uart` is what your HAL gives you (`embedded-io`), `now_us` your tick
//! counter.
//!
//! A real one is `no_std` with an entry point of its own, see `demo/`; this one compiles everywhere.

use afferent_firmware::device::{Buffers, Device, DeviceSettings};
use afferent_firmware::limits::frame_bytes;
use afferent_firmware::protocol::event::{Body, LifeCycle, PreviousStop, Quality, Sample, Value};
use afferent_firmware::protocol::ids::{SourceId, Subject};
use afferent_firmware::queue::RamQueue;
use afferent_firmware::recorder::Recorder;
use afferent_firmware::sensor::Threshold;
use embedded_io::{Read, ReadReady, Write, WriteReady};

static RECORDER: Recorder<64> = Recorder::new();
// Names are checked when the program is compiled.
const MILL: SourceId = SourceId::literal("mill-2");
const ITSELF: Subject = Subject::literal("mill-2");
const TEMPERATURE: Subject = Subject::literal("mill-2/spindle/temperature");

/// From a timer's interrupt: never waits.
fn timer_interrupt(now_us: u64, celsius: f64, overheat: &mut Threshold) {
    let sample = Sample { value: Value::Float(celsius), unit: "Cel", quality: Quality::Good };
    // What does not fit is counted, and declared in its place.
    let _ = RECORDER.record(now_us, TEMPERATURE, Body::Sample(sample));
    if let Some(change) = overheat.update(now_us, celsius) {
        let _ = RECORDER.record(now_us, TEMPERATURE, change.alarm("overheat", 700, "spindle over 80 °C"));
    }
}

fn firmware(
    mut uart: impl Read + ReadReady + Write + WriteReady,
    now_us: impl Fn() -> u64,
    (boot, entropy): ([u8; 16], u64),
) {
    let settings = DeviceSettings::new(MILL, ITSELF, boot, entropy);
    // Batches of at most 512 bytes for critical events and 2048 for samples, 4 and 16 KiB of RAM to keep them in.
    // (In a real firmware these three are statics.)
    let (mut critical, mut samples) = (RamQueue::<4096>::new(), RamQueue::<16384>::new());
    let mut buffers = Buffers::<512, 2048, { frame_bytes(2048) }>::new();
    let mut device = Device::new(&settings, [&mut critical, &mut samples], &mut buffers);
    let started = LifeCycle::Started { previous: PreviousStop::None, version: "1.0.0", repairs: "" };
    device.append(now_us(), ITSELF, &Body::LifeCycle(started));
    loop {
        device.poll(now_us(), &RECORDER, &mut uart);
    }
}

/// A line that nothing ever comes of.
struct NoLine;

impl embedded_io::ErrorType for NoLine {
    type Error = core::convert::Infallible;
}
impl ReadReady for NoLine {
    fn read_ready(&mut self) -> Result<bool, Self::Error> {
        Ok(false)
    }
}
impl Read for NoLine {
    fn read(&mut self, _: &mut [u8]) -> Result<usize, Self::Error> {
        Ok(0)
    }
}
impl WriteReady for NoLine {
    fn write_ready(&mut self) -> Result<bool, Self::Error> {
        Ok(false)
    }
}
impl Write for NoLine {
    fn write(&mut self, _: &[u8]) -> Result<usize, Self::Error> {
        Ok(0)
    }
    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

fn main() {
    timer_interrupt(0, 42.0, &mut Threshold::new(80.0, 75.0, 1_000_000));
    // A firmware runs forever; this is here so that it is compiled for a line.
    if std::env::args().len() > 1 {
        firmware(NoLine, || 0, ([1; 16], 1));
    }
}
