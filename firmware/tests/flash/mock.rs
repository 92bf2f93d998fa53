//! NOR flash in memory that loses its power after so many bytes.

use embedded_storage_async::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

pub const PAGE: usize = 512;
pub const PAGES: usize = 4;

#[derive(Clone, Debug)]
pub struct Flash {
    pub bytes: Vec<u8>,
    /// Bytes that can be written or erased before the power is gone.
    pub power: Option<usize>,
    /// Bytes written or erased so far.
    pub spent: usize,
    /// The control: a chip that says "written" too early, and loses its last whole write with the power.
    pub forgets: bool,
    pub last: Option<(usize, Vec<u8>)>,
}

/// The power is gone, or flash cannot do that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl NorFlashError for Refused {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl ErrorType for Flash {
    type Error = Refused;
}

impl Flash {
    pub fn new() -> Self {
        Self { bytes: vec![0xFF; PAGE * PAGES], power: None, spent: 0, forgets: false, last: None }
    }

    fn spend(&mut self) -> Result<(), Refused> {
        if self.power == Some(0) {
            if self.forgets
                && let Some((at, before)) = self.last.take()
            {
                self.bytes[at..at + before.len()].copy_from_slice(&before);
            }
            return Err(Refused);
        }
        self.spent += 1;
        self.power = self.power.map(|power| power - 1);
        Ok(())
    }
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Refused> {
        if self.power == Some(0) {
            return self.spend();
        }
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Refused> {
        for at in from as usize..to as usize {
            self.spend()?;
            self.bytes[at] = 0xFF;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Refused> {
        assert!(offset.is_multiple_of(4) && bytes.len().is_multiple_of(4), "whole words are written");
        let from = offset as usize;
        let before = self.bytes[from..from + bytes.len()].to_vec();
        for (at, byte) in bytes.iter().enumerate() {
            self.spend()?;
            if self.bytes[from + at] & byte != *byte {
                // A zero cannot become a one.
                return Err(Refused);
            }
            self.bytes[from + at] = *byte;
        }
        self.last = Some((from, before));
        Ok(())
    }
}

impl MultiwriteNorFlash for Flash {}
