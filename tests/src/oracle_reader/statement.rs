//! Attestations and endorsements, read by their tables, and the running hash of a log.

use super::ReadEntry;
use super::batch::{le, time};
use super::signature::{is_signed, sha256};

/// An attestation as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadAttestation {
    /// Who says to have signed it.
    pub key: [u8; 32],
    /// The log.
    pub log_id: [u8; 16],
    /// The partition.
    pub partition: u32,
    /// The term.
    pub term: u64,
    /// Its number.
    pub number: u64,
    /// What it covers ends here.
    pub end: u64,
    /// Stamp of the last entry that it covers.
    pub time: i64,
    /// Digest of the one before.
    pub previous: [u8; 32],
    /// The running hash.
    pub hash: [u8; 32],
    /// Its own digest.
    pub digest: [u8; 32],
    /// Whether its key has signed it.
    pub is_signed: bool,
}

/// Reads an attestation.
pub fn read_attestation(bytes: &[u8]) -> Result<ReadAttestation, String> {
    let bytes: &[u8; 213] = bytes.try_into().map_err(|_| format!("an attestation of {} bytes", bytes.len()))?;
    if bytes[0] != 1 {
        return Err(format!("version {} of an attestation", bytes[0]));
    }
    let array = |at: usize| -> [u8; 32] { bytes[at..at + 32].try_into().expect("32 bytes") };
    let (key, digest) = (array(1), sha256(&bytes[..149]));
    let signature = bytes[149..].try_into().expect("64 bytes");
    Ok(ReadAttestation {
        key,
        log_id: bytes[33..49].try_into().expect("16 bytes"),
        partition: le(&bytes[49..53]) as u32,
        term: le(&bytes[53..61]),
        number: le(&bytes[61..69]),
        end: le(&bytes[69..77]),
        time: time(&bytes[77..85])?,
        previous: array(85),
        hash: array(117),
        digest,
        is_signed: is_signed(b"afferent attest v1\0\0", &digest, &key, signature),
    })
}

/// An endorsement as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadEndorsement {
    /// `successor` or `colleague`.
    pub role: &'static str,
    /// For which log.
    pub log_id: [u8; 16],
    /// The key that is endorsed.
    pub key: [u8; 32],
    /// The key that endorses it.
    pub by: [u8; 32],
    /// Whether that key has signed it.
    pub is_signed: bool,
}

/// Reads an endorsement.
pub fn read_endorsement(bytes: &[u8]) -> Result<ReadEndorsement, String> {
    let bytes: &[u8; 146] = bytes.try_into().map_err(|_| format!("an endorsement of {} bytes", bytes.len()))?;
    let role = match bytes[..2] {
        [1, 0] => "successor",
        [1, 1] => "colleague",
        [version, role] => return Err(format!("version {version}, role {role} of an endorsement")),
        _ => unreachable!("two bytes"),
    };
    let by = bytes[50..82].try_into().expect("32 bytes");
    let signature = bytes[82..].try_into().expect("64 bytes");
    Ok(ReadEndorsement {
        role,
        log_id: bytes[2..18].try_into().expect("16 bytes"),
        key: bytes[18..50].try_into().expect("32 bytes"),
        by,
        is_signed: is_signed(b"afferent endorse v1\0", &sha256(&bytes[..82]), &by, signature),
    })
}

/// The running hash behind this entry.
pub fn running(hash: &[u8; 32], entry: &ReadEntry) -> [u8; 32] {
    let (ordinal, stamp) = (entry.ordinal.to_le_bytes(), entry.stamp.to_le_bytes());
    let clock_offset: Vec<u8> = entry.clock_offset.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    sha256(&[&hash[..], &ordinal, &stamp, &entry.batch.count.to_le_bytes(), &entry.batch.chain, &clock_offset].concat())
}

/// What is wrong with the attestations in a log of this id that begins at offset 0 and has all these entries, as sentences.
///
/// They must be signed by `key`, be of this log and its partition 0, form a chain from number 0 on, and each have the running
/// hash and the stamp of the entry that ends where it does.
pub fn check_attestations(log_id: [u8; 16], entries: &[ReadEntry], key: &[u8; 32]) -> Vec<String> {
    let (mut problems, mut hash) = (vec![], [0; 32]);
    let mut seen: Vec<(u64, i64, [u8; 32])> = vec![];
    let (mut number, mut previous) = (0, [0; 32]);
    for entry in entries {
        for event in &entry.batch.events {
            let Some(bytes) = event.statement.as_ref().filter(|_| event.body.starts_with("attested ")) else {
                continue;
            };
            let attestation = match read_attestation(bytes) {
                Ok(attestation) => attestation,
                Err(problem) => {
                    problems.push(problem);
                    continue;
                }
            };
            let name = format!("attestation {}", attestation.number);
            if !attestation.is_signed || attestation.key != *key {
                problems.push(format!("{name}: the log's key has not signed it"));
            }
            if (attestation.log_id, attestation.partition) != (log_id, 0) {
                problems.push(format!("{name}: it is of another log"));
            }
            if (attestation.number, attestation.previous) != (number, previous) {
                problems.push(format!("{name}: it does not follow the one before"));
            }
            (number, previous) = (attestation.number + 1, attestation.digest);
            let reached = seen.iter().find(|(end, ..)| *end == attestation.end);
            match reached {
                Some((_, stamp, hash)) if (*stamp, *hash) == (attestation.time, attestation.hash) => {}
                Some(_) => problems.push(format!("{name}: the log before {} is not what it attests", attestation.end)),
                None => problems.push(format!("{name}: no entry ends at {}", attestation.end)),
            }
        }
        hash = running(&hash, entry);
        seen.push((entry.ordinal + u64::from(entry.batch.count), entry.stamp, hash));
    }
    problems
}
