//! The extract of one finished segment: a file beside it that holds what certificates need of it, by source, signed by
//! the collector that has read the segment.
//!
//! ```text
//! 0        8                 12       44          108
//! ├────────┼─────────────────┼────────┼───────────┼───────────┼──────────┼──────────┼───
//! │ magic  │ directory bytes │ key    │ signature │ directory │ section  │ section  │ …   numbers little-endian
//! └────────┴─────────────────┴────────┴───────────┴───────────┴──────────┴──────────┴───
//! ```
//!
//! The directory is postcard of [`Directory`]. The signature is over its SHA-256, and it names the SHA-256 of each
//! section: a certificate reads the directory and the sections of its sources. A section is postcard of [`Section`]: a
//! row for every batch of one source.
//!
//! Only a sound segment has an extract, and only if its attestations agree with its entries. It is derived from the
//! segment alone and can be deleted: certificates then read the segment. Without its signature it counts for nothing:
//! anyone who can write files beside the log could leave out what contradicts a certificate.

mod beside;
mod row;

use std::collections::{BTreeMap, BTreeSet};

use afferent_host::disk::DiskFile;
use afferent_protocol::attestation::Attestation;
use afferent_protocol::batch::{Batch, ChainHash};
use afferent_protocol::event::{Body, LifeCycle};
use afferent_protocol::ids::{Epoch, Offset, Sequence, SourceId, Stream, Timestamp};
use afferent_protocol::sign::{Context, Identity, sha256};
use serde::{Deserialize, Serialize};

use super::sound::SoundSegment;
use crate::limits::{EXTRACT_HEAD_ENTRIES_MAX, INDEX_NAMES_MAX};
use crate::log::attested::{HashMark, Logged};
use crate::log::marks::NameHash;
use crate::log::records::Decoder;
pub use beside::{Beside, Extract, ExtractItem, Extracts, Next, SegmentPlace};
pub(super) use beside::{is_written_by, name, segment_of, write};
pub use row::{Row, RowFacts};

const MAGIC: [u8; 8] = *b"AFFEXT2\n";
const HEAD_LEN: usize = 108;

/// The part of an extract about its segment as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// The collector's name: only its batches hold statements about other sources.
    pub own: SourceId,
    log_id: [u8; 16],
    generation: u64,
    /// The segment's length in bytes.
    len: u64,
    /// Its first offset, and its exclusive end.
    pub first: Offset,
    pub end: Offset,
    /// Its last entry: position and chain hash.
    last: (u64, ChainHash),
    pub entries: u64,
    /// The latest stamp, and the last one.
    pub time: Timestamp,
    pub stamp: Timestamp,
    /// The last batch without its records: its offset, its end, its source.
    pub emptied: Option<(Offset, Offset, SourceId)>,
    /// The entries up to the first end that an attestation in this segment binds; all of them when there is none.
    pub head: Vec<Logged>,
    /// Those ends. From the first one on the entries agree with the hashes of the others.
    pub marks: Vec<HashMark>,
    /// The entries behind the last of them.
    pub tail: Vec<Logged>,
    sections: Vec<SectionEntry>,
}

/// Where a section is in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SectionEntry {
    source: SourceId,
    /// The machines that the source speaks of, in order; `None` when there are too many to list.
    machines: Option<Vec<NameHash>>,
    /// Position behind the directory, and length, in bytes.
    begin: u32,
    len: u32,
    hash: [u8; 32],
}

/// The batches of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Its lanes, in the order of their first batch.
    pub lanes: Vec<(Stream, Epoch)>,
    /// Its batches, in order.
    pub rows: Vec<Row>,
}

impl Directory {
    /// For every source whether it speaks of the machine; `None` when that is not known.
    pub fn sources_about(&self, machine: &str) -> impl Iterator<Item = (SourceId, Option<bool>)> {
        let machine = NameHash::machine(machine);
        let speaks = move |entry: &SectionEntry| Some(entry.machines.as_ref()?.binary_search(&machine).is_ok());
        self.sections.iter().map(move |entry| (entry.source, speaks(entry)))
    }
}

