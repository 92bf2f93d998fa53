//! Compares two states, figure by figure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::limits::MODEL_CHANGES_MAX;

/// Members that are left out of a path: the names below them are enough.
const TRANSPARENT: [&str; 5] = ["machines", "subjects", "sources", "episodes", "active"];
/// Members that name an element of a list.
const KEYS: [&str; 3] = ["id", "offset", "from"];

/// One figure that differs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Change {
    /// The path of the figure, as `88-C/availability`.
    pub path: String,
    /// Its value on the left; null if there is none.
    pub left: Value,
    /// Its value on the right; null if there is none.
    pub right: Value,
    /// Right minus left, of numbers.
    pub difference: Option<f64>,
}

/// All figures that differ.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Changes {
    /// The differences, up to a limit.
    pub changes: Vec<Change>,
    /// Number of further differences.
    pub more: u64,
}

/// Compares two states.
pub fn diff(left: &Value, right: &Value) -> Changes {
    let mut changes = Changes::default();
    compare("", left, right, &mut changes);
    changes
}

fn compare(path: &str, left: &Value, right: &Value, changes: &mut Changes) {
    if left == right {
        return;
    }
    let (Some(lefts), Some(rights)) = (members(left, right), members(right, left)) else {
        return changes.add(path, left, right);
    };
    let names: std::collections::BTreeSet<&String> = lefts.keys().chain(rights.keys()).collect();
    for name in names {
        let below = if path.is_empty() && TRANSPARENT.contains(&name.as_str()) {
            String::new()
        } else if path.is_empty() {
            name.clone()
        } else {
            format!("{path}/{name}")
        };
        let (left, right) = (lefts.get(name), rights.get(name));
        compare(&below, left.unwrap_or(&&Value::Null), right.unwrap_or(&&Value::Null), changes);
    }
}

/// The parts of a value by name; `None` when the two are compared as a whole.
fn members<'v>(value: &'v Value, other: &Value) -> Option<BTreeMap<String, &'v Value>> {
    match (value, other) {
        (Value::Object(members), Value::Object(_)) => {
            Some(members.iter().map(|(name, member)| (name.clone(), member)).collect())
        }
        (Value::Array(elements), Value::Array(_)) => {
            let named = |(place, element): (usize, &'v Value)| {
                let key = KEYS.iter().find_map(|key| element.get(key)?.as_str());
                (key.map_or_else(|| place.to_string(), str::to_owned), element)
            };
            Some(elements.iter().enumerate().map(named).collect())
        }
        // A machine that only one of them has is listed as a whole.
        _ => None,
    }
}

impl Changes {
    fn add(&mut self, path: &str, left: &Value, right: &Value) {
        if self.changes.len() == MODEL_CHANGES_MAX {
            self.more += 1;
            return;
        }
        let difference = left.as_f64().zip(right.as_f64()).map(|(left, right)| right - left);
        self.changes.push(Change { path: path.to_owned(), left: left.clone(), right: right.clone(), difference });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_state_does_not_differ() {
        let state = json!({ "machines": { "88-C": { "failures": 2 } } });
        assert_eq!(diff(&state, &state.clone()), Changes::default());
    }

    #[test]
    fn a_figure_is_told_with_its_place_and_by_how_much_it_differs() {
        let of = |failures: u64, oee: Value| json!({ "machines": { "88-C": { "failures": failures, "oee": oee } } });
        let changes = diff(&of(3, Value::Null), &of(2, json!(0.5))).changes;
        let paths: Vec<_> = changes.iter().map(|change| (change.path.as_str(), change.difference)).collect();
        assert_eq!(paths, [("88-C/failures", Some(-1.0)), ("88-C/oee", None)]);
    }

    #[test]
    fn elements_of_lists_are_compared_by_their_name_and_not_by_their_place() {
        let episode = |id: &str, code: &str| json!({ "id": id, "code": code });
        let left = json!({ "episodes": [episode("1", "A"), episode("2", "B")] });
        let right = json!({ "episodes": [episode("2", "B")] });
        let changes = diff(&left, &right).changes;
        assert_eq!((changes.len(), changes[0].path.as_str(), &changes[0].right), (1, "1", &Value::Null));
    }
}
