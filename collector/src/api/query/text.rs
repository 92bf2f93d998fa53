//! Names and values of a query for serde, so that what a type refuses is known by parameter, value and what is allowed.

use std::fmt;

use serde::Deserializer;
use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, MapAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::shortened;

/// Why a query is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::api) enum QueryError {
    /// It is not names and values.
    #[error("the query is not name=value&name=value in UTF-8 with % escapes: {0}")]
    Unreadable(String),
    /// A name that this path does not have, as of a typing mistake.
    #[error("this path has no parameter {name:?}")]
    Unknown {
        /// The name.
        name: String,
        /// The names that there are.
        known: &'static [&'static str],
    },
    /// A value for which the parameter has no meaning.
    #[error("`{name}`: {value:?} is not {allowed}")]
    Value {
        /// The parameter.
        name: String,
        /// What was given.
        value: String,
        /// What can be given.
        allowed: String,
    },
    /// A value that was refused with a reason of its own, which repeats it.
    #[error("`{name}`: {why}")]
    Because {
        /// The parameter.
        name: String,
        /// The value, what is wrong about it, and what is allowed.
        why: String,
    },
    /// A parameter that has one value was given several.
    #[error("the parameter {name:?} is given twice; give it once, and separate the values of a list with commas")]
    Twice {
        /// The parameter.
        name: String,
    },
    /// Two parameters of which one excludes the other.
    #[error("`{0}` and `{1}` exclude each other; give one of them")]
    Together(&'static str, &'static str),
    /// A parameter without which there is no answer.
    #[error("`{0}` is missing")]
    Missing(&'static str),
}

/// A fault that serde finds, before its parameter is known.
#[derive(Debug)]
pub(in crate::api) enum ParameterFault {
    Found(QueryError),
    Value { value: String, allowed: String },
    Because(String),
    Twice,
}

impl ParameterFault {
    /// This, of the parameter `name`.
    fn of(self, name: &str) -> QueryError {
        let name = shortened(name);
        match self {
            Self::Found(error) => error,
            Self::Value { value, allowed } => QueryError::Value { name, value, allowed },
            Self::Because(why) => QueryError::Because { name, why },
            Self::Twice => QueryError::Twice { name },
        }
    }
}

impl fmt::Display for ParameterFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for ParameterFault {}

impl de::Error for ParameterFault {
    fn custom<T: fmt::Display>(why: T) -> Self {
        Self::Because(why.to_string())
    }

    fn invalid_value(value: Unexpected<'_>, allowed: &dyn Expected) -> Self {
        match value {
            Unexpected::Str(value) => Self::Value { value: shortened(value), allowed: allowed.to_string() },
            value => Self::Because(format!("{value} is not {allowed}")),
        }
    }

    fn unknown_variant(value: &str, allowed: &'static [&'static str]) -> Self {
        let quoted: Vec<String> = allowed.iter().map(|allowed| format!("`{allowed}`")).collect();
        Self::Value { value: shortened(value), allowed: quoted.join(" or ") }
    }

    fn unknown_field(name: &str, known: &'static [&'static str]) -> Self {
        Self::Found(QueryError::Unknown { name: shortened(name), known })
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Found(QueryError::Missing(name))
    }
}

/// Reads the parameters of a handler.
pub(super) fn read<T: DeserializeOwned>(pairs: &[(String, String)]) -> Result<T, QueryError> {
    let mut parameters: Vec<Parameter<'_>> = Vec::new();
    for (name, value) in pairs {
        match parameters.iter_mut().find(|parameter| parameter.name == name) {
            Some(parameter) => parameter.values.push(value),
            None => parameters.push(Parameter { name, values: vec![value] }),
        }
    }
    let left = Left(parameters.into_iter().peekable());
    T::deserialize(de::value::MapAccessDeserializer::new(left)).map_err(|wrong| wrong.of(""))
}

/// A name, and everything that was given for it.
struct Parameter<'p> {
    name: &'p str,
    values: Vec<&'p str>,
}

/// Parameters that are still to be read.
struct Left<'p>(std::iter::Peekable<std::vec::IntoIter<Parameter<'p>>>);

impl<'de, 'p: 'de> MapAccess<'de> for Left<'p> {
    type Error = ParameterFault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ParameterFault> {
        let Some(parameter) = self.0.peek() else { return Ok(None) };
        let name: StrDeserializer<'_, ParameterFault> = parameter.name.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ParameterFault> {
        let parameter = self.0.next().expect("a value is read after its name");
        assert!(!parameter.values.is_empty(), "every name came with a value");
        let of = |wrong: ParameterFault| ParameterFault::Found(wrong.of(parameter.name));
        seed.deserialize(Values(&parameter.values)).map_err(of)
    }
}

/// What was given for one name: one text, or a list of them.
struct Values<'v, 'p>(&'v [&'p str]);

impl<'p> Values<'_, 'p> {
    fn one(&self) -> Result<&'p str, ParameterFault> {
        match self.0 {
            [value] => Ok(value),
            _ => Err(ParameterFault::Twice),
        }
    }
}

impl<'de, 'p: 'de> Deserializer<'de> for Values<'_, 'p> {
    type Error = ParameterFault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterFault> {
        visitor.visit_borrowed_str(self.one()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterFault> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParameterFault> {
        visitor.visit_seq(SeqDeserializer::new(self.0.iter().copied()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ParameterFault> {
        let value: StrDeserializer<'_, ParameterFault> = self.one()?.into_deserializer();
        value.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct
        tuple tuple_struct map struct identifier ignored_any
    }
}
