//! The fields of a line, before they are checked against the event's type.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde_json::value::RawValue;

macro_rules! fields {
    ($($variant:ident $name:literal,)*) => {
        /// The name of a field.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Field {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Field {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The field's name in a line.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

fields! {
    Subject "subject", Type "type", Time "time", Value "value", Unit "unit", Quality "quality", Code "code",
    Severity "severity", Message "message", State "state", Reason "reason", Condition "condition",
    Transition "transition", Priority "priority", Kind "kind", Data "data",
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Some fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldSet(u32);

impl FieldSet {
    /// These ones.
    pub const fn of(fields: &[Field]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < fields.len() {
            bits |= 1 << fields[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Those of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that the other has not.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether this one is in it.
    pub const fn has(self, field: Field) -> bool {
        self.0 & (1 << field as u8) != 0
    }

    /// The first one in it.
    pub fn first(self) -> Option<Field> {
        Field::ALL.iter().copied().find(|field| self.has(*field))
    }
}

impl fmt::Display for FieldSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Field::ALL.iter().filter(|field| self.has(**field));
        names.enumerate().try_for_each(|(at, name)| write!(f, "{}{name}", if at > 0 { ", " } else { "" }))
    }
}

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

/// A time as it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Time<'a> {
    /// Microseconds since 1970.
    Micros(i64),
    /// Text that should be RFC 3339.
    Text(Text<'a>),
}

/// All fields that a line can have.
#[derive(Debug, Default)]
pub struct Fields<'a> {
    /// Those that were there.
    pub seen: FieldSet,
    /// `subject`
    pub subject: Option<Text<'a>>,
    /// `type`
    pub kind: Option<Text<'a>>,
    /// `time`
    pub time: Option<Time<'a>>,
    /// `value`
    pub value: Option<Number<'a>>,
    /// `unit`
    pub unit: Option<Text<'a>>,
    /// `quality`
    pub quality: Option<Text<'a>>,
    /// `code`
    pub code: Option<Text<'a>>,
    /// `severity`
    pub severity: Option<Text<'a>>,
    /// `message`
    pub message: Option<Text<'a>>,
    /// `state`
    pub state: Option<Text<'a>>,
    /// `reason`
    pub reason: Option<Text<'a>>,
    /// `condition`
    pub condition: Option<Text<'a>>,
    /// `transition`
    pub transition: Option<Text<'a>>,
    /// `priority`
    pub priority: Option<u16>,
    /// `kind`
    pub derived_kind: Option<Text<'a>>,
    /// `data`
    pub data: Option<&'a RawValue>,
}

struct TextVisitor(&'static str);

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }
}

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor("a text in quotes"))
    }
}

const TOO_LARGE: &str = "is over";

impl<'a> Number<'a> {
    /// Reads a value as it is written: this distinguishes a whole number that is too large from a large double.
    fn read<E: Error>(json: &'a str) -> Result<Self, E> {
        let wrong =
            |found| E::custom(format_args!("invalid type: {found}, expected a number, true, false or a short text"));
        match json.as_bytes() {
            b"true" => Ok(Self::Bool(true)),
            b"false" => Ok(Self::Bool(false)),
            b"null" => Err(wrong("null")),
            [b'"', ..] => serde_json::from_str(json).map(Self::Text).map_err(E::custom),
            [b'[', ..] => Err(wrong("sequence")),
            [b'{', ..] => Err(wrong("map")),
            // JSON's minus zero is a double.
            digits if digits != b"-0" && digits.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9')) => {
                json.parse().map(Self::Integer).map_err(|_| {
                    let shown = super::cut(json.to_owned(), 64);
                    E::custom(format_args!(
                        "{shown} {TOO_LARGE} {}; send it with a fraction (`{shown}.0`) or as a text",
                        if digits[0] == b'-' { "the least, -9223372036854775808" } else { "9223372036854775807" },
                    ))
                })
            }
            _ => match json.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Self::Float(value)),
                _ => Err(E::custom(format_args!(
                    "{} {TOO_LARGE} the largest double; JSON has no NaN and no infinity: leave the sample out, or send a text \
                     with quality \"bad\"",
                    super::cut(json.to_owned(), 64)
                ))),
            },
        }
    }
}