/// Collects the batches of one source.
#[derive(Default)]
struct Builder {
    section: Section,
    /// The end of each lane's last batch, and its chain hash.
    ends: Vec<(Sequence, ChainHash)>,
    machines: BTreeSet<NameHash>,
}

impl Builder {
    fn push(&mut self, mut row: Row, lane: (Stream, Epoch)) {
        let place = self.section.lanes.iter().position(|known| *known == lane);
        let (end, chain) = (row.range().end, row.chain);
        let place = match place {
            Some(place) => {
                let before = std::mem::replace(&mut self.ends[place], (end, chain));
                if before == (row.first, row.previous.unwrap_or_default()) {
                    row.previous = None;
                }
                place
            }
            None => {
                self.section.lanes.push(lane);
                self.ends.push((end, chain));
                self.ends.len() - 1
            }
        };
        row.lane = place as u16;
        self.section.rows.push(row);
    }
}

/// The extract of a segment, its directory's sections not placed yet.
struct Derived {
    directory: Directory,
    sections: BTreeMap<SourceId, Builder>,
}

impl Derived {
    /// Derives it from a segment; `None` when its attestations do not agree with it, or they leave too many entries
    /// unbound.
    fn of<F: DiskFile>(segment: &SoundSegment<F>, own: SourceId) -> Option<Self> {
        let (mut sections, mut decoder) = (BTreeMap::<SourceId, Builder>::new(), Decoder::default());
        let (mut logged, mut attested, mut emptied) = (Vec::new(), Vec::new(), None);
        let (mut last, mut time, mut before) = (None, Timestamp::default(), None);
        let mut has_room = true;
        let read = segment.each(&mut |position, entry| {
            if !has_room {
                return;
            }
            let (head, header) = (&entry.head, entry.batch.header());
            let builder = sections.entry(header.source).or_default();
            let machines = &mut builder.machines;
            let place = (position, entry.head.entry_len());
            let mut spoken_of = |machine| {
                machines.insert(machine);
            };
            let mut row = Row::of(place, head, &entry.batch, &own, &mut decoder, &mut spoken_of);
            let attestations = match &row.what {
                RowFacts::Attested { attestation, .. } => vec![attestation.clone()],
                RowFacts::Told { .. } if header.source == own => attestations_in(&entry.batch, &mut decoder),
                _ => Vec::new(),
            };
            attested.extend(attestations.iter().filter_map(|bytes| Attestation::read(bytes)).map(|read| *read.claim()));
            if let RowFacts::Told { before: known, .. } = &mut row.what {
                *known = before;
            }
            let (offset, end) = (row.offset, row.end());
            let (stamp, clock_offset_us) = (head.stamp, row.clock_offset_us);
            logged.push(Logged { first: offset, end, stamp, count: head.count, chain: row.chain, clock_offset_us });
            if row.is_emptied {
                emptied = Some((offset, end, header.source));
            }
            last = Some((position, row.chain, head.stamp, end));
            (time, before) = (time.max(head.stamp), Some(head.stamp));
            builder.push(row, (header.stream, header.epoch));
            has_room = builder.section.lanes.len() <= usize::from(u16::MAX);
        });
        read.filter(|()| has_room)?;
        let (position, chain, stamp, end) = last?;
        let header = &segment.header;
        let entries = logged.len() as u64;
        let BoundEntries { head, marks, tail } = BoundEntries::of(&logged, &attested, end)?;
        let directory = Directory {
            own,
            log_id: header.log_id,
            generation: header.generation,
            len: segment.len(),
            first: Offset::new(header.first_ordinal),
            end,
            last: (position, chain),
            entries,
            time,
            stamp,
            emptied,
            head,
            marks,
            tail,
            sections: Vec::new(),
        };
        Some(Self { directory, sections })
    }

