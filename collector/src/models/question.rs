//! The requested part of a state: which machine, which time, and how many rows.
//!
//! It works on any model's state for readers, so that API and command line mean the same. A *row* is an interval of a
//! machine, a breakdown, an alarm, or an element that a model keeps by name. Times are event times, corrected where the
//! source's clock is not trusted.

use afferent_host::hex;
use afferent_protocol::checksum::crc32c;
use afferent_protocol::ids::Timestamp;
use serde_json::{Map, Value};

use super::BuiltIn;
use super::span::Span;
use crate::cloud_event::put_rfc3339;
use crate::limits::MODEL_ROWS_MAX;

/// Members of a state that are lists of rows.
const LISTS: [&str; 2] = ["episodes", "active"];
/// Members of a state that hold rows by name.
const BY_NAME: [&str; 3] = ["machines", "subjects", "sources"];

/// Why a question cannot be answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// The span ends before it begins.
    #[error("`until` is not after `from`")]
    Span,
    /// The model's figures have no times of their own.
    #[error(
        "{0} cannot be limited to a span; ask for it with as_of, or ask for states, breakdowns, alarms or kpi with \
         `from` and `until`"
    )]
    Timeless(&'static str),
    /// The cursor was not issued for this question.
    #[error("`cursor` was not returned for this question; send a cursor back unchanged, or start without one")]
    Cursor,
}

/// The requested part; all of a state by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateSelection {
    /// Only this machine.
    pub machine: Option<String>,
    /// This number of the newest intervals of every machine.
    pub intervals: Option<usize>,
    /// Rows that overlap this span, or the figures of it.
    pub span: Span,
    /// Largest number of rows, from 1 on.
    pub limit: Option<usize>,
    /// The cursor of the previous page.
    pub cursor: Option<String>,
}

/// A checked question; all of a state by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViewQuery {
    machine: Option<String>,
    intervals: Option<usize>,
    /// Rows that overlap this span, or the figures of it.
    span: Span,
    limit: Option<usize>,
    /// The last row of the previous page.
    after: Option<Key>,
    /// Binds a cursor to its question.
    checksum: u32,
}

/// Sort key of a row: it stays the same whatever rows come in between.
type Key = (String, String);

impl ViewQuery {
    /// A question to a model. A cursor belongs to one question, whatever the page's limit is.
    ///
    /// # Errors
    ///
    /// When the span is empty, the model keeps no times, or the cursor belongs to a different question.
    pub fn new(of: &BuiltIn, wanted: StateSelection) -> Result<Self, QuestionError> {
        let StateSelection { machine, intervals, span, limit, cursor } = wanted;
        assert!(limit != Some(0) && limit.max(intervals) <= Some(MODEL_ROWS_MAX), "so many rows can be asked for");
        if span.from.zip(span.until).is_some_and(|(from, until)| until <= from) {
            return Err(QuestionError::Span);
        }
        if !span.is_all() && matches!(of, BuiltIn::Last(_) | BuiltIn::Sources(_)) {
            return Err(QuestionError::Timeless(of.name()));
        }
        let count = intervals.map(|count| count.to_string());
        let asked = [machine.clone(), count, span.from.map(rfc3339), span.until.map(rfc3339)];
        let checksum = crc32c(format!("{} {asked:?}", of.name()).as_bytes());
        let after = cursor.map(|text| read_cursor(&text, checksum).ok_or(QuestionError::Cursor)).transpose()?;
        Ok(Self { machine, intervals, span, limit, after, checksum })
    }

    /// The span of the requested figures, see [`super::Model::view_within`].
    pub fn span(&self) -> Span {
        self.span
    }

    /// Removes the other parts from a state; returns the cursor of the next page, if there is more.
    pub fn keep(&self, state: &mut Value) -> Option<String> {
        let members = state.as_object_mut()?;
        if let Some(machine) = &self.machine {
            keep_machine(members, machine);
        }
        if !self.span.is_all() {
            self.keep_span(members);
        }
        if let Some(count) = self.intervals {
            for intervals in members.values_mut().flat_map(intervals_of) {
                intervals.drain(..intervals.len().saturating_sub(count));
            }
        }
        if self.limit.is_none() && self.after.is_none() {
            return None;
        }
        self.keep_page(members).map(|last| self.cursor(&last))
    }

