//! By what a file is known again: the beginning of its text, wherever it lies and whatever it is called.

use afferent_protocol::sign::sha256;

use crate::limits::FINGERPRINT_BYTES_MAX;

/// The beginning of a text. It grows with the text, up to [`FINGERPRINT_BYTES_MAX`] bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// So many bytes are in it.
    pub known: usize,
    /// The first bytes of their SHA-256.
    pub hash: [u8; 8],
}

impl Fingerprint {
    /// Of all of these bytes, as far as they count.
    pub fn of(bytes: &[u8]) -> Self {
        let known = bytes.len().min(FINGERPRINT_BYTES_MAX);
        let mut hash = [0; 8];
        if known > 0 {
            hash.copy_from_slice(&sha256(&bytes[..known])[..8]);
        }
        Self { known, hash }
    }

    /// Whether a text that begins with these bytes is the one that this was made of, perhaps grown since.
    pub fn fits(&self, beginning: &[u8]) -> bool {
        beginning.get(..self.known).is_some_and(|bytes| Self::of(bytes) == *self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_again_when_it_has_grown_and_not_when_it_has_changed() {
        let before = Fingerprint::of(b"one\n");
        assert!(before.fits(b"one\n") && before.fits(b"one\ntwo\n"));
        assert!(!before.fits(b"one") && !before.fits(b"two\none\n"));
        assert!(Fingerprint::of(b"").fits(b"anything"));
        let long = vec![b'x'; FINGERPRINT_BYTES_MAX + 9];
        assert_eq!(Fingerprint::of(&long), Fingerprint::of(&long[..FINGERPRINT_BYTES_MAX]));
    }
}
