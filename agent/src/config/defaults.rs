//! What is printed from the table of keys: the commented defaults, and the JSON Schema.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::keys::sections;
use crate::section::{Key, Value as Type};

/// The configuration with all defaults, as TOML with comments; keys without a default are commented out.
pub fn default_toml() -> String {
    let mut text = "# The configuration of afferent-agent, with its defaults.\n".to_owned();
    for section in sections() {
        // A section that repeats is not there by default.
        let comment = if section.repeats { "# " } else { "" };
        let _ = write!(text, "\n# {}\n{comment}{}\n", section.help, section.head());
        for key in section.keys {
            let _ = match key.default {
                Some(default) => writeln!(text, "# {}\n{} = {default}", key.help, key.name),
                None => writeln!(text, "# {}\n# {} = {}", key.help, key.name, key.example),
            };
        }
    }
    text
}

/// The JSON Schema (draft 2020-12) of the configuration.
pub fn schema() -> String {
    let mut root = object("Configuration of afferent-agent");
    for section in sections() {
        let properties: Map<_, _> = section.keys.iter().map(|key| (key.name.to_owned(), key_schema(key))).collect();
        let mut table = object(section.help);
        table["properties"] = Value::Object(properties);
        if section.repeats {
            table = json!({ "type": "array", "items": table });
        }
        insert(&mut root, section.path, table);
    }
    root["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    let mut text = serde_json::to_string_pretty(&root).expect("a tree of JSON is always text");
    text.push('\n');
    text
}

fn object(help: &str) -> Value {
    json!({ "type": "object", "description": help, "additionalProperties": false, "properties": {} })
}

fn insert(parent: &mut Value, path: &str, table: Value) {
    match path.split_once('.') {
        None => parent["properties"][path] = table,
        Some((first, rest)) => {
            let properties = &mut parent["properties"];
            if properties.get(first).is_none() {
                properties[first] = object("");
            }
            insert(&mut properties[first], rest, table);
        }
    }
}

fn key_schema(key: &Key) -> Value {
    let mut schema = match key.value {
        Type::Text => json!({ "type": "string" }),
        Type::Choice(names) => json!({ "type": "string", "enum": names }),
        Type::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Type::Size => json!({ "type": ["string", "integer"], "pattern": "^[0-9]+ ?([KMGT]i|[kMGT])?B$", "minimum": 0 }),
        Type::Switch => json!({ "type": "boolean" }),
        Type::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Type::Secret => {
            let place = |name: &str| json!({ name: { "type": "string" } });
            let one =
                |name: &str| json!({ "properties": place(name), "required": [name], "additionalProperties": false });
            json!({ "type": "object", "oneOf": [one("file"), one("env"), one("credential")] })
        }
    };
    schema["description"] = key.help.into();
    let default = key.default.and_then(|text| format!("x = {text}").parse::<toml::Table>().ok());
    if let Some(default) = default.and_then(|table| serde_json::to_value(&table["x"]).ok()) {
        schema["default"] = default;
    }
    schema
}