    /// Figures have no rows: they are those of the span already.
    fn keep_span(&self, members: &mut Map<String, Value>) {
        let (from, until) = (self.span.from.map(rfc3339), self.span.until.map(rfc3339));
        let overlaps = |row: &Value| overlaps(row, from.as_deref(), until.as_deref());
        for list in LISTS {
            if let Some(Value::Array(rows)) = members.get_mut(list) {
                rows.retain(overlaps);
            }
        }
        for intervals in members.values_mut().flat_map(intervals_of) {
            intervals.retain(overlaps);
        }
    }

    /// Keeps the rows behind the cursor, up to the limit; returns the last one when there are more.
    fn keep_page(&self, members: &mut Map<String, Value>) -> Option<Key> {
        let limit = self.limit.unwrap_or(usize::MAX);
        let is_next = |key: &Key| self.after.as_ref().is_none_or(|after| key > after);
        for list in LISTS {
            let Some(Value::Array(rows)) = members.get_mut(list) else { continue };
            let mut keyed: Vec<(Key, Value)> =
                std::mem::take(rows).into_iter().map(|row| (list_key(&row), row)).collect();
            keyed.retain(|(key, _)| is_next(key));
            keyed.sort_by(|(one, _), (other, _)| one.cmp(other));
            let last = (keyed.len() > limit).then(|| keyed[limit - 1].0.clone());
            rows.extend(keyed.into_iter().take(limit).map(|(_, row)| row));
            return last;
        }
        let by_name = BY_NAME.iter().find(|name| members.get(**name).is_some_and(Value::is_object))?;
        let things = members.get_mut(*by_name)?.as_object_mut()?;
        let mut keys: Vec<Key> = things.iter().flat_map(|(name, thing)| keys_of(name, thing)).collect();
        keys.retain(is_next);
        keys.sort();
        let last = (keys.len() > limit).then(|| keys[limit - 1].clone());
        keys.truncate(limit);
        let is_kept = |key: &Key| keys.binary_search(key).is_ok();
        things.retain(|name, thing| {
            if let Some(Value::Array(intervals)) = thing.get_mut("intervals") {
                let had = !intervals.is_empty();
                intervals.retain(|interval| is_kept(&interval_key(name, interval)));
                return !intervals.is_empty() || (!had && is_kept(&(name.clone(), String::new())));
            }
            is_kept(&(name.clone(), String::new()))
        });
        last
    }

    fn cursor(&self, (one, other): &Key) -> String {
        format!("{:08x}.{}.{}", self.checksum, hex::encode(one.as_bytes()), hex::encode(other.as_bytes()))
    }
}

/// Texts of times in one format sort by time.
fn overlaps(row: &Value, from: Option<&str>, until: Option<&str>) -> bool {
    let begin = row["from"].as_str().or_else(|| row["raised"].as_str()).unwrap_or_default();
    let ends_before = |from: &str| row["until"].as_str().is_some_and(|end| end <= from && begin < from);
    until.is_none_or(|until| begin < until) && !from.is_some_and(ends_before)
}

fn keep_machine(members: &mut Map<String, Value>, machine: &str) {
    for name in BY_NAME {
        // By machine, or by subject, of which the machine is the first level.
        if let Some(Value::Object(things)) = members.get_mut(name) {
            things.retain(|name, _| super::machine_of(name) == machine);
        }
    }
    for list in LISTS {
        if let Some(Value::Array(rows)) = members.get_mut(list) {
            rows.retain(|row| row.get("machine").is_none_or(|of| of == machine));
        }
    }
}

/// The intervals of all elements by name.
fn intervals_of(member: &mut Value) -> impl Iterator<Item = &mut Vec<Value>> {
    let things = member.as_object_mut().into_iter().flat_map(Map::values_mut);
    things.filter_map(|thing| thing.get_mut("intervals")?.as_array_mut())
}

/// Alarms are sorted by priority, the most urgent first, then as all rows by time.
fn list_key(row: &Value) -> Key {
    let text = |name: &str| row[name].as_str().unwrap_or_default();
    let urgency = row["priority"].as_u64().map_or(0, |priority| 10_000_u64.saturating_sub(priority));
    let (begin, id) =
        if row["raised"].is_string() { (text("raised"), text("offset")) } else { (text("from"), text("id")) };
    (format!("{urgency:05} {begin}"), format!("{id:0>20} {}", text("subject")))
}

fn keys_of(name: &str, thing: &Value) -> Vec<Key> {
    match thing["intervals"].as_array() {
        Some(intervals) if !intervals.is_empty() => {
            intervals.iter().map(|interval| interval_key(name, interval)).collect()
        }
        _ => vec![(name.to_owned(), String::new())],
    }
}

