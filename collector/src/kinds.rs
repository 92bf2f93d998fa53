//! The collector's table of event types: one row a type, and one row a change of the life cycle.
//!
//! Number, name, stream and severity are in the protocol's own table ([`Kind`], [`Change`]); here are the columns for
//! filters, lines, certificates and the page. A kind without a row does not compile, and neither does a row at a wrong
//! index. Where a kind needs code instead of a column (its `data`, its line), that code matches on every kind.

use afferent_protocol::event::{Change, Kind, TYPE_PREFIX, TYPE_SUFFIX};

/// The type of an amendment, which people add later to an event of the log: the only type of ours that is posted.
pub const AMENDMENT: &str = "afferent.amendment.v1";
/// The type of the event for a batch that this reader cannot decode, and for offsets that the log has lost.
pub const UNREADABLE: &str = "afferent.unreadable.v1";

/// The type of the event for an event that a forward's destination will never take.
pub const DEAD_LETTER: &str = "afferent.deadletter.v1";

/// A type of events.
#[derive(Debug)]
pub struct Type {
    /// Its kind on the wire; `None` for types that only collectors make.
    pub kind: Option<Kind>,
    /// The CloudEvents type.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// Its one-character symbol.
    pub icon: char,
    /// The members of `data`, in their order; of derived events their makers choose.
    pub fields: &'static [&'static str],
    /// How the page shows it.
    pub page: OnPage,
}

/// How the page shows events of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPage {
    /// Lists them as events of a machine, and follows them.
    Listed,
    /// Follows them, to reload states that they may have changed.
    Followed,
    /// Does not request them: a plant has too many, or they are about the transport of events.
    Absent,
}

use OnPage::{Absent, Followed, Listed};

/// All types of ours, those of the protocol first, by their numbers.
pub static TYPES: [Type; Kind::COUNT + 3] = [
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
    Type {
        kind: None, name: DEAD_LETTER, title: "Dead letter", icon: '⊘', fields: &DEAD_LETTER_FIELDS, page: Absent
    },
];

const DEAD_LETTER_FIELDS: [&str; 7] = ["forward", "sink", "partition", "offset", "source", "id", "reason"];

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
    /// The short type for filters: `breakdown` for `afferent.breakdown.v1`.
    pub fn short_name(&self) -> &'static str {
        short_name(self.name)
    }
}

/// All short types for filters.
pub fn short_names() -> [&'static str; TYPES.len()] {
    TYPES.each_ref().map(Type::short_name)
}

/// A type of ours without prefix and version; other types stay unchanged.
pub fn short_name(name: &str) -> &str {
    name.strip_prefix(TYPE_PREFIX).and_then(|rest| rest.strip_suffix(TYPE_SUFFIX)).unwrap_or(name)
}

/// The row of a change of the life cycle.
#[derive(Debug)]
pub struct ChangeRow {
    /// The change.
    pub change: Change,
    /// Whether a start reads it.
    pub at_start: AtStart,
    /// Whether certificates use it.
    pub certifies: Certifies,
    /// The members of `data` behind `change`, in their order. Behind those of a replaced key comes `why`, if a reason
    /// was given.
    pub fields: &'static [&'static str],
}

/// Whether a start reads an event of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtStart {
    /// Reads it again: it bears on lanes, keys, sources or the log itself.
    Replayed,
    /// Skips it.
    Passed,
}

/// Whether certificates use an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certifies {
    /// Never.
    Never,
    /// If it is of the collector itself.
    Own,
    /// Of every source.
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
