//! Attestations: statements, signed with a log's key, about all that the log holds.
//!
//! ```text
//! 0       1       33       49          53     61       69    77     85         117    149        213
//! ├───────┼───────┼────────┼───────────┼──────┼────────┼─────┼──────┼──────────┼──────┼──────────┤
//! │version│ key   │ log id │ partition │ term │ number │ end │ time │ previous │ hash │signature │
//! └───────┴───────┴────────┴───────────┴──────┴────────┴─────┴──────┴──────────┴──────┴──────────┘
//! ```
//!
//! `hash` is what [`Running`] makes of every entry from the log's first one up to `end`; `previous` the
//! [hash](Attestation::digest) of the attestation before it, so that they form a chain. The same bytes are in the log
//! (an event), in an ack, and where an operator keeps them: with one, an auditor can refute a log that was rewritten
//! before it.

use crate::ids::{Offset, Timestamp};
use crate::sign::{Context, Identity, PublicKey, Running, sha256};

/// Bytes of an attestation.
pub const ATTESTATION_LEN: usize = 213;
const SIGNED_LEN: usize = ATTESTATION_LEN - 64;
const VERSION: u8 = 1;

/// The attested statement about a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// The key that signs it.
    pub key: PublicKey,
    /// The log.
    pub log_id: [u8; 16],
    /// The partition.
    pub partition: u32,
    /// The term in which it was made.
    pub term: u64,
    /// Counts up from 0 with every attestation of the partition.
    pub number: u64,
    /// The end (exclusive) of the offsets that it covers.
    pub end: Offset,
    /// The stamp of the entry that ends there: ingest time, by the collector's clock.
    pub time: Timestamp,
    /// Hash of the attestation before it; zeros before the first.
    pub previous: [u8; 32],
    /// The running hash of all entries before `end`.
    pub hash: Running,
}

/// An attestation and its signature, not checked yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unverified {
    attestation: Attestation,
    signature: [u8; 64],
}

impl Attestation {
    fn signed_bytes(&self) -> [u8; SIGNED_LEN] {
        let mut bytes = [0; SIGNED_LEN];
        bytes[0] = VERSION;
        bytes[1..33].copy_from_slice(&self.key.0);
        bytes[33..49].copy_from_slice(&self.log_id);
        bytes[49..53].copy_from_slice(&self.partition.to_le_bytes());
        bytes[53..61].copy_from_slice(&self.term.to_le_bytes());
        bytes[61..69].copy_from_slice(&self.number.to_le_bytes());
        bytes[69..77].copy_from_slice(&self.end.get().to_le_bytes());
        bytes[77..85].copy_from_slice(&self.time.micros().to_le_bytes());
        bytes[85..117].copy_from_slice(&self.previous);
        bytes[117..].copy_from_slice(&self.hash.hash());
        bytes
    }

    /// What the next attestation names as `previous`: SHA-256 of everything before the signature.
    pub fn digest(&self) -> [u8; 32] {
        sha256(&self.signed_bytes())
    }

    /// The attestation's bytes, signed.
    ///
    /// # Panics
    /// When `identity` is not the one whose key it names.
    pub fn sign(&self, identity: &Identity) -> [u8; ATTESTATION_LEN] {
        assert_eq!(identity.public_key(), self.key, "an attestation names the key that signs it");
        let mut bytes = [0; ATTESTATION_LEN];
        bytes[..SIGNED_LEN].copy_from_slice(&self.signed_bytes());
        bytes[SIGNED_LEN..].copy_from_slice(&identity.sign_in(Context::Attestation, &self.digest()));
        bytes
    }

    /// Reads one; `None` when the bytes are none.
    pub fn read(bytes: &[u8]) -> Option<Unverified> {
        let bytes: &[u8; ATTESTATION_LEN] = bytes.try_into().ok()?;
        let word = |at: usize| u64::from_le_bytes(array(bytes, at));
        let attestation = Self {
            key: PublicKey(array(bytes, 1)),
            log_id: array(bytes, 33),
            partition: u32::from_le_bytes(array(bytes, 49)),
            term: word(53),
            number: word(61),
            end: Offset::new(word(69)),
            time: Timestamp::new(word(77) as i64)?,
            previous: array(bytes, 85),
            hash: Running::from_hash(array(bytes, 117)),
        };
        (bytes[0] == VERSION).then_some(Unverified { attestation, signature: array(bytes, SIGNED_LEN) })
    }
}

impl Unverified {
    /// The statement, without checking its signature.
    pub const fn claim(&self) -> &Attestation {
        &self.attestation
    }

    /// The statement, if it is signed with the key that it names. The caller decides whether to trust that key.
    pub fn verify(&self) -> Option<Attestation> {
        let verifier = self.attestation.key.verifier()?;
        let is_signed = verifier.verify_in(Context::Attestation, &self.attestation.digest(), &self.signature);
        is_signed.then_some(self.attestation)
    }
}

/// The bytes at a place.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the layout has so many bytes there")
}

const _: () = assert!(ATTESTATION_LEN <= crate::limits::STATEMENT_BYTES_MAX);
