//! Whether the entries of a log are those that its attestations and the witnesses from outside were made of.
//!
//! The running hash starts at the log's first entry. Where retention has removed that entry, it starts at the first
//! attestation that ends at or behind the oldest entry: from there on entries are bound to each other as before, and
//! the entries before it are bound by signatures and chains alone.

use std::collections::{BTreeMap, VecDeque};

use afferent_host::hex;
use afferent_protocol::attestation::{ATTESTATION_LEN, Attestation};
use afferent_protocol::batch::ChainHash;
use afferent_protocol::ids::{Offset, Timestamp};
use afferent_protocol::segment::EntryHead;
use afferent_protocol::session::signed::LogId;
use afferent_protocol::sign::{PublicKey, Running};
use serde::{Deserialize, Serialize};

use super::keys::LogKeys;

/// Entries behind the newest attestation whose hashes are kept: many minutes of a busy log.
const ENTRIES_MAX: usize = 1 << 18;

/// An entry, as the running hash takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logged {
    pub first: Offset,
    pub end: Offset,
    pub stamp: Timestamp,
    pub count: u32,
    pub chain: ChainHash,
    /// The measured offset of the batch's clock.
    pub clock_offset_us: Option<i64>,
}

impl Logged {
    /// Adds it to a running hash.
    pub fn add_to(&self, hash: &mut Running) {
        hash.push(self.first, self.stamp, self.count, &self.chain, self.clock_offset_us);
    }
}

/// The running hash at an entry's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashMark {
    pub end: Offset,
    pub stamp: Timestamp,
    pub hash: [u8; 32],
}

impl HashMark {
    /// The hash, to continue from.
    pub const fn running(&self) -> Running {
        Running::from_hash(self.hash)
    }
}

/// The running hash, as far as it is known.
#[derive(Debug)]
enum Hash {
    /// The log's beginning is not kept, and no attestation has given the hash yet.
    Unknown(VecDeque<Logged>),
    /// At the end of the last entry.
    Known(Running),
}

/// A contradiction between the log and an attestation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// The attestation cannot be read, or its signature is wrong.
    #[error("the attestation at offset {0} is not signed with its own key")]
    Unsigned(Offset),
    /// A foreign key has signed it.
    #[error("attestation {number} is signed with the key {key}, which no key of this log has endorsed")]
    OtherKey {
        /// Its number.
        number: u64,
        /// The key, hexadecimal.
        key: String,
    },
    /// It is of a different log, or of a different partition of this one.
    #[error("attestation {0} is from another log, or another partition of it")]
    OtherLog(u64),
    /// Its term is not in the log.
    #[error("attestation {number} was made in the term {term:016x}, which this log does not have")]
    Term {
        /// Its number.
        number: u64,
        /// The term that it names.
        term: u64,
    },
    /// Attestations are missing before it.
    #[error("attestation {number} does not follow its predecessor: {expected} was expected")]
    Number {
        /// Its number.
        number: u64,
        /// The number that should follow.
        expected: u64,
    },
    /// It does not name its predecessor.
    #[error("attestation {0} does not name its predecessor")]
    Previous(u64),
    /// It was made of different entries.
    #[error("attestation {number} binds other entries before offset {end} than those in the log")]
    Hash {
        /// Its number.
        number: u64,
        /// Its end.
        end: Offset,
    },
    /// The log has no entry that ends there.
    #[error("attestation {number} ends at offset {end}, where no entry of the log ends")]
    Place {
        /// Its number.
        number: u64,
        /// Its end.
        end: Offset,
    },
    /// The log is shorter than a witness has seen it.
    #[error(
        "witness {number} has seen the log up to offset {end}, but the log ends at {log_end}: its tail was cut off"
    )]
    Cut {
        /// The witness's number.
        number: u64,
        /// The end of the witness.
        end: Offset,
        /// The end of the log.
        log_end: Offset,
    },
    /// A witness differs from the log's own attestation of that number.
    #[error("witness {0} differs from the log's own attestation of that number: the log was rewritten")]
    Witness(u64),
}

/// Attestations that were kept outside of the log, their signatures checked.
#[derive(Clone, Debug, Default)]
pub struct Witnesses(Vec<Attestation>);

