//! What the collector knows of the types of events: one row a type, and one row a change of the life cycle.
//!
//! Number, name, stream and severity stand in the protocol's own table ([`Kind`], [`Change`]); here is what filters, lines,
//! certificates and the page need beyond that. A kind without a row does not compile, and neither does a row in another's
//! place. Where a kind needs code instead of a column (its `data`, its line), that code matches on every kind.

use afferent_protocol::event::{Change, Kind, TYPE_PREFIX, TYPE_SUFFIX};

/// The type of what people add later to an event that stands in the log: the only one of ours that is posted.
pub const AMENDMENT: &str = "afferent.amendment.v1";
/// The type of the event that stands for a batch which this reader cannot decode, and for offsets that the log has lost.
pub const UNREADABLE: &str = "afferent.unreadable.v1";

/// A type of events.
#[derive(Debug)]
pub struct Type {
    /// Its kind on the wire; none for what collectors alone make.
    pub kind: Option<Kind>,
    /// The CloudEvents type.
    pub name: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// One character that stands for it.
    pub icon: char,
    /// The members of `data`, in their order; of derived events their makers choose.
    pub fields: &'static [&'static str],
    /// What the page does with it.
    pub page: OnPage,
}

/// What the page does with events of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPage {
    /// Lists them as what happened on a machine, and follows them.
    Listed,
    /// Follows them, to read again what they may have changed.
    Followed,
    /// Does not ask for them: a plant has too many, or they are about the carriage of events.
    Absent,
}

use OnPage::{Absent, Followed, Listed};

/// All types that are not somebody's own, those of the protocol first, by their numbers.
pub static TYPES: [Type; Kind::COUNT + 2] = [
    row(Kind::Sample, "Sample", '∿', &["value", "unit", "quality"], Absent),
    row(Kind::Breakdown, "Breakdown", '✕', &["code", "severity", "message"], Listed),
    row(Kind::Recovery, "Recovery", '✓', &["code", "message"], Listed),
    row(Kind::State, "State", '◐', &["state", "reason"], Listed),
    row(Kind::Alarm, "Alarm", '!', &["condition", "transition", "priority", "message"], Listed),
    row(Kind::Loss, "Loss", '∅', &["stream", "epoch", "first", "end", "reason", "chain"], Followed),
    row(Kind::ClockStep, "Clock step", '◷', &["before", "after", "step_us"], Followed),
    row(Kind::LifeCycle, "Life cycle", '↻', &["change"], Followed),
    row(Kind::Derived, "Derived", '∴', &[], Absent),
    row(Kind::Progress, "Progress", '→', &["stream", "epoch", "end", "check", "ticks"], Absent),
    row(Kind::Followed, "Followed", '≡', &["stream", "input", "number", "horizon", "files"], Absent),
    Type { kind: None, name: AMENDMENT, title: "Amendment", icon: '✎', fields: &["of", "action"], page: Followed },
    Type { kind: None, name: UNREADABLE, title: "Unreadable", icon: '?', fields: &["count", "reason"], page: Absent },
];

const fn row(kind: Kind, title: &'static str, icon: char, fields: &'static [&'static str], page: OnPage) -> Type {
    Type { kind: Some(kind), name: kind.type_name(), title, icon, fields, page }
}

const _: () = {
    let mut at = 0;
    while at < TYPES.len() {
        match TYPES[at].kind {
            Some(kind) => assert!(kind.number() as usize == at, "the row of a kind stands at its number"),
            None => assert!(at >= Kind::COUNT, "what only collectors make stands behind all kinds"),
        }
        at += 1;
    }
};

/// The row of a kind.
pub const fn of(kind: Kind) -> &'static Type {
    &TYPES[kind.number() as usize]
}

impl Type {
    /// The type as filters take it: `breakdown` for `afferent.breakdown.v1`.
    pub fn short(&self) -> &'static str {
        short(self.name)
    }
}

/// All types as filters take them.
pub fn short_names() -> [&'static str; TYPES.len()] {
    TYPES.each_ref().map(Type::short)
}