fn interval_key(name: &str, interval: &Value) -> Key {
    (name.to_owned(), interval["from"].as_str().unwrap_or_default().to_owned())
}

fn rfc3339(time: Timestamp) -> String {
    let mut text = Vec::new();
    put_rfc3339(&mut text, time);
    String::from_utf8(text).expect("a time is ASCII")
}

fn read_cursor(text: &str, checksum: u32) -> Option<Key> {
    let (sum, key) = text.split_once('.')?;
    let (one, other) = key.split_once('.')?;
    let read = |digits: &str| String::from_utf8(hex::decode(digits)?).ok();
    (u32::from_str_radix(sum, 16).ok()? == checksum).then_some((read(one)?, read(other)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn t(second: u64) -> String {
        rfc3339(Timestamp::new(second as i64 * 1_000_000).unwrap())
    }

    fn of(name: &str) -> BuiltIn {
        BuiltIn::all().into_iter().find(|of| of.name() == name).unwrap()
    }

    fn question(model: &str, asked: &[(&str, &str)]) -> Result<ViewQuery, QuestionError> {
        let get = |name: &str| asked.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let count = |name| get(name).map(|count| count.parse().unwrap());
        let time = |name| get(name).map(|time| time.parse::<jiff::Timestamp>().unwrap().as_microsecond());
        let [from, until] = ["from", "until"].map(|name| time(name).map(Timestamp::clamped));
        let wanted = StateSelection {
            machine: get("machine").map(str::to_owned),
            intervals: count("intervals"),
            span: Span { from, until },
            limit: count("limit"),
            cursor: get("cursor").map(str::to_owned),
        };
        ViewQuery::new(&of(model), wanted)
    }

    fn kept(model: &str, asked: &[(&str, &str)], state: &Value) -> Value {
        let mut state = state.clone();
        question(model, asked).unwrap().keep(&mut state);
        state
    }

    fn interval(from: u64, until: Option<u64>) -> Value {
        json!({ "state": "executing", "from": t(from), "until": until.map(t) })
    }

    fn states() -> Value {
        let of = |intervals: Vec<Value>| json!({ "state": "executing", "intervals": intervals });
        json!({ "refused": 3, "machines": {
            "88-C": of(vec![interval(10, Some(20)), interval(20, Some(30)), interval(40, None)]),
            "77-A": of(vec![interval(5, Some(50))]),
            "66-B": of(vec![]),
        } })
    }

    #[test]
    fn of_a_span_there_are_the_intervals_that_overlap_it() {
        let all = |asked: &[(&str, &str)]| {
            let state = kept("states", asked, &states());
            let of = |machine: &str| {
                let intervals = state["machines"][machine]["intervals"].as_array().map_or(&[][..], |list| list);
                intervals.iter().map(|interval| interval["from"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            (of("88-C"), of("77-A"))
        };
        assert_eq!(all(&[("from", &t(20)), ("until", &t(40))]), (vec![t(20)], vec![t(5)]));
        assert_eq!(all(&[("until", &t(10))]), (vec![], vec![t(5)]));
        assert_eq!(all(&[("from", &t(50))]), (vec![t(40)], vec![]), "what has no end lasts");
        assert_eq!(all(&[("machine", "77-A")]), (vec![], vec![t(5)]));
        assert_eq!(all(&[("intervals", "1")]), (vec![t(40)], vec![t(5)]));
        assert_eq!(kept("states", &[("machine", "88-C")], &states())["refused"], 3, "figures of all stay");
    }

    #[test]
    fn a_part_of_a_state_leaves_out_other_machines_and_older_intervals() {
        let state = json!({
            "machines": { "88-C": { "intervals": [1, 2, 3] }, "89": { "intervals": [4] } },
            "subjects": { "88-C/spindle": 1, "88-Cx/spindle": 2 },
            "active": [{ "machine": "88-C" }, { "machine": "89" }],
            "dropped": { "count": 5, "by_priority": { "900": 5 } },
            "forgotten": 0,
        });
        assert_eq!(kept("states", &[], &state), state);
        let of_machine = json!({
            "machines": { "88-C": { "intervals": [3] } },
            "subjects": { "88-C/spindle": 1 },
            "active": [{ "machine": "88-C" }],
            "dropped": { "count": 5, "by_priority": { "900": 5 } },
            "forgotten": 0,
        });
        assert_eq!(kept("states", &[("machine", "88-C"), ("intervals", "1")], &state), of_machine);
        assert_eq!(kept("states", &[("intervals", "0")], &state)["machines"]["89"], json!({ "intervals": [] }));
    }

    #[test]
    fn breakdowns_and_alarms_are_chosen_by_their_times_and_the_most_urgent_alarm_comes_first() {
        let episode = |id: u64, from: u64, until: Option<u64>| json!({ "id": id.to_string(), "machine": "88-C", "subject": "88-C", "from": t(from), "until": until.map(t) });
        let breakdowns = json!({ "episodes": [episode(9, 10, Some(20)), episode(10, 30, None)] });
        let ids = |state: Value| -> Vec<String> {
            let rows = state["episodes"].as_array().unwrap().iter();
            rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(ids(kept("breakdowns", &[("until", &t(30))], &breakdowns)), ["9"]);
        assert_eq!(ids(kept("breakdowns", &[("from", &t(20))], &breakdowns)), ["10"]);
        assert_eq!(ids(kept("breakdowns", &[("machine", "77-A")], &breakdowns)), [""; 0]);
        let alarm = |offset: u64, priority: u64, raised: u64| json!({ "offset": offset.to_string(), "machine": "88-C", "priority": priority, "raised": t(raised) });
        let alarms = json!({ "active": [alarm(3, 100, 5), alarm(2, 900, 8), alarm(1, 900, 7)] });
        let first = kept("alarms", &[("limit", "2")], &alarms);
        assert_eq!((&first["active"][0]["offset"], &first["active"][1]["offset"]), (&json!("1"), &json!("2")));
        assert_eq!(kept("alarms", &[("until", &t(7))], &alarms)["active"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_what_to_do() {
        let refused = |model: &str, asked: &[(&str, &str)]| question(model, asked).unwrap_err();
        assert_eq!(refused("states", &[("from", &t(5)), ("until", &t(5))]), QuestionError::Span);
        let figures = question("kpi", &[("from", &t(5))]).unwrap();
        assert_eq!((figures.span().from, figures.span().until), (Timestamp::new(5_000_000), None));
        assert_eq!(refused("last", &[("from", &t(5))]), QuestionError::Timeless("last"));
        assert_eq!(refused("sources", &[("from", &t(5))]), QuestionError::Timeless("sources"));
        let mut state = states();
        let cursor = question("states", &[("limit", "1")]).unwrap().keep(&mut state).unwrap();
        assert!(question("states", &[("cursor", &cursor), ("limit", "7")]).is_ok(), "pages may have other sizes");
        assert_eq!(refused("states", &[("cursor", &cursor), ("machine", "88-C")]), QuestionError::Cursor);
        for text in ["", ".", "x", "00000000.zz.", "é.é.é", &cursor[..cursor.len() - 1]] {
            assert_eq!(refused("states", &[("cursor", text)]), QuestionError::Cursor, "{text}");
        }
    }

    proptest! {
        #[test]
        fn pages_are_the_whole_whatever_their_size(
            machines in prop::collection::btree_map("[a-zäö.~!]{1,6}", prop::collection::btree_set(0..99_u64, 0..6), 0..8),
            limit in 1..12_usize,
        ) {
            let of = |times: &std::collections::BTreeSet<u64>| {
                json!({ "intervals": times.iter().map(|time| interval(*time, None)).collect::<Vec<_>>() })
            };
            let by_name: Map<String, Value> = machines.iter().map(|(name, times)| (name.clone(), of(times))).collect();
            let whole = json!({ "machines": by_name });
            let (mut rows, mut cursor, limit) = (Vec::new(), None::<String>, limit.to_string());
            loop {
                let mut asked = vec![("limit", limit.as_str())];
                asked.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
                let mut page = whole.clone();
                let next = question("states", &asked).unwrap().keep(&mut page);
                let things = page["machines"].as_object().unwrap();
                let mut found: Vec<Key> = things.iter().flat_map(|(name, thing)| keys_of(name, thing)).collect();
                found.sort();
                prop_assert!(next.is_none() || found.len() == limit.parse::<usize>().unwrap());
                rows.extend(found);
                cursor = next;
                if cursor.is_none() { break; }
            }
            let mut expected: Vec<Key> = by_name.iter().flat_map(|(name, thing)| keys_of(name, thing)).collect();
            expected.sort();
            prop_assert_eq!(rows, expected);
        }
    }
}
