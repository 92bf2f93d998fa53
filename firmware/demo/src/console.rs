//! The console for tests on UART1: lines in, lines out.

use core::fmt::{Arguments, Write};
use core::sync::atomic::{AtomicBool, Ordering};

use afferent_firmware::protocol::event::{Body, Quality, Sample, Value};
use afferent_firmware::protocol::ids::Subject;
use afferent_firmware::recorder::RecordError;
use cortex_m::peripheral::SYST;
use heapless::String;

use crate::uart::Uart;
use crate::{RECORDER, faults, spindle, time, watchdog};

static LEDGER: AtomicBool = AtomicBool::new(false);

/// Commands that somebody else carries out.
pub enum Command {
    Run(u32),
    Burst(u32),
    Status,
}

pub struct Console {
    uart: Uart,
    line: String<64>,
}

impl Console {
    pub fn new() -> Self {
        Self { uart: Uart::console(), line: String::new() }
    }

    /// Takes what was typed; returns a command when a line has ended.
    pub fn poll(&mut self) -> Option<Command> {
        while let Some(byte) = self.uart.read() {
            if byte != b'\n' {
                // What is too long is no command; it is refused at its end.
                let _ = self.line.push(byte as char);
                continue;
            }
            let line = core::mem::take(&mut self.line);
            return command(line.trim());
        }
        None
    }
}

fn command(line: &str) -> Option<Command> {
    let (name, argument) = line.split_once(' ').unwrap_or((line, ""));
    let count = argument.parse().unwrap_or(0);
    print_line(format_args!("ok {line}"));
    match name {
        "panic" => faults::panic(7),
        "badread" => drop(faults::bad_read()),
        "undefined" => faults::undefined_instruction(),
        "hang" => faults::hang(),
        "reset" => cortex_m::peripheral::SCB::sys_reset(),
        "ledger" => LEDGER.store(argument == "on", Ordering::Relaxed),
        "storm" => spindle::begin_storm(count),
        "burst" => return Some(Command::Burst(count)),
        "run" => return Some(Command::Run(count)),
        "stop" => return Some(Command::Run(0)),
        "measure" => measure(),
        "status" => return Some(Command::Status),
        _ => print_line(format_args!("unknown {line}")),
    }
    None
}

/// Prints how many instructions it takes to record a sample: while there is room, and when it is lost. QEMU lets 64 ns
/// pass for each (icount), and SysTick counts 40 ns.
fn measure() {
    let subject = Subject::new("spindle/measured").expect("a path");
    let sample = Sample { value: Value::Float(81.4), unit: "Cel", quality: Quality::Good };
    let (mut taken, mut lost) = (0, 0);
    critical_section::with(|_| {
        for _ in 0..100 {
            let before = SYST::get_current();
            let recorded = RECORDER.record(1, subject, Body::Sample(sample));
            let instructions = before.saturating_sub(SYST::get_current()) * 40 / 64;
            let longest = if recorded.is_ok() { &mut taken } else { &mut lost };
            *longest = instructions.max(*longest);
        }
    });
    print_line(format_args!("measured record taken={taken} lost={lost}"));
}

/// Prints a line.
pub fn print_line(line: Arguments<'_>) {
    struct Port(Uart);
    impl Write for Port {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            for byte in text.bytes() {
                // A test that is slow to read is no hang.
                while self.0.is_full() {
                    watchdog::feed();
                }
                self.0.write(byte);
            }
            Ok(())
        }
    }
    // Nobody else's line gets into this one.
    critical_section::with(|_| {
        let _ = writeln!(Port(Uart::console()), "{line}");
    });
}

/// Records an event and, when asked to, prints it to the ledger: both at once, so that their orders are the same.
pub fn record(subject: &'static str, body: Body<'static>) {
    let subject = Subject::new(subject).expect("a path");
    critical_section::with(|_| {
        let tick_us = time::now_us();
        let verb = match RECORDER.record(tick_us, subject, body) {
            Ok(()) => "recorded",
            Err(RecordError::Lost) => "lost",
            Err(RecordError::Invalid(_)) => "invalid",
        };
        if !LEDGER.load(Ordering::Relaxed) {
            return;
        }
        let subject = subject.as_str();
        match body {
            Body::Sample(sample) => match sample.value {
                Value::Float(value) => {
                    print_line(format_args!("{verb} samples {tick_us} {subject} float {:016x}", value.to_bits()));
                }
                Value::Integer(value) => print_line(format_args!("{verb} samples {tick_us} {subject} integer {value}")),
                _ => {}
            },
            Body::Alarm(alarm) => {
                print_line(format_args!("{verb} critical {tick_us} {subject} alarm {}", alarm.priority))
            }
            Body::Breakdown(body) => {
                print_line(format_args!("{verb} critical {tick_us} {subject} breakdown {}", body.code))
            }
            _ => {}
        }
    });
}
