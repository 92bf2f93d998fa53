//! Ticks since boot, from SysTick; its interrupt is also the one that records storms.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{SCB, SYST};
use cortex_m_rt::exception;

use crate::spindle;

const CLOCK_MHZ: u32 = 25;
const RELOAD: u32 = CLOCK_MHZ * 1000 - 1;

/// Milliseconds since boot: enough for 49 days of a demo.
static MILLISECONDS: AtomicU32 = AtomicU32::new(0);

pub fn start() {
    let mut peripherals = cortex_m::Peripherals::take().expect("main runs once");
    peripherals.SYST.set_clock_source(SystClkSource::Core);
    peripherals.SYST.set_reload(RELOAD);
    peripherals.SYST.clear_current();
    peripherals.SYST.enable_counter();
    peripherals.SYST.enable_interrupt();
}

/// Microseconds since boot.
pub fn now_us() -> u64 {
    loop {
        let before = MILLISECONDS.load(Ordering::Relaxed);
        let count = SYST::get_current();
        // Within an interrupt or a critical section a millisecond can be over and not yet counted.
        let pending = u32::from(SCB::is_pendst_pending() && count > RELOAD / 2);
        if before == MILLISECONDS.load(Ordering::Relaxed) {
            return u64::from(before + pending) * 1000 + u64::from((RELOAD - count) / CLOCK_MHZ);
        }
    }
}

#[exception]
fn SysTick() {
    MILLISECONDS.fetch_add(1, Ordering::Relaxed);
    spindle::storm();
}
