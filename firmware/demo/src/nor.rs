//! A file-backed memory of QEMU, used as NOR flash: what flash does not do, this driver does not do.
//!
//! Erasing sets a whole sector to ones; writing turns ones into zeros and never back, whole words at a time.

use core::ops::Range;

use embedded_storage_async::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

const BASE: usize = 0x2100_0000;
const CAPACITY: usize = 16 << 20;
const SECTOR: usize = 4096;
const WORD: usize = 4;

/// Where the queue lies.
pub const QUEUE: Range<u32> = 0..0x1_0000;
/// Where boots are counted.
pub const BOOTS: Range<u32> = 0x1_0000..0x1_4000;
/// Where the unique number stands.
pub const UNIQUE: u32 = 0x2_0000;

/// The flash. There is one.
pub struct Nor;

#[derive(Clone, Copy, Debug)]
pub struct Refused(NorFlashErrorKind);

impl NorFlashError for Refused {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

impl ErrorType for Nor {
    type Error = Refused;
}

fn place(offset: u32, len: usize, unit: usize) -> Result<*mut u8, Refused> {
    let offset = offset as usize;
    if offset % unit != 0 || len % unit != 0 {
        return Err(Refused(NorFlashErrorKind::NotAligned));
    }
    if offset > CAPACITY || len > CAPACITY - offset {
        return Err(Refused(NorFlashErrorKind::OutOfBounds));
    }
    Ok((BASE + offset) as *mut u8)
}

impl ReadNorFlash for Nor {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Refused> {
        read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        CAPACITY
    }
}

impl NorFlash for Nor {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Refused> {
        erase(from, to)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Refused> {
        write(offset, bytes)
    }
}

impl MultiwriteNorFlash for Nor {}

pub fn read(offset: u32, bytes: &mut [u8]) -> Result<(), Refused> {
    let from = place(offset, bytes.len(), 1)?;
    for (at, byte) in bytes.iter_mut().enumerate() {
        // SAFETY: `place` has checked that all of it lies in the flash's memory, which nothing else refers to.
        *byte = unsafe { from.add(at).read_volatile() };
    }
    Ok(())
}

pub fn write(offset: u32, bytes: &[u8]) -> Result<(), Refused> {
    let to = place(offset, bytes.len(), WORD)?;
    for (at, byte) in bytes.iter().enumerate() {
        // SAFETY: as for reading.
        let there = unsafe { to.add(at).read_volatile() };
        if there & byte != *byte {
            return Err(Refused(NorFlashErrorKind::Other));
        }
        // SAFETY: as for reading.
        unsafe { to.add(at).write_volatile(*byte) };
    }
    Ok(())
}

pub fn erase(from: u32, to: u32) -> Result<(), Refused> {
    let len = to.checked_sub(from).ok_or(Refused(NorFlashErrorKind::OutOfBounds))? as usize;
    let at = place(from, len, SECTOR)?;
    for byte in 0..len {
        // SAFETY: as for reading.
        unsafe { at.add(byte).write_volatile(0xFF) };
    }
    Ok(())
}
