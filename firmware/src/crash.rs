//! What a controller knows of its own last crash: written while it goes down, read after the reboot.
//!
//! A [`CrashCell`] lies in uninitialised RAM (`.uninit`). Handlers write into it and reset; after the reboot
//! [`CrashCell::take`] gives what was written, if its checksum is right, and [`Crash::message`] makes the breakdown
//! event of it. The first crash counts: a watchdog that bites because a panic hangs does not cover the panic up.
//!
//! Which memory, which handlers and how to reset are the firmware's part: `demo/src/crash.rs` shows them for a
//! Cortex-M3.

use core::fmt::Write;
use core::panic::PanicInfo;

use afferent_protocol::checksum::{crc32c, crc32c_append};
use heapless::String;

use crate::limits::CRASH_TEXT_BYTES_MAX;

/// Bytes of a crash's message, at most.
const MESSAGE_BYTES_MAX: usize = CRASH_TEXT_BYTES_MAX + 120;

/// What brought the controller down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// The program has panicked.
    Panic,
    /// An access that the memory protection refused.
    MemoryFault,
    /// An access to an address without memory.
    BusFault,
    /// An undefined instruction.
    UndefinedInstruction,
    /// An operation that the processor does not support: an unaligned access, a division by zero, a wrong state.
    UsageFault,
    /// A fault without further registers.
    HardFault,
    /// The main loop did not feed the watchdog.
    Watchdog,
}

impl CrashKind {
    const ALL: [Self; 7] = [
        Self::Panic,
        Self::MemoryFault,
        Self::BusFault,
        Self::UndefinedInstruction,
        Self::UsageFault,
        Self::HardFault,
        Self::Watchdog,
    ];

    /// The code of the breakdown event.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Panic => "PANIC",
            Self::MemoryFault => "MEMORY_FAULT",
            Self::BusFault => "BUS_FAULT",
            Self::UndefinedInstruction => "UNDEFINED_INSTRUCTION",
            Self::UsageFault => "USAGE_FAULT",
            Self::HardFault => "HARD_FAULT",
            Self::Watchdog => "WATCHDOG",
        }
    }

    /// The kind of a fault, from the Configurable Fault Status Register (Armv7-M, B3.2.15).
    pub const fn of_fault(cfsr: u32) -> Self {
        if cfsr & 0x0001_0000 != 0 {
            Self::UndefinedInstruction
        } else if cfsr & 0xFFFF_0000 != 0 {
            Self::UsageFault
        } else if cfsr & 0xFF00 != 0 {
            Self::BusFault
        } else if cfsr & 0xFF != 0 {
            Self::MemoryFault
        } else {
            Self::HardFault
        }
    }
}

/// The processor's registers at the fault; zeros where it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Registers {
    /// The stacked program counter: where it happened, or where it hung.
    pub pc: u32,
    /// The stacked link register: from where that was called.
    pub lr: u32,
    /// The stacked program status.
    pub psr: u32,
    /// Configurable Fault Status Register.
    pub cfsr: u32,
    /// HardFault Status Register.
    pub hfsr: u32,
    /// The address of the access, where it is valid.
    pub address: u32,
}

/// A crash of the boot before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// The kind of the crash.
    pub kind: CrashKind,
    /// The processor's registers at the fault.
    pub registers: Registers,
    /// A panic's place and message, in UTF-8 that can be cut off in a character.
    text: [u8; CRASH_TEXT_BYTES_MAX],
    text_len: usize,
}

/// Where a crash is kept. All its fields are numbers, any bytes are a valid value of it.
#[derive(Debug)]
#[repr(C)]
pub struct CrashCell {
    kind: u32,
    registers: [u32; 6],
    text_len: u32,
    text: [u8; CRASH_TEXT_BYTES_MAX],
    crc: u32,
}

impl Default for CrashCell {
    fn default() -> Self {
        Self::new()
    }
}

