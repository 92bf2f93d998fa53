//! Models as tables.

use afferent_collector::api::models::{DiffReport, ModelReport, StateReport};
use afferent_collector::line::{Side, plain, table};
use afferent_collector::log::address::Partition;
use afferent_collector::models::CountedFromView;
use afferent_collector::models::diff::Change;
use afferent_collector::models::what_if::Report;
use serde_json::Value;

/// Members under which things stand by name.
const BY_NAME: [&str; 3] = ["machines", "subjects", "sources"];

/// Members that a table has no room for.
const ONLY_JSON: [&str; 7] =
    ["subject", "first_out", "late_first", "late_last", "counters", "counters_refused", "counts_from"];

pub fn list(list: &[ModelReport]) -> String {
    let heading = [
        ("MODEL", Side::Left),
        ("OF", Side::Left),
        ("STATE", Side::Left),
        ("OFFSET", Side::Right),
        ("BEHIND", Side::Right),
        ("SAVED", Side::Right),
        ("TITLE", Side::Left),
    ];
    let row = |report: &ModelReport| {
        vec![
            report.model.clone(),
            report.of.clone(),
            report.error.clone().map_or_else(|| report.state.clone(), |error| plain(&error).into_owned()),
            report.offset.clone(),
            report.behind.to_string(),
            report.snapshots.to_string(),
            report.title.clone(),
        ]
    };
    table(&heading, &list.iter().map(row).collect::<Vec<_>>())
}

/// A state: a line for everything that has a name or stands in a list, its figures beside each other.
pub fn state(report: &StateReport) -> String {
    let of = of_partition(report.partition);
    let mut out = format!("{} as of offset {}{of}, {}", report.model, report.offset, report.time);
    out += &format!("; {}\n", counts_from(&report.counts_from));
    let state = &report.state;
    let listed = ["episodes", "active"].iter().find_map(|key| state[key].as_array());
    let rows: Vec<(String, &Value)> = match listed {
        Some(list) => list.iter().map(|entry| (cell(&entry["subject"]), entry)).collect(),
        None => {
            let named = BY_NAME.iter().find_map(|key| state[key].as_object());
            named.into_iter().flatten().map(|(name, entry)| (name.clone(), entry)).collect()
        }
    };
    let Some((_, first @ Value::Object(_))) = rows.first() else { return out + "the model has no entries yet\n" };
    let columns = columns(first);
    let titles: Vec<String> = columns.iter().map(|path| path.join(".").to_uppercase()).collect();
    let mut heading = vec![("NAME", Side::Left)];
    heading.extend(titles.iter().map(|title| (title.as_str(), Side::Left)));
    let cells = rows.iter().map(|(name, entry)| {
        let figures = columns.iter().map(|path| cell(path.iter().fold(*entry, |value, key| &value[*key])));
        std::iter::once(plain(name).into_owned()).chain(figures).collect()
    });
    out += &table(&heading, &cells.collect::<Vec<Vec<String>>>());
    out + &not_shown(&state["not_shown"])
}

/// What has no room, in words.
fn not_shown(of: &Value) -> String {
    if of["now"] != true {
        return String::new();
    }
    let sources = of["sources"].as_array().into_iter().flatten();
    let kept = sources.map(|source| format!("{} ({} kept)", cell(&source["source"]), cell(&source["kept"])));
    format!("incomplete: the model has no room for all of {}\n", kept.collect::<Vec<_>>().join(", "))
}

/// Which partition an offset is of, in words: nothing of the one that is meant where none is named.
fn of_partition(number: u32) -> String {
    if number == Partition::EMBEDDED.get() { String::new() } else { format!(" of partition {number}") }
}

/// From where in the log figures count, in words.
fn counts_from(from: &CountedFromView) -> String {
    let place = |offset: &str, time: Option<&str>| match time {
        Some(time) => format!("offset {}, {}", plain(offset), plain(time)),
        None => format!("offset {}", plain(offset)),
    };
    let all = place(&from.offset, from.time.as_deref());
    match &from.samples {
        None => format!("counted from {all}"),
        Some(samples) => format!("counted from {all}, samples from {}", place(&samples.offset, Some(&samples.time))),
    }
}

/// Where the figures of an entry stand: its members, and the members of those that are objects.
fn columns(entry: &Value) -> Vec<Vec<&str>> {
    let mut columns = Vec::new();
    for (key, value) in entry.as_object().into_iter().flatten() {
        match value {
            Value::Array(_) => {}
            _ if ONLY_JSON.contains(&key.as_str()) => {}
            Value::Object(below) => columns.extend(below.keys().map(|below| vec![key.as_str(), below.as_str()])),
            _ => columns.push(vec![key.as_str()]),
        }
    }
    columns
}

pub fn diff(report: &DiffReport) -> String {
    let DiffReport { left, right, offset, time, .. } = report;
    let of = of_partition(report.partition);
    let mut out = format!("{left} against {right} as of offset {offset}{of}, {time}\n");
    if report.left_counts_from == report.right_counts_from {
        out += &format!("both {}\n", counts_from(&report.left_counts_from));
    } else {
        for (model, from) in [(&report.left, &report.left_counts_from), (&report.right, &report.right_counts_from)] {
            out += &format!("{model} {}\n", counts_from(from));
        }
    }
    out += &changes(&report.left, &report.right, &report.changes, report.more);
    out
}

