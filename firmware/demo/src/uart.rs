//! CMSDK UARTs. UART0 is the line to the agent, UART1 the console.
//!
//! Received bytes are polled: QEMU holds the next one back until the one before was read. A real UART needs an
//! interrupt or DMA there.

use core::convert::Infallible;

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};

use crate::time;

const DATA: usize = 0;
const STATE: usize = 1;
const CTRL: usize = 2;
const BAUDDIV: usize = 4;
const TX_FULL: u32 = 1;
const RX_FULL: u32 = 2;
const TX_RX_ENABLE: u32 = 3;

/// Microseconds that a byte takes at 115200 baud, 8N1. QEMU's UART takes bytes as fast as they are written.
const BYTE_US: u64 = 87;

/// One UART.
#[derive(Clone, Copy)]
pub struct Uart(*mut u32);

impl Uart {
    pub fn line() -> Self {
        Self::enabled(0x4000_4000)
    }

    pub fn console() -> Self {
        Self::enabled(0x4000_5000)
    }

    fn enabled(base: usize) -> Self {
        let uart = Self(base as *mut u32);
        uart.write_register(BAUDDIV, 217);
        uart.write_register(CTRL, TX_RX_ENABLE);
        uart
    }

    fn read_register(self, register: usize) -> u32 {
        // SAFETY: `Self` is only made with the base address of a UART, whose registers these are.
        unsafe { self.0.add(register).read_volatile() }
    }

    fn write_register(self, register: usize, value: u32) {
        // SAFETY: as for reading.
        unsafe { self.0.add(register).write_volatile(value) }
    }

    pub fn read(self) -> Option<u8> {
        (self.read_register(STATE) & RX_FULL != 0).then(|| self.read_register(DATA) as u8)
    }

    pub fn has_byte(self) -> bool {
        self.read_register(STATE) & RX_FULL != 0
    }

    pub fn is_full(self) -> bool {
        self.read_register(STATE) & TX_FULL != 0
    }

    /// Writes a byte, for which there must be room.
    pub fn write(self, byte: u8) {
        self.write_register(DATA, byte.into());
    }
}

/// The line to the agent, at the speed of a real one.
pub struct Line {
    uart: Uart,
    free_at_us: u64,
}

impl Line {
    pub fn new() -> Self {
        Self { uart: Uart::line(), free_at_us: 0 }
    }
}

impl ErrorType for Line {
    type Error = Infallible;
}

impl ReadReady for Line {
    fn read_ready(&mut self) -> Result<bool, Infallible> {
        Ok(self.uart.has_byte())
    }
}

impl Read for Line {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        let mut len = 0;
        for place in out {
            let Some(byte) = self.uart.read() else { break };
            *place = byte;
            len += 1;
        }
        Ok(len)
    }
}

impl WriteReady for Line {
    fn write_ready(&mut self) -> Result<bool, Infallible> {
        Ok(time::now_us() >= self.free_at_us && !self.uart.is_full())
    }
}

impl Write for Line {
    /// Writes what the UART takes now, at most 16 bytes: the reader at the other end may be slow, or stopped.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        let mut len = 0;
        for byte in bytes.iter().take(16).take_while(|_| !self.uart.is_full()) {
            self.uart.write(*byte);
            len += 1;
        }
        self.free_at_us = self.free_at_us.max(time::now_us().saturating_sub(BYTE_US)) + len as u64 * BYTE_US;
        Ok(len)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
