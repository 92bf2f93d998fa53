//! The chain and the signature: they show later what an agent has sent.
//!
//! The chain hash of a batch is SHA-256 over everything of it but magic, checksum and signature, so that it covers the
//! chain hash of the batch before. The signature is Ed25519 (RFC 8032) over [`CONTEXT`] and the chain hash. What
//! else is signed has a context of its own, so that no signature can mean anything else: see [`Context`].

use ed25519_dalek::{Signer, SigningKey, VerifyingKey};

use crate::batch::{Batch, ChainHash};
pub use crate::checksum::sha256;
use crate::ids::{Offset, Timestamp};

/// Stands before the chain hash in what is signed, so that such a signature can mean nothing else.
pub const CONTEXT: &[u8; 20] = b"afferent batch v1\0\0\0";

/// Stands before the hash of what is signed: what a signature is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A batch.
    Batch,
    /// A signed message of the session; see [`crate::session`].
    Control,
    /// An attestation; see [`crate::attestation`].
    Attestation,
    /// An endorsement; see [`crate::endorsement`].
    Endorsement,
    /// What a collector has found in a segment of its log, for its own certificates.
    Extract,
}

impl Context {
    /// The 20 bytes.
    pub const fn bytes(self) -> &'static [u8; 20] {
        match self {
            Self::Batch => CONTEXT,
            Self::Control => b"afferent control v2\0",
            Self::Attestation => b"afferent attest v1\0\0",
            Self::Endorsement => b"afferent endorse v1\0",
            Self::Extract => b"afferent extract v1\0",
        }
    }
}

fn message(context: &[u8; 20], hash: &[u8; 32]) -> [u8; 52] {
    let mut message = [0; 52];
    message[..20].copy_from_slice(context);
    message[20..].copy_from_slice(hash);
    message
}

/// An Ed25519 key pair: who an agent is.
#[derive(Clone)]
pub struct Identity(SigningKey);

impl core::fmt::Debug for Identity {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Identity({:02x?}…)", &self.public_key().0[..4])
    }
}

impl Identity {
    /// The key pair of 32 secret random bytes.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a chain hash.
    pub fn sign(&self, chain: &ChainHash) -> [u8; 64] {
        self.0.sign(&message(CONTEXT, chain)).to_bytes()
    }

    /// Signs a hash in a context.
    pub fn sign_in(&self, context: Context, hash: &[u8; 32]) -> [u8; 64] {
        self.0.sign(&message(context.bytes(), hash)).to_bytes()
    }
}

/// An Ed25519 public key, not yet known to be a valid point.
#[derive(Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct PublicKey(pub [u8; 32]);

impl core::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl core::fmt::Display for PublicKey {
    /// Sixty-four hexadecimal digits.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl PublicKey {
    /// A checker of signatures by this key, or `None` when it is no key: no point of the curve, not in its canonical
    /// encoding, or of small order, so that anybody could sign with it.
    pub fn verifier(&self) -> Option<Verifier> {
        let key = VerifyingKey::from_bytes(&self.0).ok()?;
        (self.is_canonical() && !key.is_weak()).then_some(Verifier(key))
    }

    /// Whether its y is below the field's prime, 2^255 − 19. (A negative zero as x is of small order.)
    fn is_canonical(&self) -> bool {
        let [low, middle @ .., high] = self.0;
        low < 0xED || high & 0x7F < 0x7F || middle.iter().any(|byte| *byte < 0xFF)
    }
}

/// Checks signatures by one key; decoding the key's point was paid once.
#[derive(Clone, Debug)]
pub struct Verifier(VerifyingKey);

impl Verifier {
    /// Whether `batch` was signed with this key; returns its chain hash if so.
    pub fn verify(&self, batch: &Batch<'_>) -> Option<ChainHash> {
        let chain = batch.chain_hash();
        let signature = ed25519_dalek::Signature::from_bytes(&batch.header().signature);
        self.0.verify_strict(&message(CONTEXT, &chain), &signature).ok().map(|()| chain)
    }

    /// Whether a hash was signed with this key in a context. Strictly: neither key nor signature may be of small order,
    /// and both numbers are in their canonical encoding.
    pub fn verify_in(&self, context: Context, hash: &[u8; 32], signature: &[u8; 64]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        self.0.verify_strict(&message(context.bytes(), hash), &signature).is_ok()
    }
}

/// The hash over a whole unified log, entry after entry, from zeros. It binds offsets, ingest times, the offsets of the
/// sources' clocks, counts and, by their chain hashes, all lanes; it does not change when retention empties a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Running([u8; 32]);

impl Running {
    /// Continues from a hash that was attested.
    pub const fn from_hash(hash: [u8; 32]) -> Self {
        Self(hash)
    }

    /// Takes the next entry: SHA-256 of the hash so far (32 bytes), its first offset (8), its stamp (8), its count (4),
    /// all little-endian, and the chain hash of its batch (32). Where the offset of the batch's clock was measured,
    /// that follows (8): by the length of what is hashed, an offset of zero differs from none.
    pub fn push(
        &mut self,
        first: Offset,
        stamp: Timestamp,
        count: u32,
        chain: &ChainHash,
        clock_offset_us: Option<i64>,
    ) {
        let mut bytes = [0; 92];
        bytes[..32].copy_from_slice(&self.0);
        bytes[32..40].copy_from_slice(&first.get().to_le_bytes());
        bytes[40..48].copy_from_slice(&stamp.micros().to_le_bytes());
        bytes[48..52].copy_from_slice(&count.to_le_bytes());
        bytes[52..84].copy_from_slice(chain);
        bytes[84..].copy_from_slice(&clock_offset_us.unwrap_or_default().to_le_bytes());
        let len = if clock_offset_us.is_some() { bytes.len() } else { 84 };
        self.0 = sha256(&bytes[..len]);
    }

    /// The hash so far.
    pub const fn hash(&self) -> [u8; 32] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// Bytes of 0xFF between two others: the highest values of y.
    fn high(low: u8, high: u8) -> PublicKey {
        let mut bytes = [0xFF; 32];
        (bytes[0], bytes[31]) = (low, high);
        PublicKey(bytes)
    }

    #[test]
    fn a_key_that_is_not_canonical_or_of_small_order_is_no_key() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let zero = PublicKey([0; 32]);
        for weak in [PublicKey(identity), zero, high(0xEC, 0x7F), high(0xEC, 0xFF), high(0xEE, 0x7F), high(0xED, 0xFF)]
        {
            assert!(VerifyingKey::from_bytes(&weak.0).is_ok(), "{weak} is a point, for the library");
            assert!(weak.verifier().is_none(), "{weak}");
        }
        let points = (0xED..=0xFF_u8).flat_map(|low| [high(low, 0x7F), high(low, 0xFF)]);
        let points: Vec<_> = points.filter(|key| VerifyingKey::from_bytes(&key.0).is_ok()).collect();
        let is_strong = |key: &&PublicKey| VerifyingKey::from_bytes(&key.0).is_ok_and(|key| !key.is_weak());
        assert!(points.iter().any(|key| is_strong(&key)), "the library takes some that are not canonical");
        assert!(points.iter().all(|key| key.verifier().is_none()));
        assert!(Identity::from_seed(&[7; 32]).public_key().verifier().is_some());
    }
}
