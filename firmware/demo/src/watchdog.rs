//! CMSDK watchdog: the first timeout warns, with a non-maskable interrupt, the second one resets.

const BASE: usize = 0x4000_8000;
const LOAD: usize = 0;
const CONTROL: usize = 2;
const CLEAR: usize = 3;
const LOCK: usize = 0xC00 / 4;
const UNLOCK: u32 = 0x1ACC_E551;
const WARN_AND_RESET: u32 = 3;
/// One second at 25 MHz.
const TIMEOUT: u32 = 25_000_000;

fn write(register: usize, value: u32) {
    // SAFETY: this is one of the watchdog's registers.
    unsafe { (BASE as *mut u32).add(register).write_volatile(value) }
}

pub fn start() {
    write(LOCK, UNLOCK);
    write(LOAD, TIMEOUT);
    write(CONTROL, WARN_AND_RESET);
}

/// Says that the main loop is alive.
pub fn feed() {
    write(CLEAR, 1);
}