    /// The signed file.
    fn signed(self, identity: &Identity) -> Vec<u8> {
        let Self { mut directory, sections } = self;
        let mut body = Vec::new();
        for (source, Builder { section, machines, .. }) in sections {
            let bytes = postcard::to_stdvec(&section).expect("a growing buffer takes any section");
            let machines = (machines.len() <= INDEX_NAMES_MAX).then(|| machines.into_iter().collect());
            let (begin, len, hash) = (body.len() as u32, bytes.len() as u32, sha256(&bytes));
            directory.sections.push(SectionEntry { source, machines, begin, len, hash });
            body.extend_from_slice(&bytes);
        }
        let directory = postcard::to_stdvec(&directory).expect("a growing buffer takes any directory");
        let mut bytes = Vec::with_capacity(HEAD_LEN + directory.len() + body.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&(directory.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&identity.public_key().0);
        bytes.extend_from_slice(&identity.sign_in(Context::Extract, &sha256(&directory)));
        bytes.extend_from_slice(&directory);
        bytes.extend_from_slice(&body);
        bytes
    }
}

/// The entries of a segment, and how the attestations in it bind them.
struct BoundEntries {
    head: Vec<Logged>,
    marks: Vec<HashMark>,
    tail: Vec<Logged>,
}

impl BoundEntries {
    /// `None` when they do not agree, or attestations in other segments bind too many of the entries.
    fn of(entries: &[Logged], attested: &[Attestation], end: Offset) -> Option<Self> {
        let begin = entries.first()?.first;
        let within = attested.iter().filter(|attestation| attestation.end > begin && attestation.end <= end);
        let mut marks: Vec<HashMark> =
            within.map(|known| HashMark { end: known.end, stamp: known.time, hash: known.hash.hash() }).collect();
        marks.dedup();
        let (Some(first), Some(last)) = (marks.first(), marks.last()) else {
            let head = entries.to_vec();
            return (head.len() <= EXTRACT_HEAD_ENTRIES_MAX).then(|| Self { head, marks, tail: Vec::new() });
        };
        let head: Vec<Logged> = entries.iter().take_while(|entry| entry.end <= first.end).copied().collect();
        let tail: Vec<Logged> = entries.iter().filter(|entry| entry.first >= last.end).copied().collect();
        let mut agreed = marks.iter();
        let mut running = agreed.next()?.running();
        let mut wanted = agreed.next();
        let is_begun = head.last().is_some_and(|entry| (entry.end, entry.stamp) == (first.end, first.stamp));
        for entry in &entries[head.len()..] {
            entry.add_to(&mut running);
            if wanted.is_some_and(|mark| (mark.end, mark.stamp, mark.hash) == (entry.end, entry.stamp, running.hash()))
            {
                wanted = agreed.next();
            }
        }
        let is_agreed = is_begun && wanted.is_none();
        (is_agreed && head.len().max(tail.len()) <= EXTRACT_HEAD_ENTRIES_MAX).then_some(Self { head, marks, tail })
    }
}

/// The attestations in a batch of the collector.
fn attestations_in(batch: &Batch<'_>, decoder: &mut Decoder) -> Vec<Vec<u8>> {
    let attestation = |body: Body<'_>| match body {
        Body::LifeCycle(LifeCycle::Attested { attestation }) => Some(attestation.to_vec()),
        _ => None,
    };
    decoder.open(batch).readable().filter_map(|record| attestation(record.event.body)).collect()
}

/// For tests: an extract with other rows, signed with this key.
#[cfg(test)]
pub(crate) fn forged_extract(bytes: &[u8], identity: &Identity, edit: &mut dyn FnMut(SourceId, &mut Row)) -> Vec<u8> {
    let directory_len = u32::from_le_bytes(bytes[8..12].try_into().unwrap()) as usize;
    let (directory, body) = bytes[HEAD_LEN..].split_at(directory_len);
    let mut directory: Directory = postcard::from_bytes(directory).unwrap();
    let mut sections = BTreeMap::new();
    for SectionEntry { source, machines, begin, len, .. } in std::mem::take(&mut directory.sections) {
        let (begin, machines) = (begin as usize, machines.unwrap().into_iter().collect());
        let mut section: Section = postcard::from_bytes(&body[begin..begin + len as usize]).unwrap();
        section.rows.iter_mut().for_each(|row| edit(source, row));
        sections.insert(source, Builder { section, ends: Vec::new(), machines });
    }
    Derived { directory, sections }.signed(identity)
}
