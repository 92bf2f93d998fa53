//! The numbers of the codecs.

/// The codecs that were ever released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// 1: row by row, in postcard.
    Rows,
    /// 255: retention has removed the records, and the body is the chain hash that the batch had. No sender uses it.
    Removed,
}

impl Codec {
    /// The number in the batch header.
    pub const fn number(self) -> u8 {
        match self {
            Self::Rows => 1,
            Self::Removed => 255,
        }
    }

    /// The codec with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Rows),
            255 => Some(Self::Removed),
            _ => None,
        }
    }
}