impl CrashCell {
    /// A cell without a crash.
    pub const fn new() -> Self {
        Self { kind: 0, registers: [0; 6], text_len: 0, text: [0; CRASH_TEXT_BYTES_MAX], crc: 0 }
    }

    #[inline(never)]
    fn checksum(&self) -> u32 {
        let mut crc = crc32c(&self.text);
        for word in [self.kind, self.text_len].iter().chain(&self.registers) {
            crc = crc32c_append(crc, &word.to_le_bytes());
        }
        // Zeros must not be valid.
        !crc
    }

    /// Writes a fault down, unless a crash is written down already.
    pub fn fault(&mut self, kind: CrashKind, registers: &Registers) {
        if self.crc != self.checksum() {
            self.put(kind, registers, 0);
        }
    }

    /// Writes a panic's place down, and its words if they have no arguments, unless a crash is written down already.
    pub fn panic(&mut self, info: &PanicInfo<'_>, registers: &Registers) {
        self.panic_with(info, registers, |info, text| text.put(info.message().as_str().unwrap_or("")));
    }

    /// The same with the panic's words, whatever they are: this brings the formatting machinery and the text of every
    /// panic into the firmware, see the size table.
    pub fn panic_in_words(&mut self, info: &PanicInfo<'_>, registers: &Registers) {
        self.panic_with(info, registers, |info, text| {
            // What does not fit is cut off; that is no error.
            let _ = write!(text, "{}", info.message());
        });
    }

    fn panic_with(&mut self, info: &PanicInfo<'_>, registers: &Registers, words: fn(&PanicInfo<'_>, &mut Text<'_>)) {
        if self.crc == self.checksum() {
            return;
        }
        let mut text = Text { bytes: &mut self.text, len: 0 };
        if let Some(place) = info.location() {
            text.put(place.file());
            text.put(":");
            text.put_decimal(place.line());
            text.put(": ");
        }
        words(info, &mut text);
        let len = text.len;
        self.put(CrashKind::Panic, registers, len);
    }

    fn put(&mut self, kind: CrashKind, registers: &Registers, text_len: usize) {
        self.kind = kind as u32;
        let Registers { pc, lr, psr, cfsr, hfsr, address } = *registers;
        self.registers = [pc, lr, psr, cfsr, hfsr, address];
        self.text_len = text_len as u32;
        self.crc = self.checksum();
    }

    /// Takes what the boot before wrote down; `None` when it did not crash, or the memory lost it.
    pub fn take(&mut self) -> Option<Crash> {
        let is_valid = self.crc == self.checksum();
        self.crc = !self.checksum();
        if !is_valid {
            return None;
        }
        let kind = *CrashKind::ALL.get(self.kind as usize)?;
        let [pc, lr, psr, cfsr, hfsr, address] = self.registers;
        let registers = Registers { pc, lr, psr, cfsr, hfsr, address };
        Some(Crash { kind, registers, text: self.text, text_len: self.text_len as usize })
    }
}

impl Crash {
    /// The message of the breakdown event, as `src/main.rs:7: out of range; pc 0x000012a4, lr 0x00001299`.
    pub fn message(&self) -> String<MESSAGE_BYTES_MAX> {
        let mut message = String::new();
        let mut text = self.text.get(..self.text_len).unwrap_or(&[]);
        while let Some(character) = take_character(&mut text) {
            put(&mut message, character);
        }
        let Registers { pc, lr, psr, cfsr, hfsr, address } = self.registers;
        const NAMES: [&str; 6] = ["pc", "lr", "psr", "cfsr", "hfsr", "address"];
        for (name, value) in NAMES.iter().zip([pc, lr, psr, cfsr, hfsr, address]) {
            if value == 0 {
                continue;
            }
            let separator = if message.is_empty() { "" } else { ", " };
            for part in [separator, name, " 0x"] {
                part.bytes().for_each(|byte| put(&mut message, char::from(byte)));
            }
            for nibble in (0..8).rev() {
                put(&mut message, char::from_digit(value >> (4 * nibble) & 0xF, 16).unwrap_or('0'));
            }
        }
        message
    }
}