/// A line of a witness file that is no attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {0} is not an attestation signed with its own key; each line has {len} hexadecimal digits",
    len = 2 * ATTESTATION_LEN
)]
pub struct NoAttestation(pub usize);

impl Witnesses {
    /// Takes the lines of a file: hexadecimal attestations. Skips empty lines, and those that begin with `#`.
    pub fn read(&mut self, text: &str) -> Result<(), NoAttestation> {
        for (at, line) in text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty()) {
            if line.starts_with('#') {
                continue;
            }
            let bytes = hex::decode(line).ok_or(NoAttestation(at + 1))?;
            let attestation = Attestation::read(&bytes).and_then(|unverified| unverified.verify());
            self.0.push(attestation.ok_or(NoAttestation(at + 1))?);
        }
        Ok(())
    }

    /// Whether there are no witnesses.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How far a log is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, utoipa::ToSchema)]
pub struct Bound {
    /// Entries before this offset.
    #[serde(serialize_with = "crate::whole::offset")]
    #[schema(value_type = String)]
    pub end: Offset,
    /// The attestation that binds them.
    pub number: u64,
    /// When the last of those entries was appended, by the collector's clock.
    #[serde(serialize_with = "super::attested::as_rfc3339")]
    #[schema(value_type = String)]
    pub time: Timestamp,
}

pub(super) fn as_rfc3339<S: serde::Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let mut text = Vec::with_capacity(27);
    crate::rfc3339::put_rfc3339(&mut text, *time);
    serializer.serialize_str(std::str::from_utf8(&text).expect("a time is ASCII"))
}

/// Compares attestations with entries.
#[derive(Debug)]
pub(crate) struct AttestationCheck {
    hash: Hash,
    marks: VecDeque<HashMark>,
    end: Offset,
    /// The log id and the partition.
    of: Option<(LogId, u32)>,
    terms: Vec<u64>,
    /// Whether the log's beginning is not kept, so that terms and attestations may be gone with it.
    is_begun: bool,
    last: Option<Attestation>,
    count: u64,
    /// Entries from here on are bound to each other.
    from: Option<Offset>,
    bound: Option<Bound>,
    /// Witnesses whose end no entry has reached yet, by their end.
    witnesses: BTreeMap<Offset, Vec<Attestation>>,
    /// The hashes of the witnesses by number, to compare with the log's own attestations.
    numbered: BTreeMap<u64, [u8; 32]>,
    witnessed: Option<Bound>,
    /// The number of witnesses that end before the oldest kept entry.
    passed: u64,
    /// All witnesses.
    given: Vec<Attestation>,
}

impl AttestationCheck {
    /// Starts before the first entry.
    pub fn new(witnesses: &Witnesses) -> Self {
        let mut by_end: BTreeMap<Offset, Vec<Attestation>> = BTreeMap::new();
        witnesses.0.iter().for_each(|witness| by_end.entry(witness.end).or_default().push(*witness));
        Self {
            hash: Hash::Known(Running::default()),
            marks: VecDeque::new(),
            end: Offset::ZERO,
            of: None,
            terms: Vec::new(),
            is_begun: false,
            last: None,
            count: 0,
            from: None,
            bound: None,
            numbered: witnesses.0.iter().map(|witness| (witness.number, witness.digest())).collect(),
            witnesses: by_end,
            witnessed: None,
            passed: 0,
            given: witnesses.0.clone(),
        }
    }

    /// Takes the next entry. The first one may have any offset.
    pub fn entry(&mut self, head: &EntryHead, chain: ChainHash) {
        let (first, end) = (Offset::new(head.ordinal), Offset::new(head.end_ordinal()));
        let clock_offset_us = head.clock_offset_us();
        self.logged(Logged { first, end, stamp: head.stamp, count: head.count, chain, clock_offset_us });
    }

