//! The values of a line's fields, each read to its type. What a type refuses is known by field where it is found.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

/// Text that is borrowed from the line where it has no escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<'a>(Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

/// A sample's value.
#[derive(Clone, Debug, PartialEq)]
pub enum Number<'a> {
    /// With a fraction or an exponent.
    Float(f64),
    /// Whole.
    Integer(i64),
    /// `true` or `false`.
    Bool(bool),
    /// Text.
    Text(Text<'a>),
}

/// Why a value is none of a sample.
#[derive(Debug, thiserror::Error)]
enum NumberError {
    /// As `null`, a list, an object.
    #[error("invalid type: {0}, expected a number, true, false or a short text")]
    Type(&'static str),
    /// A whole number above the largest one.
    #[error("{0} is over 9223372036854775807; send it with a fraction (`{0}.0`) or as a text")]
    AboveLargest(String),
    /// A whole number below the least one.
    #[error("{0} is over the least, -9223372036854775808; send it with a fraction (`{0}.0`) or as a text")]
    BelowLeast(String),
    /// A number with a fraction or an exponent that no double is near.
    #[error(
        "{0} is over the largest double; JSON has no NaN and no infinity: leave the sample out, or send a text with \
         quality \"bad\""
    )]
    Infinite(String),
    /// A text with escapes that mean no character.
    #[error(transparent)]
    Text(#[from] serde_json::Error),
}

impl<'a> Number<'a> {
    /// Reads a value as it is written: this distinguishes a whole number that is too large from a large double.
    fn read(json: &'a str) -> Result<Self, NumberError> {
        let shown = || super::cut(json.to_owned(), 64);
        match json.as_bytes() {
            b"true" => Ok(Self::Bool(true)),
            b"false" => Ok(Self::Bool(false)),
            b"null" => Err(NumberError::Type("null")),
            [b'"', ..] => {
                let text = ValueOf::new("value").deserialize(&mut serde_json::Deserializer::from_str(json))?;
                Ok(Self::Text(text))
            }
            [b'[', ..] => Err(NumberError::Type("sequence")),
            [b'{', ..] => Err(NumberError::Type("map")),
            // JSON's minus zero is a double.
            digits if digits != b"-0" && digits.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9')) => {
                json.parse().map(Self::Integer).map_err(|_| match digits[0] {
                    b'-' => NumberError::BelowLeast(shown()),
                    _ => NumberError::AboveLargest(shown()),
                })
            }
            _ => match json.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Self::Float(value)),
                _ => Err(NumberError::Infinite(shown())),
            },
        }
    }
}

/// A time as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Time<'a> {
    /// Microseconds since 1970.
    Micros(i64),
    /// Text that should be RFC 3339.
    Text(Text<'a>),
}

/// What the value of a field is read to, from a text, a whole number or both.
pub(super) trait FieldValue<'de>: Sized {
    /// What is expected, for whoever wrote something else.
    const EXPECTED: &'static str;
    /// Whether a whole number that cannot be read is of the right type, and only its value is wrong.
    const TAKES_WHOLE: bool;

    /// Takes a text, or gives it back.
    fn of_text(text: Cow<'de, str>) -> Result<Self, Cow<'de, str>> {
        Err(text)
    }

    /// Takes a whole number.
    fn of_whole(_: i128) -> Option<Self> {
        None
    }
}

impl<'de> FieldValue<'de> for Text<'de> {
    const EXPECTED: &'static str = "a text in quotes";
    const TAKES_WHOLE: bool = false;

    fn of_text(text: Cow<'de, str>) -> Result<Self, Cow<'de, str>> {
        Ok(Self(text))
    }
}

impl<'de> FieldValue<'de> for Time<'de> {
    const EXPECTED: &'static str = "RFC 3339 in quotes or whole microseconds since 1970";
    const TAKES_WHOLE: bool = true;

    fn of_text(text: Cow<'de, str>) -> Result<Self, Cow<'de, str>> {
        Ok(Self::Text(Text(text)))
    }

    fn of_whole(micros: i128) -> Option<Self> {
        i64::try_from(micros).ok().map(Self::Micros)
    }
}

impl FieldValue<'_> for u16 {
    const EXPECTED: &'static str = "u16";
    const TAKES_WHOLE: bool = true;

    fn of_whole(number: i128) -> Option<Self> {
        Self::try_from(number).ok()
    }
}

/// Reads the value of a field; an error names the field.
pub(super) struct ValueOf<T> {
    field: &'static str,
    of: PhantomData<T>,
}

impl<T> ValueOf<T> {
    pub(super) fn new(field: &'static str) -> Self {
        Self { field, of: PhantomData }
    }
}

impl<'de, T: FieldValue<'de>> ValueOf<T> {
    fn wrong<E: Error>(&self, is_taken: bool, found: Unexpected<'_>) -> E {
        let (field, expected) = (self.field, T::EXPECTED);
        let of = |found: &dyn fmt::Display| {
            let what = if is_taken { "value" } else { "type" };
            E::custom(format_args!("`{field}`: invalid {what}: {found}, expected {expected}"))
        };
        match found {
            Unexpected::Unit => of(&"null"),
            // As JSON writes it, with an exponent where it is large.
            Unexpected::Float(number) => of(&format_args!("floating point `{}`", serde_json::Value::from(number))),
            found => of(&found),
        }
    }

    fn text<E: Error>(self, text: Cow<'de, str>) -> Result<T, E> {
        T::of_text(text).map_err(|text| self.wrong(false, Unexpected::Str(&text)))
    }

    fn whole<E: Error>(self, number: i128, found: Unexpected<'_>) -> Result<T, E> {
        T::of_whole(number).ok_or_else(|| self.wrong(T::TAKES_WHOLE, found))
    }
}

impl<'de, T: FieldValue<'de>> DeserializeSeed<'de> for ValueOf<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<T, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: FieldValue<'de>> Visitor<'de> for ValueOf<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<T, E> {
        self.text(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        self.text(Cow::Owned(text.to_owned()))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.whole(number.into(), Unexpected::Unsigned(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.whole(number.into(), Unexpected::Signed(number))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        Err(self.wrong(false, Unexpected::Float(number)))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        Err(self.wrong(false, Unexpected::Bool(value)))
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Err(self.wrong(false, Unexpected::Unit))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(self.wrong(false, Unexpected::Seq))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<T, A::Error> {
        Err(self.wrong(false, Unexpected::Map))
    }
}

/// Reads the value of a sample out of a line's object.
pub(super) fn number<'de, A: MapAccess<'de>>(field: &'static str, map: &mut A) -> Result<Number<'de>, A::Error> {
    let json = map.next_value::<&'de RawValue>()?.get();
    Number::read(json).map_err(|error| A::Error::custom(format_args!("`{field}`: {error}")))
}
