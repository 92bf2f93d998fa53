//! Whole numbers in JSON: one rule for all output of the collector.
//!
//! Up to 2^53 they are numbers, and beyond that texts of their digits, as most readers parse every number as a double.
//! An offset of the log is a key, not a quantity, and so always a text.

use afferent_protocol::ids::{Offset, Sequence};
use serde::{Deserialize, Deserializer, Serializer, de};
use serde_json::Value;
use utoipa::openapi::{ObjectBuilder, OneOfBuilder, Type};

/// Up to this number every whole number is a distinct double.
pub const EXACT_MAX: u64 = 1 << 53;

/// Whether every reader keeps this number exact.
pub const fn is_exact(number: i64) -> bool {
    number.unsigned_abs() <= EXACT_MAX
}

/// A number as a JSON value.
pub fn value(number: i64) -> Value {
    if is_exact(number) { number.into() } else { number.to_string().into() }
}

/// For `serialize_with`, and with [`deserialize`] for `with`.
pub fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
    if *number <= EXACT_MAX { to.serialize_u64(*number) } else { to.collect_str(number) }
}

/// As [`serialize`], for numbers less than zero too.
pub fn signed<S: Serializer>(number: &i64, to: S) -> Result<S::Ok, S::Error> {
    if is_exact(*number) { to.serialize_i64(*number) } else { to.collect_str(number) }
}

/// As [`serialize`], for a sequence.
pub fn sequence<S: Serializer>(number: &Sequence, to: S) -> Result<S::Ok, S::Error> {
    serialize(&number.get(), to)
}

/// An offset.
pub fn offset<S: Serializer>(offset: &Offset, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(offset)
}

/// An offset, if there is one.
pub fn some_offset<S: Serializer>(offset: &Option<Offset>, to: S) -> Result<S::Ok, S::Error> {
    match offset {
        Some(offset) => to.collect_str(offset),
        None => to.serialize_none(),
    }
}

/// How [`serialize`] writes a number, for `schema_with`.
pub fn schema() -> utoipa::openapi::Schema {
    let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(EXACT_MAX as f64));
    let digits = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[0-9]+$"));
    OneOfBuilder::new().item(number).item(digits).build().into()
}

/// Reads both forms.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberForm {
        Number(u64),
        Text(String),
    }
    match NumberForm::deserialize(from)? {
        NumberForm::Number(number) => Ok(number),
        NumberForm::Text(text) => {
            text.parse().map_err(|_| de::Error::custom(format_args!("{text:?} is not a whole number")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(#[serde(with = "super")] u64);

    #[test]
    fn numbers_that_doubles_would_round_are_texts_and_come_back_as_they_went() {
        for (number, json) in [
            (0, "0"),
            (EXACT_MAX, "9007199254740992"),
            (EXACT_MAX + 1, "\"9007199254740993\""),
            (u64::MAX, "\"18446744073709551615\""),
        ] {
            assert_eq!(serde_json::to_string(&Wrapped(number)).unwrap(), json);
            assert_eq!(serde_json::from_str::<Wrapped>(json).unwrap(), Wrapped(number));
        }
        assert!(serde_json::from_str::<Wrapped>("\"many\"").is_err());
        // The control: as numbers, the two around the border are equal for a reader with doubles.
        assert!((EXACT_MAX + 1) as f64 == EXACT_MAX as f64);
        assert_eq!(
            (value(-(1 << 53)), value(-(1 << 53) - 1)),
            ((-9_007_199_254_740_992_i64).into(), "-9007199254740993".into())
        );
    }
}