    /// Takes the next entry from its extract.
    fn logged(&mut self, logged: Logged) {
        if logged.first > self.end {
            // The beginning is not kept; or there is a hole, behind which the next attestation gives the hash.
            self.is_begun |= self.end == Offset::ZERO;
            (self.hash, self.from) = (Hash::Unknown(VecDeque::new()), None);
            self.marks.clear();
        }
        self.end = logged.end;
        match &mut self.hash {
            Hash::Unknown(entries) => {
                if entries.len() == ENTRIES_MAX {
                    entries.pop_front();
                }
                entries.push_back(logged);
            }
            Hash::Known(_) => self.push(&logged),
        }
    }

    /// Takes the entries of a segment by its extract: those up to the first end that is attested in it, the hashes at
    /// all such ends, and the entries behind the last of them. The hash must be known already.
    pub fn extract(&mut self, head: &[Logged], marks: &[HashMark], tail: &[Logged]) {
        head.iter().for_each(|logged| self.logged(*logged));
        // The first mark is the result of the entries so far, and is compared with the attestation there.
        for mark in marks.iter().skip(1) {
            self.remember(*mark);
            (self.hash, self.end) = (Hash::Known(mark.running()), mark.end);
        }
        tail.iter().for_each(|logged| self.logged(*logged));
    }

    /// Whether the hash is known at the end of the last entry.
    pub fn is_known(&self) -> bool {
        matches!(self.hash, Hash::Known(_))
    }

    fn remember(&mut self, mark: HashMark) {
        if self.marks.len() == ENTRIES_MAX {
            self.marks.pop_front();
        }
        self.marks.push_back(mark);
    }

    fn push(&mut self, logged: &Logged) {
        let Hash::Known(hash) = &mut self.hash else { return };
        logged.add_to(hash);
        let mark = HashMark { end: logged.end, stamp: logged.stamp, hash: hash.hash() };
        self.remember(mark);
        for witness in self.witnesses.remove(&mark.end).unwrap_or_default() {
            if witness.hash.hash() == mark.hash && witness.time == mark.stamp {
                let bound = Bound { end: witness.end, number: witness.number, time: witness.time };
                self.witnessed = Some(bound);
            } else {
                // It stays among the unmet witnesses, which contradict the log.
                self.witnesses.entry(mark.end).or_default().push(witness);
            }
        }
    }

    /// Takes a term that the log names.
    pub fn term(&mut self, of: (LogId, u32), term: u64) {
        self.of.get_or_insert(of);
        if !self.terms.contains(&term) {
            self.terms.push(term);
        }
    }

    /// Takes an attestation from a batch of the collector at this offset.
    pub fn attestation(&mut self, offset: Offset, bytes: &[u8], keys: &LogKeys) -> Result<(), Contradiction> {
        let attestation = Attestation::read(bytes).and_then(|unverified| unverified.verify());
        self.attests(&attestation.ok_or(Contradiction::Unsigned(offset))?, keys)
    }

    /// Takes an attestation whose signature the caller has checked.
    pub fn attests(&mut self, attestation: &Attestation, keys: &LogKeys) -> Result<(), Contradiction> {
        let attestation = *attestation;
        let number = attestation.number;
        if !keys.contains(&attestation.key) {
            return Err(Contradiction::OtherKey { number, key: attestation.key.to_string() });
        }
        let of = (attestation.log_id, attestation.partition);
        if *self.of.get_or_insert(of) != of {
            return Err(Contradiction::OtherLog(number));
        }
        if !self.is_begun && !self.terms.contains(&attestation.term) {
            return Err(Contradiction::Term { number, term: attestation.term });
        }
        let before = self.last.replace(attestation);
        match before {
            Some(before) if number != before.number + 1 => {
                return Err(Contradiction::Number { number, expected: before.number + 1 });
            }
            Some(before) if attestation.previous != before.digest() => return Err(Contradiction::Previous(number)),
            None if !self.is_begun && number != 0 => return Err(Contradiction::Number { number, expected: 0 }),
            _ => {}
        }
        let witness = self.numbered.get(&number).copied();
        if witness.is_some_and(|digest| digest != attestation.digest()) {
            return Err(Contradiction::Witness(number));
        }
        self.hold(&attestation)?;
        if witness.is_some() && self.bound.is_some_and(|bound| bound.number == number) {
            self.witnessed = self.bound;
            self.witnesses.remove(&attestation.end);
        }
        Ok(())
    }