#[inline(never)]
fn put(message: &mut String<MESSAGE_BYTES_MAX>, character: char) {
    // All of it fits: see the limits.
    let _ = message.push(character);
}

/// Takes a character off the front of what was UTF-8 once; `None` where it ends or is cut off.
fn take_character(bytes: &mut &[u8]) -> Option<char> {
    let (first, rest) = bytes.split_first()?;
    let ones = first.leading_ones();
    let (following, rest) = rest.split_at_checked(ones.saturating_sub(1) as usize)?;
    let first = u32::from(*first) & 0x7F >> ones;
    let code = following.iter().fold(first, |code, byte| code << 6 | u32::from(byte & 0x3F));
    *bytes = rest;
    char::from_u32(code)
}

/// Text in a buffer; what does not fit is cut off.
struct Text<'b> {
    bytes: &'b mut [u8],
    len: usize,
}

impl Text<'_> {
    #[inline(never)]
    fn put(&mut self, text: &str) {
        let place = self.bytes.get_mut(self.len..).unwrap_or(&mut []);
        let len = place.len().min(text.len());
        place.iter_mut().zip(text.bytes()).for_each(|(place, byte)| *place = byte);
        self.len += len;
    }

    fn put_decimal(&mut self, value: u32) {
        let mut divisor = 1_000_000_000;
        while divisor > 1 && value / divisor == 0 {
            divisor /= 10;
        }
        while divisor > 0 {
            let at = (value / divisor % 10) as usize;
            self.put("0123456789".get(at..at + 1).unwrap_or(""));
            divisor /= 10;
        }
    }
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.put(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_found_once_and_the_first_one_counts() {
        let mut cell = CrashCell::new();
        assert_eq!(cell.take(), None);
        let registers =
            Registers { pc: 0x12A4, lr: 0x1299, cfsr: 0x8200, address: 0x6000_0000, ..Registers::default() };
        cell.fault(CrashKind::of_fault(registers.cfsr), &registers);
        cell.fault(CrashKind::Watchdog, &Registers::default());
        let crash = cell.take().unwrap();
        assert_eq!((crash.kind, crash.registers), (CrashKind::BusFault, registers));
        assert_eq!(crash.message(), "pc 0x000012a4, lr 0x00001299, cfsr 0x00008200, address 0x60000000");
        assert_eq!(cell.take(), None);
    }

    #[test]
    fn memory_that_lost_a_bit_is_no_crash() {
        for bit in 0..u32::BITS {
            let mut cell = CrashCell::new();
            cell.fault(CrashKind::Watchdog, &Registers { pc: 0x12A4, ..Registers::default() });
            cell.registers[0] ^= 1 << bit;
            assert_eq!(cell.take(), None);
        }
    }

    #[test]
    fn a_text_that_is_cut_off_in_a_character_ends_before_it() {
        let text = "zu heiß: 90 °C, 𝄞";
        for len in 0..=text.len() {
            let mut cell = CrashCell::new();
            Text { bytes: &mut cell.text, len: 0 }.put(text);
            cell.put(CrashKind::Panic, &Registers::default(), len);
            let whole = (0..=len).rev().find(|len| text.is_char_boundary(*len)).unwrap();
            assert_eq!(cell.take().unwrap().message(), text[..whole]);
        }
    }

    #[test]
    fn numbers_are_written_as_people_read_them() {
        let mut bytes = [0; 40];
        let mut text = Text { bytes: &mut bytes, len: 0 };
        for value in [0, 7, 10, 4_294_967_295] {
            text.put_decimal(value);
            text.put(" ");
        }
        let len = text.len;
        assert_eq!(core::str::from_utf8(&bytes[..len]), Ok("0 7 10 4294967295 "));
    }
}
