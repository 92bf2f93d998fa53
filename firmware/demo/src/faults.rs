//! What tests ask for: ways to break down. None of them comes back.

/// An index out of range.
#[inline(never)]
pub fn panic(index: usize) {
    let readings = [1, 2, 3];
    assert!(readings.get(index).is_some(), "reading {index} of {} was asked for", readings.len());
}

/// A read where there is nothing.
#[inline(never)]
pub fn bad_read() -> u32 {
    // SAFETY: there is none: the fault is the purpose.
    unsafe { (0x6000_0000 as *const u32).read_volatile() }
}

/// An instruction that there is not.
#[inline(never)]
pub fn undefined_instruction() {
    // SAFETY: there is none: the fault is the purpose.
    unsafe { core::arch::asm!("udf #1") }
}

/// A loop forever, with interrupts on.
#[inline(never)]
pub fn hang() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