pub fn what_if(report: &Report) -> String {
    let Report { from, until, time, .. } = report;
    let of = of_partition(report.partition);
    let mut out = format!("offsets {from} up to {until}{of}, as of {}\n", plain(time));
    let mut from: Vec<(&String, String)> = Vec::new();
    for (model, place) in &report.counts_from {
        from.push((model, counts_from(place)));
    }
    if from.windows(2).all(|pair| pair[0].1 == pair[1].1) {
        from.truncate(1);
        out += &from.iter().map(|(_, place)| format!("{place}\n")).collect::<String>();
    } else {
        out += &from.iter().map(|(model, place)| format!("{model} {place}\n")).collect::<String>();
    }
    for alternative in &report.alternatives {
        let (dropped, changed, added) = (alternative.dropped, alternative.changed, alternative.added);
        let name = plain(&alternative.name);
        out += &format!("\n{name}: {dropped} events dropped, {changed} changed, {added} added\n");
        if alternative.changes.is_empty() {
            out += "nothing differs\n";
        }
        for (model, found) in &alternative.changes {
            out += &format!("\n{model}\n{}", changes("actual", "assumed", &found.changes, found.more));
        }
    }
    out
}

fn changes(left: &str, right: &str, changes: &[Change], more: u64) -> String {
    if changes.is_empty() {
        return "nothing differs\n".to_owned();
    }
    let (left, right) = (left.to_uppercase(), right.to_uppercase());
    let heading = [("FIGURE", Side::Left), (&*left, Side::Right), (&*right, Side::Right), ("DIFFERENCE", Side::Right)];
    let row = |change: &Change| {
        let difference = change.difference.map(|by| format!("{}{}", if by > 0.0 { "+" } else { "" }, rounded(by)));
        vec![plain(&change.path).into_owned(), cell(&change.left), cell(&change.right), difference.unwrap_or_default()]
    };
    let mut out = table(&heading, &changes.iter().map(row).collect::<Vec<_>>());
    if more > 0 {
        out += &format!("and {more} more; --output json lists up to ten thousand\n");
    }
    out
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => plain(text).into_owned(),
        Value::Number(number) if number.is_f64() => rounded(number.as_f64().unwrap_or_default()),
        Value::Object(_) | Value::Array(_) => {
            let text = value.to_string();
            let short: String = plain(&text).chars().take(60).collect();
            if short.len() < text.len() { short + "…" } else { short }
        }
        other => other.to_string(),
    }
}

fn rounded(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(model: &str, counts_from: Value, state: Value) -> StateReport {
        let time = "2021-09-13T23:54:31Z";
        let (cursor, offset) = (Value::Null, "9");
        let answer = json!({
            "model": model, "offset": offset, "time": time, "counts_from": counts_from, "cursor": cursor, "state": state,
        });
        serde_json::from_value(answer).unwrap()
    }

    #[test]
    fn what_is_listed_is_shown_and_what_it_counts_from() {
        let episode = json!({ "subject": "88-C", "code": "E1", "first_out": null, "alarms": [] });
        let from = json!({ "offset": "7", "time": "2021-09-13T23:54:31Z" });
        let state = json!({ "episodes": [episode], "machines": { "88-C": { "late": 0 } } });
        let text = self::state(&answer("breakdowns@1", from, state));
        let rows: Vec<&str> = text.lines().collect();
        assert!(rows[0].ends_with("; counted from offset 7, 2021-09-13T23:54:31Z"), "{text}");
        assert_eq!(rows[1].split_whitespace().collect::<Vec<_>>(), ["NAME", "CODE"]);
        assert_eq!(rows[2].split_whitespace().collect::<Vec<_>>(), ["88-C", "E1"]);
    }

    #[test]
    fn figures_that_stand_in_an_object_have_columns_of_their_own() {
        let source = |lost: u64| json!({ "lost": { "critical": 0, "samples": lost }, "lag_s": 0.25, "losses": [1, 2] });
        let state = json!({ "sources": { "a": source(7), "b": source(123) } });
        let text = self::state(&answer("sources@1", json!({ "offset": "0", "time": null }), state));
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["NAME", "LAG_S", "LOST.CRITICAL", "LOST.SAMPLES"]);
        assert_eq!(rows[1..], [["a", "0.25", "0", "7"], ["b", "0.25", "0", "123"]]);
        let first = "sources@1 as of offset 9, 2021-09-13T23:54:31Z; counted from offset 0\n";
        assert!(text.starts_with(first), "{text}");
        let from = json!({ "offset": "5", "time": "T", "samples": { "offset": "7", "time": "U" } });
        let text = self::state(&answer("sources@1", from, json!({})));
        assert!(text.contains("; counted from offset 5, T, samples from offset 7, U\n"), "{text}");
    }
}
