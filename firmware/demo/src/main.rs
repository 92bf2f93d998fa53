//! A spindle whose bearing fails, on a Cortex-M3 in QEMU (`mps2-an385`).
//!
//! - `uart`, `time`, `nor`, `watchdog`: the hardware
//! - `identity`: a unique number and a boot counter; `crash`: handlers; `faults`: what tests ask for
//! - `console`: commands and the ledger; `spindle`: the machine that is simulated
//!
//! The README of `afferent-firmware` describes its output on its two serial ports.

#![no_std]
#![no_main]

mod console;
mod crash;
mod faults;
mod identity;
mod nor;
mod spindle;
mod time;
mod uart;
mod watchdog;

use afferent_firmware::device::{Buffers, Device, DeviceSettings};
use afferent_firmware::limits::frame_bytes;
use afferent_firmware::protocol::event::{Body, Breakdown, LifeCycle, PreviousStop, Severity};
use afferent_firmware::protocol::ids::{SourceId, Subject};
use afferent_firmware::queue::{FlashQueue, RamQueue, Recovered};
use afferent_firmware::recorder::Recorder;
use afferent_firmware::stored::HEAD_LEN;
use cortex_m_rt::entry;

use crate::console::{Command, Console, print_line};
use crate::nor::Nor;
use crate::spindle::Spindle;
use crate::uart::Line;

/// Bytes of a batch of critical events, and of samples.
const CRITICAL: usize = 1024;
const SAMPLES: usize = 2048;
/// Bytes of an item on flash, in whole words.
const ITEM: usize = (HEAD_LEN + CRITICAL).next_multiple_of(4);

/// From tasks and interrupts to the main loop.
pub static RECORDER: Recorder<64> = Recorder::new();

#[entry]
fn main() -> ! {
    let was_on = crash::was_on();
    let crash = crash::take();
    time::start();
    let identity = identity::of_this_boot();
    let source = SourceId::new("spindle-1").expect("a name");
    let subject = Subject::new("spindle-1").expect("a path");
    let settings = DeviceSettings::new(source, subject, identity.boot, identity.entropy);
    let (flash, found) = FlashQueue::open(Nor, nor::QUEUE).expect("the flash can be erased");
    let critical = cortex_m::singleton!(: Option<FlashQueue<Nor, ITEM>> = None).expect("main runs once").insert(flash);
    let samples = cortex_m::singleton!(: RamQueue<{ 256 * 1024 }> = RamQueue::new()).expect("main runs once");
    let buffers = cortex_m::singleton!(: Buffers<CRITICAL, SAMPLES, { frame_bytes(SAMPLES) }> = Buffers::new());
    let device = &mut Device::new(&settings, [critical, samples], buffers.expect("main runs once"));
    if found == Recovered::Damaged {
        device.critical_was_damaged();
    }

    let (previous, why) = match (&crash, was_on) {
        (Some(_), _) => (PreviousStop::Crash, "reset after a crash"),
        (None, true) => (PreviousStop::Clean, "reset on purpose"),
        (None, false) => (PreviousStop::PowerLoss, "power on"),
    };
    let started = LifeCycle::Started { previous, version: env!("CARGO_PKG_VERSION"), repairs: why };
    device.append(time::now_us(), subject, &Body::LifeCycle(started));
    if let Some(crash) = &crash {
        let message = crash.message();
        let breakdown = Breakdown { code: crash.kind.code(), severity: Severity::Fatal, message: &message };
        device.append(time::now_us(), subject, &Body::Breakdown(breakdown));
    }
    print_line(format_args!("boot {} {why}", identity.count));
    run(device)
}

fn run(device: &mut Device<'static>) -> ! {
    let mut line = Line::new();
    let mut console = Console::new();
    let mut spindle = Spindle::new();
    watchdog::start();
    loop {
        watchdog::feed();
        match console.poll() {
            Some(Command::Run(steps)) => spindle.run(steps),
            Some(Command::Burst(count)) => spindle.burst(count),
            Some(Command::Status) => {
                let counters = device.link_counters();
                print_line(format_args!(
                    "status streaming={} sent={} taken={} noise={} diverged={} undeclared={}",
                    device.is_streaming(),
                    counters.frames_sent,
                    counters.frames_taken,
                    counters.noise,
                    counters.diverged,
                    device.losses_undeclared(),
                ));
            }
            None => {}
        }
        spindle.poll(time::now_us());
        device.poll(time::now_us(), &RECORDER, &mut line);
    }
}
