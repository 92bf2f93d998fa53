//! A posted CloudEvent, and why it may be refused.

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use afferent_protocol::limits::MESSAGE_BYTES_MAX;

/// Limit of the bytes of an attribute's name.
pub(super) const NAME_BYTES_MAX: usize = 64;
/// Why a CloudEvent is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventRefusal {
    /// It is no JSON object.
    #[error("it is not a JSON object")]
    NoObject,
    /// A required attribute is absent.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// An attribute has a value that it cannot have.
    #[error("`{name}` {why}")]
    Attribute {
        /// Its name.
        name: String,
        /// The reason.
        why: String,
    },
    /// It is too large.
    #[error("it has {bytes} bytes; the limit is {MESSAGE_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
}

/// The refusal of an attribute.
pub(super) fn refused(name: &str, why: impl Into<String>) -> EventRefusal {
    EventRefusal::Attribute { name: name.chars().take(NAME_BYTES_MAX).collect(), why: why.into() }
}

/// A CloudEvent in the JSON format as it was posted: `data` stays as it is written.
#[derive(Debug, Default)]
pub struct PostedJson<'a> {
    /// Whether it is JSON other than an object.
    pub is_no_object: bool,
    /// All attributes but `data`.
    pub attributes: Map<String, Value>,
    /// The JSON of `data`.
    pub data: Option<&'a RawValue>,
}

impl PostedJson<'_> {
    fn no_object() -> Self {
        Self { is_no_object: true, ..Self::default() }
    }
}

impl<'de> Deserialize<'de> for PostedJson<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = PostedJson<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a CloudEvent, a JSON object")
            }
            fn visit_unit<E: Error>(self) -> Result<PostedJson<'de>, E> {
                Ok(PostedJson::no_object())
            }
            fn visit_bool<E: Error>(self, _: bool) -> Result<PostedJson<'de>, E> {
                Ok(PostedJson::no_object())
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<PostedJson<'de>, E> {
                Ok(PostedJson::no_object())
            }
            fn visit_u64<E: Error>(self, _: u64) -> Result<PostedJson<'de>, E> {
                Ok(PostedJson::no_object())
            }
            fn visit_f64<E: Error>(self, _: f64) -> Result<PostedJson<'de>, E> {
                Ok(PostedJson::no_object())
            }
            fn visit_str<E: Error>(self, _: &str) -> Result<PostedJson<'de>, E> {
                Ok(PostedJson::no_object())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<PostedJson<'de>, A::Error> {
                while items.next_element::<IgnoredAny>()?.is_some() {}
                Ok(PostedJson::no_object())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PostedJson<'de>, A::Error> {
                let mut given = PostedJson::default();
                while let Some(name) = map.next_key::<String>()? {
                    let is_second = match name.as_str() {
                        "data" => given.data.replace(map.next_value()?).is_some(),
                        _ => given.attributes.insert(name.clone(), map.next_value()?).is_some(),
                    };
                    if is_second {
                        let name: String = name.chars().take(NAME_BYTES_MAX).collect();
                        return Err(A::Error::custom(format_args!("{name:?} occurs twice")));
                    }
                }
                Ok(given)
            }
        }
        deserializer.deserialize_any(Members)
    }
}
