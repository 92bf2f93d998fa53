//! What the value of a parameter can be: its text, and what it is read to.

use std::fmt;
use std::marker::PhantomData;

use afferent_protocol::ids::{SourceId, Timestamp};
use afferent_protocol::limits::SOURCE_BYTES_MAX;
use afferent_protocol::sign::PublicKey;
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

use crate::data_directory::parse_public_key;
use crate::limits::MEMBER_BYTES_MAX;
use crate::log::address::Partition;
use crate::subscribe::Start;

/// What a text can be read to.
pub(in crate::api) trait Value: Sized {
    /// What there is to choose from, behind "is not".
    fn allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result;

    /// Reads a text that is one of these.
    fn read(text: &str) -> Option<Self>;
}

/// A value that must be given, for `deserialize_with`.
pub(in crate::api) fn required<'de, D: Deserializer<'de>, T: Value>(from: D) -> Result<T, D::Error> {
    Parsed::deserialize(from).map(|Parsed(value)| value)
}

/// A value that may be given.
pub(in crate::api) fn optional<'de, D: Deserializer<'de>, T: Value>(from: D) -> Result<Option<T>, D::Error> {
    required(from).map(Some)
}

/// Values of a parameter that may be given several times.
pub(in crate::api) fn list<'de, D: Deserializer<'de>, T: Value>(from: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Parsed<T>>::deserialize(from)?.into_iter().map(|Parsed(value)| value).collect())
}

struct Parsed<T>(T);

impl<'de, T: Value> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_str(Reader(PhantomData)).map(Self)
    }
}

struct Reader<T>(PhantomData<T>);

impl<T: Value> Visitor<'_> for Reader<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        T::allowed(f)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        T::read(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl Value for Start {
    fn allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an offset (as 1042), a place (OFFSET@TERM.LOG), a time (RFC 3339, as 2021-09-13T23:54:31Z), `first` or \
             `end`",
        )
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for Timestamp {
    fn allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time (RFC 3339, as 2021-09-13T23:54:31Z)")
    }

    fn read(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(Start::Time(time)) => Some(time),
            _ => None,
        }
    }
}

impl Value for Partition {
    fn allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the number of a partition of the log (0 and up)")
    }

    fn read(text: &str) -> Option<Self> {
        let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_decimal).map(Self::new)
    }
}

impl Value for SourceId {
    fn allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name of a source (letters, digits, `.`, `_` and `-`, {SOURCE_BYTES_MAX} at most)")
    }

    fn read(text: &str) -> Option<Self> {
        Self::new(text).ok()
    }
}

impl Value for PublicKey {
    fn allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public key (64 hexadecimal digits)")
    }

    fn read(text: &str) -> Option<Self> {
        parse_public_key(text).ok()
    }
}

/// The first level of subjects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct MachineName(pub String);

impl Value for MachineName {
    fn allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the first level of a subject, as 88-C")
    }

    fn read(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('/')).then(|| Self(text.to_owned()))
    }
}

/// The name of a process that works on a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::api) struct MemberName(pub String);

impl Value for MemberName {
    fn allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a name of 1 to {MEMBER_BYTES_MAX} bytes without control characters")
    }

    fn read(text: &str) -> Option<Self> {
        let is_name = (1..=MEMBER_BYTES_MAX).contains(&text.len()) && !text.contains(char::is_control);
        is_name.then(|| Self(text.to_owned()))
    }
}

/// A whole number from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) struct WholeNumber<const MIN: u64, const MAX: u64>(pub u64);

impl<const MIN: u64, const MAX: u64> Value for WholeNumber<MIN, MAX> {
    fn allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {MIN} to {MAX}")
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number| (MIN..=MAX).contains(number)).map(Self)
    }
}

/// A number of events, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) struct Limit(pub u64);

impl Value for Limit {
    fn allowed(f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number of events from 1 on, or `all`")
    }

    fn read(text: &str) -> Option<Self> {
        match text {
            "all" => Some(Self(u64::MAX)),
            _ => text.parse().ok().filter(|limit| *limit > 0).map(Self),
        }
    }
}
