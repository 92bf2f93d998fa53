//! Endorsements: a key of a log allows a second key to sign as well, or in its place.
//!
//! ```text
//! 0       1      2        18    50    82          146
//! ├───────┼──────┼────────┼─────┼─────┼───────────┤
//! │version│ role │ log id │ key │ by  │ signature │
//! └───────┴──────┴────────┴─────┴─────┴───────────┘
//! ```

use crate::sign::{Context, Identity, PublicKey, sha256};

/// Bytes of an endorsement.
pub const ENDORSEMENT_LEN: usize = 146;
const SIGNED_LEN: usize = ENDORSEMENT_LEN - 64;
const VERSION: u8 = 1;

/// What the other key is endorsed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes the place of the one that endorses it, which signs no more.
    Successor,
    /// It is that of a collector that works on the same log.
    Colleague,
}

/// A statement of one key that it endorses a second key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endorsement {
    /// The role of the endorsed key.
    pub role: Role,
    /// For which log.
    pub log_id: [u8; 16],
    /// The key that is endorsed.
    pub key: PublicKey,
    /// The key that endorses it.
    pub by: PublicKey,
}

impl Endorsement {
    fn signed_bytes(&self) -> [u8; SIGNED_LEN] {
        let mut bytes = [0; SIGNED_LEN];
        bytes[0] = VERSION;
        bytes[1] = u8::from(self.role == Role::Colleague);
        bytes[2..18].copy_from_slice(&self.log_id);
        bytes[18..50].copy_from_slice(&self.key.0);
        bytes[50..].copy_from_slice(&self.by.0);
        bytes
    }

    /// The endorsement's bytes, signed.
    ///
    /// # Panics
    /// When `identity` is not the one that endorses.
    pub fn sign(&self, identity: &Identity) -> [u8; ENDORSEMENT_LEN] {
        assert_eq!(identity.public_key(), self.by, "an endorsement names the key that signs it");
        let mut bytes = [0; ENDORSEMENT_LEN];
        bytes[..SIGNED_LEN].copy_from_slice(&self.signed_bytes());
        let signature = identity.sign_in(Context::Endorsement, &sha256(&self.signed_bytes()));
        bytes[SIGNED_LEN..].copy_from_slice(&signature);
        bytes
    }

    /// Reads an endorsement, and checks that the key which it names as the endorser has signed it. The caller decides
    /// whether to trust that key.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ENDORSEMENT_LEN] = bytes.try_into().ok()?;
        let role = match (bytes[0], bytes[1]) {
            (VERSION, 0) => Role::Successor,
            (VERSION, 1) => Role::Colleague,
            _ => return None,
        };
        let array = |at: usize| bytes[at..at + 32].try_into().expect("thirty-two bytes");
        let log_id = bytes[2..18].try_into().expect("sixteen bytes");
        let endorsement = Self { role, log_id, key: PublicKey(array(18)), by: PublicKey(array(50)) };
        let signature = bytes[SIGNED_LEN..].try_into().expect("sixty-four bytes");
        let hash = sha256(&bytes[..SIGNED_LEN]);
        endorsement.by.verifier()?.verify_in(Context::Endorsement, &hash, signature).then_some(endorsement)
    }
}

const _: () = assert!(ENDORSEMENT_LEN <= crate::limits::STATEMENT_BYTES_MAX);
