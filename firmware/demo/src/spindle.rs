//! The machine: a spindle whose temperature and vibration drift into a bearing failure.

use core::sync::atomic::{AtomicU32, Ordering};

use afferent_firmware::protocol::event::{Alarm, AlarmTransition, Body, Breakdown, Quality, Sample, Severity, Value};

use crate::console::{print_line, record};

const STEP_US: u64 = 10_000;
/// The step of a run in which the bearing fails.
const FAILURE: u32 = 1500;

pub struct Spindle {
    step: u32,
    steps: u32,
    due_us: u64,
    noise: u32,
}

impl Spindle {
    pub const fn new() -> Self {
        Self { step: 0, steps: 0, due_us: 0, noise: 1 }
    }

    /// Simulates so many steps from the beginning.
    pub fn run(&mut self, steps: u32) {
        (self.step, self.steps, self.due_us) = (0, steps, 0);
    }

    /// Records so many alarms at once.
    pub fn burst(&mut self, count: u32) {
        for number in 0..count {
            record(
                "spindle/burst",
                Body::Alarm(Alarm {
                    condition: "burst",
                    transition: AlarmTransition::Raised,
                    priority: (number % 1000) as u16 + 1,
                    message: "asked for by a test",
                }),
            );
        }
        print_line(format_args!("done burst"));
    }

    pub fn poll(&mut self, now_us: u64) {
        if self.step >= self.steps || now_us < self.due_us {
            return;
        }
        self.due_us = self.due_us.max(now_us.saturating_sub(STEP_US)) + STEP_US;
        self.simulate();
        self.step += 1;
        if self.step == self.steps {
            print_line(format_args!("done run"));
        }
    }

    fn simulate(&mut self) {
        let wear = f64::from(self.step.min(2 * FAILURE)) / f64::from(FAILURE);
        let noise = self.noise();
        sample("spindle/temperature", 42.0 + 38.0 * wear * wear + noise, "Cel");
        let noise = self.noise();
        sample("spindle/vibration", 1.2 + 9.0 * wear * wear * wear * wear + 0.2 * noise, "mm/s");
        let noise = self.noise();
        sample("spindle/speed", 12_000.0 - 900.0 * wear * wear + 10.0 * noise, "/min");
        let noise = self.noise();
        sample("spindle/current", 8.5 + 4.0 * wear + 0.1 * noise, "A");
        if self.step == FAILURE {
            let message = "front bearing: temperature and vibration over their limits";
            record("spindle", Body::Breakdown(Breakdown { code: "BEARING", severity: Severity::Error, message }));
        }
    }

    /// Between -0.5 and 0.5 (Numerical Recipes' linear congruential generator).
    fn noise(&mut self) -> f64 {
        self.noise = self.noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(self.noise >> 16) / 65_536.0 - 0.5
    }
}

fn sample(subject: &'static str, value: f64, unit: &'static str) {
    record(subject, Body::Sample(Sample { value: Value::Float(value), unit, quality: Quality::Good }));
}

static STORM: AtomicU32 = AtomicU32::new(0);
static STORM_LEN: AtomicU32 = AtomicU32::new(0);

/// From the next tick on, so many ticks record a sample from the interrupt.
pub fn begin_storm(count: u32) {
    STORM.store(0, Ordering::Relaxed);
    STORM_LEN.store(count, Ordering::Relaxed);
}

/// From the timer's interrupt.
pub fn storm() {
    let (at, len) = (STORM.load(Ordering::Relaxed), STORM_LEN.load(Ordering::Relaxed));
    if at == len {
        return;
    }
    let value = Value::Integer(at.into());
    record("spindle/storm", Body::Sample(Sample { value, unit: "", quality: Quality::Good }));
    STORM.store(at + 1, Ordering::Relaxed);
    if at + 1 == len {
        print_line(format_args!("done storm"));
    }
}