    /// Compares the hash of an attestation with the entries before its end.
    fn hold(&mut self, attestation: &Attestation) -> Result<(), Contradiction> {
        let (number, end) = (attestation.number, attestation.end);
        if let Hash::Unknown(entries) = &mut self.hash {
            let begin = entries.front().map_or(Offset::ZERO, |logged| logged.first);
            let is_place = end == begin || entries.iter().any(|logged| logged.end == end);
            if !is_place {
                // It ends before the oldest kept entry.
                return if end < begin { Ok(()) } else { Err(Contradiction::Place { number, end }) };
            }
            let rest: Vec<Logged> = entries.iter().filter(|logged| logged.first >= end).copied().collect();
            (self.hash, self.from) = (Hash::Known(attestation.hash), Some(end));
            rest.iter().for_each(|logged| self.push(logged));
        } else {
            let oldest = self.marks.front().map_or(self.end, |mark| mark.end);
            let found = self.marks.iter().find(|mark| mark.end == end);
            match found {
                _ if end == Offset::ZERO => {}
                Some(mark) if mark.hash == attestation.hash.hash() && mark.stamp == attestation.time => {}
                Some(_) => return Err(Contradiction::Hash { number, end }),
                // More entries than are remembered: the next attestation binds them.
                None if end < oldest => return Ok(()),
                None => return Err(Contradiction::Place { number, end }),
            }
            self.from.get_or_insert(Offset::ZERO);
        }
        while self.marks.front().is_some_and(|mark| mark.end < end) {
            self.marks.pop_front();
        }
        self.count += 1;
        self.bound = Some(Bound { end, number, time: attestation.time });
        Ok(())
    }

    /// How far the log's own attestations bind its entries.
    pub fn bound(&self) -> Option<Bound> {
        self.bound
    }

    /// The first offset from which they bind the entries to each other.
    pub fn from(&self) -> Option<Offset> {
        self.from
    }

    /// The number of attestations that agree with the log.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Whether the newest attestation is signed with one of these keys, and agrees with the log.
    pub fn is_under(&self, is_one: impl Fn(&PublicKey) -> bool) -> bool {
        let is_bound = |last: &Attestation| self.bound.is_some_and(|bound| bound.number == last.number);
        self.last.as_ref().is_some_and(|last| is_one(&last.key) && is_bound(last))
    }

    /// The partition, once the log has named it.
    pub fn partition(&self) -> Option<u32> {
        self.of.map(|(_, partition)| partition)
    }

    /// The newest witness with which the log agrees.
    pub fn witnessed(&self) -> Option<Bound> {
        self.witnessed
    }

    /// The number of witnesses that end before the oldest kept entry: they cannot be checked.
    pub fn passed(&self) -> u64 {
        self.passed
    }

    /// All entries were taken: returns the contradictions of the witnesses.
    pub fn finish(&mut self, keys: &LogKeys) -> Vec<Contradiction> {
        let mut contradictions = Vec::new();
        for witness in std::mem::take(&mut self.given) {
            if self.of.is_some_and(|of| of != (witness.log_id, witness.partition)) {
                contradictions.push(Contradiction::OtherLog(witness.number));
            } else if !keys.contains(&witness.key) {
                let key = witness.key.to_string();
                contradictions.push(Contradiction::OtherKey { number: witness.number, key });
            }
        }
        for witness in std::mem::take(&mut self.witnesses).into_values().flatten() {
            contradictions.extend(self.unmet(&witness));
        }
        contradictions
    }

    /// The contradiction of a witness whose end no entry has reached.
    fn unmet(&mut self, witness: &Attestation) -> Option<Contradiction> {
        let (number, end) = (witness.number, witness.end);
        if end == Offset::ZERO {
            return None;
        }
        if end > self.end {
            return Some(Contradiction::Cut { number, end, log_end: self.end });
        }
        let is_known = matches!(self.hash, Hash::Known(_)) && self.from.is_none_or(|from| end > from);
        if !is_known {
            self.passed += 1;
        }
        is_known.then_some(Contradiction::Hash { number, end })
    }
}
