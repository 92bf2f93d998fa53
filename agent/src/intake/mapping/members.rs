//! The members of one JSON object as they are written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::limits::COLUMNS_MAX;

/// Names and values of an object in which no name occurs twice.
#[derive(Debug)]
pub struct Members<'a>(Vec<(String, &'a str)>);

impl<'a> Members<'a> {
    /// The value of a member, as JSON; none where it is null or absent.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, value)| known == name && *value != "null").map(|(_, value)| *value)
    }
}

/// The text of a JSON string, and whatever else it is as it is written.
pub fn plain(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|_| json.to_owned())
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(String, &str)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format_args!("{name:?} is listed twice; remove one")));
                    }
                    if members.len() >= COLUMNS_MAX {
                        return Err(A::Error::custom(format_args!("it has over {COLUMNS_MAX} members")));
                    }
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(MembersVisitor)
    }
}
