//! The kinds of events and the changes of a life cycle: one table of each.
//!
//! A row has the number on the wire, the name, the stream that carries the event, and how severe it is. A variant of
//! [`Body`] or of [`LifeCycle`] without a row does not compile, nor does a row without a variant. What the collector
//! knows beyond that (words, icons, fields) stands in a table of its own: agents and devices do not carry it.

use super::{Body, LifeCycle, Severity};
use crate::ids::Stream;
use Severity::{Error, Info, Warning};
use Stream::{Critical, Samples};

/// Makes an enum of names for the variants of `$body`, and what each row says.
///
/// A row: number, variant, name; then twice a pattern of the variant's fields and what follows from them, once for the
/// stream and once for the severity.
macro_rules! table {
    (
        $(#[$about:meta])*
        $kind:ident of $body:ident by $by:ident:
        $($number:literal $variant:ident $name:literal $in:tt => $stream:expr, $of:tt => $severity:expr;)+
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $kind {
            $(#[doc = concat!("See [`", stringify!($body), "::", stringify!($variant), "`].")] $variant = $number,)+
        }

        impl $kind {
            /// So many there are.
            pub const COUNT: usize = [$(Self::$variant),+].len();
            /// All of them, by their numbers.
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];

            /// The number of the variant on the wire; it never changes.
            pub const fn number(self) -> u8 {
                self as u8
            }

            /// The name outside the protocol; it never changes.
            pub const fn $by(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }
        }

        const _: () = {
            let mut at = 0;
            while at < $kind::COUNT {
                assert!($kind::ALL[at].number() as usize == at, "the rows stand by their numbers, from 0 on");
                at += 1;
            }
        };

        impl $body<'_> {
            /// Its row in the table.
            pub const fn kind(&self) -> $kind {
                match self {
                    $(Self::$variant { .. } => $kind::$variant,)+
                }
            }

            /// The stream that carries it.
            pub const fn stream(&self) -> Stream {
                match self {
                    $(Self::$variant $in => $stream,)+
                }
            }

            /// How severe it is.
            pub const fn severity(&self) -> Severity {
                match self {
                    $(Self::$variant $of => $severity,)+
                }
            }
        }
    };
}

table! {
    /// The kinds of events, by their CloudEvents types.
    Kind of Body by type_name:
    // number, variant, type                   stream                            severity
    0 Sample "afferent.sample.v1"              { .. } => Samples,                { .. } => Info;
    1 Breakdown "afferent.breakdown.v1"        { .. } => Critical,               (breakdown) => breakdown.severity;
    2 Recovery "afferent.recovery.v1"          { .. } => Critical,               { .. } => Info;
    3 State "afferent.state.v1"                { .. } => Critical,               { .. } => Info;
    4 Alarm "afferent.alarm.v1"                { .. } => Critical,               (alarm) => alarm.severity();
    5 Loss "afferent.loss.v1"                  { .. } => Critical,               { .. } => Error;
    6 ClockStep "afferent.clockstep.v1"        { .. } => Critical,               { .. } => Warning;
    7 LifeCycle "afferent.lifecycle.v1"        (change) => change.stream(),      (change) => change.severity();
    8 Derived "afferent.derived.v1"            { .. } => Critical,               { .. } => Info;
    9 Progress "afferent.progress.v1"          (progress) => progress.stream,    { .. } => Info;
    10 Followed "afferent.followed.v1"         (followed) => followed.stream,    { .. } => Info;
}

