//! What is written down while the controller goes down: panics, faults, and the watchdog's early warning.

use core::arch::global_asm;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::ptr::addr_of_mut;

use afferent_firmware::crash::{Crash, CrashCell, CrashKind, Registers};
use cortex_m::peripheral::SCB;
use cortex_m_rt::{ExceptionFrame, exception};

/// Outlives a reset, not a power cut.
#[unsafe(link_section = ".uninit.CRASH")]
static mut CRASH: MaybeUninit<CrashCell> = MaybeUninit::uninit();

/// Says that RAM was not lost: a number that is unlikely to be there by chance.
#[unsafe(link_section = ".uninit.WAS_ON")]
static mut WAS_ON: MaybeUninit<u32> = MaybeUninit::uninit();
const ON: u32 = 0x5AFE_0A11;

/// Whether the power has been on since the boot before.
pub fn was_on() -> bool {
    let place = addr_of_mut!(WAS_ON).cast::<u32>();
    // SAFETY: any bytes are a number; only this function, once a boot, touches it.
    unsafe {
        let was_on = place.read_volatile() == ON;
        place.write_volatile(ON);
        was_on
    }
}

/// What the boot before wrote down.
pub fn take() -> Option<Crash> {
    cell().take()
}

fn cell() -> &'static mut CrashCell {
    // SAFETY: any bytes are a valid cell. It is taken at the start of main, and later only by handlers that never
    // return; the two references are never used in turn.
    unsafe { &mut *addr_of_mut!(CRASH).cast::<CrashCell>() }
}

fn reset() -> ! {
    SCB::sys_reset()
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    cortex_m::interrupt::disable();
    cell().panic_in_words(info, &Registers::default());
    reset()
}

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    cell().fault(CrashKind::of_fault(scb().0), &registers(frame));
    reset()
}

/// CFSR, HFSR, MMFAR and BFAR.
fn scb() -> (u32, u32, u32, u32) {
    // SAFETY: reading these registers has no effect on anything.
    let scb = unsafe { &*SCB::PTR };
    (scb.cfsr.read(), scb.hfsr.read(), scb.mmfar.read(), scb.bfar.read())
}

fn registers(frame: &ExceptionFrame) -> Registers {
    let (cfsr, hfsr, mmfar, bfar) = scb();
    // Bits that say that the address registers are valid.
    let address = match (cfsr & 1 << 7 != 0, cfsr & 1 << 15 != 0) {
        (true, _) => mmfar,
        (_, true) => bfar,
        _ => 0,
    };
    Registers { pc: frame.pc(), lr: frame.lr(), psr: frame.xpsr(), cfsr, hfsr, address }
}

// The watchdog's first timeout is a non-maskable interrupt; the frame that it pushed tells where the program hangs. The
// demo has one stack.
global_asm!(".global NonMaskableInt", ".thumb_func", "NonMaskableInt:", "mov r0, sp", "b watchdog_warning");

#[unsafe(no_mangle)]
extern "C" fn watchdog_warning(frame: &ExceptionFrame) -> ! {
    let registers = Registers { pc: frame.pc(), lr: frame.lr(), psr: frame.xpsr(), ..Registers::default() };
    cell().fault(CrashKind::Watchdog, &registers);
    reset()
}