struct TimeVisitor;

impl<'de> Visitor<'de> for TimeVisitor {
    type Value = Time<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RFC 3339 in quotes or whole microseconds since 1970")
    }

    fn visit_i64<E: Error>(self, micros: i64) -> Result<Time<'de>, E> {
        Ok(Time::Micros(micros))
    }

    fn visit_u64<E: Error>(self, micros: u64) -> Result<Time<'de>, E> {
        i64::try_from(micros).map(Time::Micros).map_err(|_| E::invalid_value(Unexpected::Unsigned(micros), &self))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Time<'de>, E> {
        Ok(Time::Text(Text(Cow::Borrowed(text))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Time<'de>, E> {
        Ok(Time::Text(Text(Cow::Owned(text.to_owned()))))
    }
}

impl<'de> Deserialize<'de> for Time<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TimeVisitor)
    }
}

/// Reads a field's name without a copy.
struct FieldName(Field);

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = FieldName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a field")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<FieldName, E> {
                Field::named(name).map(FieldName).ok_or_else(|| E::custom(unknown_field(name)))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

fn unknown_field(name: &str) -> String {
    let distance = |field: &&Field| strsim::damerau_levenshtein(field.name(), name);
    let short = super::cut(name.to_owned(), 64);
    let nearest = if name.len() > 64 { None } else { Field::ALL.iter().min_by_key(distance) };
    match nearest {
        Some(field) if distance(&field) <= 2 => format!("unknown field {short:?}; did you mean `{field}`?"),
        _ => {
            format!("unknown field {short:?}; the fields are {}", FieldSet::of(Field::ALL))
        }
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one JSON object, as {\"subject\":\"88-C/temperature\",\"value\":81.4}")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(FieldName(field)) = map.next_key()? {
            if fields.seen.has(field) {
                let _: IgnoredAny = map.next_value()?;
                return Err(A::Error::custom(format_args!("`{field}` is listed twice; remove one")));
            }
            fields.seen = fields.seen.with(FieldSet::of(&[field]));
            fields.take(field, &mut map).map_err(|error| named(field, error))?;
        }
        Ok(fields)
    }
}

/// Puts the field's name before a message about its value's type; errors of JSON itself stay as they are.
fn named<E: Error>(field: Field, error: E) -> E {
    let text = error.to_string();
    if text.starts_with("invalid ") && text.contains(", expected ") || text.contains(TOO_LARGE) {
        E::custom(format_args!("`{field}`: {}", text.split(" at line ").next().unwrap_or(&text)))
    } else {
        error
    }
}

impl<'de> Fields<'de> {
    fn take<A: MapAccess<'de>>(&mut self, field: Field, map: &mut A) -> Result<(), A::Error> {
        match field {
            Field::Subject => self.subject = Some(map.next_value()?),
            Field::Type => self.kind = Some(map.next_value()?),
            Field::Time => self.time = Some(map.next_value()?),
            Field::Value => self.value = Some(Number::read(map.next_value::<&'de RawValue>()?.get())?),
            Field::Unit => self.unit = Some(map.next_value()?),
            Field::Quality => self.quality = Some(map.next_value()?),
            Field::Code => self.code = Some(map.next_value()?),
            Field::Severity => self.severity = Some(map.next_value()?),
            Field::Message => self.message = Some(map.next_value()?),
            Field::State => self.state = Some(map.next_value()?),
            Field::Reason => self.reason = Some(map.next_value()?),
            Field::Condition => self.condition = Some(map.next_value()?),
            Field::Transition => self.transition = Some(map.next_value()?),
            Field::Priority => self.priority = Some(map.next_value()?),
            Field::Kind => self.derived_kind = Some(map.next_value()?),
            Field::Data => self.data = Some(map.next_value()?),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}
