//! What is printed from the table of keys: the commented defaults, and the JSON Schema.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::keys::{KEYS, Key, Kind, SECTIONS, plain_section};

/// The configuration with all defaults, as TOML with comments; keys without a default are commented out.
pub fn default_toml() -> String {
    let mut text = "# The configuration of afferent-agent, with its defaults.\n".to_owned();
    for (section, help) in SECTIONS {
        // A section that repeats is not there by default.
        let comment = if section.starts_with('[') { "# " } else { "" };
        let _ = write!(text, "\n# {help}\n{comment}[{section}]\n");
        for key in KEYS.iter().filter(|key| key.section == section) {
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
    for (section, help) in SECTIONS {
        let mut properties = Map::new();
        for key in KEYS.iter().filter(|key| key.section == section) {
            properties.insert(key.name.to_owned(), key_schema(key));
        }
        let mut table = object(help);
        table["properties"] = Value::Object(properties);
        if section.starts_with('[') {
            table = json!({ "type": "array", "items": table });
        }
        insert(&mut root, plain_section(section), table);
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
    let mut schema = match key.kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Choice(names) => json!({ "type": "string", "enum": names }),
        Kind::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Size => json!({ "type": ["string", "integer"], "pattern": "^[0-9]+ ?([KMGT]i|[kMGT])?B$", "minimum": 0 }),
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Secret => {
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
