//! What a section of the configuration is: its keys with their meanings, and how its type is declared.

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// Any text.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A whole number from, to: others are refused when the configuration is read.
    Whole(u64, u64),
    /// A size in bytes.
    Size,
    /// `true` or `false`.
    Switch,
    /// The source of a secret: a file, a variable or a credential.
    Secret,
    /// Texts.
    Texts,
}

/// One key of a section.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key's name.
    pub name: &'static str,
    /// The type of its value.
    pub value: Value,
    /// The default as TOML; none where there is none, and then an example.
    pub default: Option<&'static str>,
    /// An example as TOML for a key without a default.
    pub example: &'static str,
    /// Help text of the key.
    pub help: &'static str,
}

/// A section of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Path of the section, with dots.
    pub path: &'static str,
    /// Whether the section may be repeated, in double brackets.
    pub repeats: bool,
    /// Help text of the section.
    pub help: &'static str,
    /// Its keys, in the order in which they are printed.
    pub keys: &'static [Key],
}

impl Section {
    /// The section's header line in a file.
    pub fn head(&self) -> String {
        if self.repeats { format!("[[{}]]", self.path) } else { format!("[{}]", self.path) }
    }

    /// The path of one of its keys, with dots.
    pub fn path_of(&self, key: &Key) -> String {
        format!("{}.{}", self.path, key.name)
    }
}

/// A key with a default.
pub const fn key(name: &'static str, value: Value, default: &'static str, help: &'static str) -> Key {
    Key { name, value, default: Some(default), example: "", help }
}

/// A key without a default, with an example.
pub const fn optional(name: &'static str, value: Value, example: &'static str, help: &'static str) -> Key {
    Key { name, value, default: None, example, help }
}

/// Declares the type of a section all of whose keys have defaults.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

pub(crate) use section;
