//! The fields of a line, before they are checked against the event's type.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::values::{Number, Text, Time, ValueOf, number};

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
            fields.take(field, &mut map)?;
        }
        Ok(fields)
    }
}

impl<'de> Fields<'de> {
    fn take<A: MapAccess<'de>>(&mut self, field: Field, map: &mut A) -> Result<(), A::Error> {
        let name = field.name();
        match field {
            Field::Subject => self.subject = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Type => self.kind = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Time => self.time = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Value => self.value = Some(number(name, map)?),
            Field::Unit => self.unit = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Quality => self.quality = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Code => self.code = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Severity => self.severity = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Message => self.message = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::State => self.state = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Reason => self.reason = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Condition => self.condition = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Transition => self.transition = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Priority => self.priority = Some(map.next_value_seed(ValueOf::new(name))?),
            Field::Kind => self.derived_kind = Some(map.next_value_seed(ValueOf::new(name))?),
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