table! {
    /// The changes of a life cycle, by their names.
    Change of LifeCycle by name:
    0 Started "started"                        { .. } => Critical,               { previous, .. } => previous.of_start();
    1 Stopped "stopped"                        { .. } => Critical,               { .. } => Info;
    2 LinkUp "link_up"                         { .. } => Critical,               { .. } => Info;
    3 LinkDown "link_down"                     { .. } => Critical,               { .. } => Warning;
    4 KeyPinned "key_pinned"                   { .. } => Critical,               { .. } => Info;
    5 Refused "refused"                        { .. } => Critical,               { .. } => Error;
    6 Gap "gap"                                { .. } => Critical,               { .. } => Error;
    7 DiskTrouble "disk_trouble"               { .. } => Critical,               { .. } => Error;
    8 Configured "configured"                  { .. } => Critical,               { .. } => Info;
    9 Attested "attested"                      { .. } => Critical,               { .. } => Info;
    10 Trimmed "trimmed"                       { .. } => Critical,               { .. } => Info;
    11 Emptied "emptied"                       { .. } => Critical,               { .. } => Info;
    12 LaneKept "lane_kept"                    { .. } => Critical,               { .. } => Info;
    13 TermBegun "term_begun"                  { .. } => Critical,               { .. } => Info;
    14 Heartbeat "heartbeat"                   { .. } => Critical,               { .. } => Info;
    15 Resealed "resealed"                     { stream, .. } => *stream,        { .. } => Warning;
    16 RingReplaced "ring_replaced"            { .. } => Critical,               { .. } => Error;
    17 Conflict "conflict"                     { .. } => Critical,               { .. } => Error;
    18 RolledBack "rolled_back"                { .. } => Critical,               { .. } => Error;
    19 Retired "retired"                       { .. } => Critical,               { .. } => Warning;
    20 KeyReplaced "key_replaced"              { .. } => Critical,               { .. } => Warning;
    21 KeyEndorsed "key_endorsed"              { .. } => Critical,               { .. } => Info;
    22 Alias "alias"                           { .. } => Critical,               { .. } => Info;
    23 Forgotten "forgotten"                   { .. } => Critical,               { .. } => Info;
    24 Unread "unread"                         { .. } => Critical,               { .. } => Warning;
}

impl Kind {
    /// The type without what all types have: `breakdown` of `afferent.breakdown.v1`.
    pub const fn name(self) -> &'static str {
        let (_, rest) = self.type_name().split_at(TYPE_PREFIX.len());
        rest.split_at(rest.len() - TYPE_SUFFIX.len()).0
    }

    /// The kind of this CloudEvents type.
    pub fn of_type(type_name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_name() == type_name)
    }

    /// The kind of this name, as people write it: short, or in full as its type.
    pub fn named(name: &str) -> Option<Self> {
        Self::of_type(name).or_else(|| Self::ALL.into_iter().find(|kind| kind.name() == name))
    }
}

/// What the types of all kinds begin with.
pub const TYPE_PREFIX: &str = "afferent.";
/// What the types of all kinds end with.
pub const TYPE_SUFFIX: &str = ".v1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_its_short_name_and_by_its_type_and_by_nothing_else() {
        for kind in Kind::ALL {
            assert_eq!([TYPE_PREFIX, kind.name(), TYPE_SUFFIX].concat(), kind.type_name());
            assert_eq!((Kind::named(kind.name()), Kind::named(kind.type_name())), (Some(kind), Some(kind)));
            assert_eq!((Kind::of_type(kind.name()), Kind::of_type(kind.type_name())), (None, Some(kind)));
        }
        for other in ["", "breakdowns", "afferent.breakdown", "breakdown.v1", "afferent.breakdown.v2", "Breakdown"] {
            assert_eq!(Kind::named(other), None, "{other}");
        }
    }

    #[test]
    fn no_name_stands_in_two_rows() {
        for [a, b] in pairs(Kind::ALL.map(Kind::name)).chain(pairs(Change::ALL.map(Change::name))) {
            assert_ne!(a, b);
        }
    }

    fn pairs<T: Copy, const N: usize>(all: [T; N]) -> impl Iterator<Item = [T; 2]> {
        (0..N).flat_map(move |b| (0..b).map(move |a| [all[a], all[b]]))
    }
}