/// A type of ours without what all of them have; other types stay as they are.
pub fn short(name: &str) -> &str {
    name.strip_prefix(TYPE_PREFIX).and_then(|rest| rest.strip_suffix(TYPE_SUFFIX)).unwrap_or(name)
}

/// What the collector knows of a change of the life cycle.
#[derive(Debug)]
pub struct ChangeRow {
    /// The change.
    pub change: Change,
    /// What a start does with it.
    pub at_start: AtStart,
    /// Whether certificates take something from it.
    pub certifies: Certifies,
    /// The members of `data` behind `change`, in their order. Behind those of a replaced key comes `why`, where somebody
    /// gave a reason.
    pub fields: &'static [&'static str],
}

/// What a start does with an event of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStart {
    /// Reads it again: it bears on lanes, keys, sources or the log itself.
    Replayed,
    /// Passes over it.
    Passed,
}

/// Whether certificates take something from an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certifies {
    /// From nobody's.
    Never,
    /// From the collector's own.
    Own,
    /// From everybody's.
    Always,
}

use AtStart::{Passed, Replayed};

/// All changes of the life cycle, by their numbers.
pub static CHANGES: [ChangeRow; Change::COUNT] = [
    change(Change::Started, Passed, Certifies::Never, &["previous", "version", "repairs"]),
    change(Change::Stopped, Passed, Certifies::Never, &["reason"]),
    change(Change::LinkUp, Passed, Certifies::Never, &["peer"]),
    change(Change::LinkDown, Passed, Certifies::Never, &["peer", "reason"]),
    change(Change::KeyPinned, Replayed, Certifies::Own, &["source", "key"]),
    change(Change::Refused, Passed, Certifies::Never, &["source", "reason"]),
    change(Change::Gap, Replayed, Certifies::Never, &["source", "stream", "epoch", "first", "end"]),
    change(Change::DiskTrouble, Passed, Certifies::Never, &["message"]),
    change(Change::Configured, Passed, Certifies::Never, &["message"]),
    change(Change::Attested, Replayed, Certifies::Own, &["attestation"]),
    change(Change::Trimmed, Replayed, Certifies::Own, &["until", "rule"]),
    change(Change::Emptied, Replayed, Certifies::Own, &["stream", "until", "rule"]),
    change(Change::LaneKept, Replayed, Certifies::Own, &["source", "stream", "epoch", "end", "time_last", "chain"]),
    change(Change::TermBegun, Replayed, Certifies::Own, &["log_id", "partition", "term", "first"]),
    change(Change::Heartbeat, Passed, Certifies::Always, &["instance", "lanes"]),
    change(Change::Resealed, Passed, Certifies::Always, &["stream", "epoch", "first", "reason"]),
    change(Change::RingReplaced, Replayed, Certifies::Always, &["message"]),
    change(Change::Conflict, Replayed, Certifies::Own, &["source", "boots", "addresses"]),
    change(Change::RolledBack, Replayed, Certifies::Own, &["source", "term", "until", "end", "time"]),
    change(Change::Retired, Replayed, Certifies::Own, &["source", "who", "why"]),
    change(Change::KeyReplaced, Replayed, Certifies::Own, &["source", "key", "who"]),
    change(Change::KeyEndorsed, Replayed, Certifies::Own, &["endorsement"]),
    change(Change::Alias, Replayed, Certifies::Always, &["source", "former"]),
    change(Change::Forgotten, Replayed, Certifies::Never, &["source"]),
    change(Change::Unread, Passed, Certifies::Never, &["file", "from", "bytes_least", "reason"]),
];

const fn change(change: Change, at_start: AtStart, certifies: Certifies, fields: &'static [&'static str]) -> ChangeRow {
    ChangeRow { change, at_start, certifies, fields }
}

const _: () = {
    let mut at = 0;
    while at < CHANGES.len() {
        assert!(CHANGES[at].change.number() as usize == at, "the row of a change stands at its number");
        at += 1;
    }
};

/// The row of a change.
pub const fn of_change(change: Change) -> &'static ChangeRow {
    &CHANGES[change.number() as usize]
}

#[cfg(test)]
mod tests;
