//! An event as a line for people:
//!
//! ```text
//! 1042  2021-09-13T23:54:31Z  88-C  breakdown  E42  error  Belt torn  (press-88)
//! ```
//!
//! All texts in it come from events and are made safe for a terminal.

mod plain;
mod table;

use afferent_protocol::event::Kind;
use anstyle::{AnsiColor, Style};
use serde_json::Value;

use crate::kinds::{self, UNREADABLE};
pub use plain::plain;
pub use table::{Side, Widths, table};

const FAINT: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// Renders events as aligned lines.
#[derive(Debug, Default)]
pub struct LineRenderer {
    widths: Widths,
}

impl LineRenderer {
    /// The line of an event, coloured, without a line end. Input that is not an event is returned as it is, made safe.
    pub fn line(&mut self, json: &str) -> String {
        let Ok(event) = serde_json::from_str::<Value>(json) else { return plain(json).into_owned() };
        let text = |name: &str| event[name].as_str().unwrap_or_default();
        let kind = kinds::short_name(text("type"));
        let severity = severity(event["severitynumber"].as_u64().unwrap_or_default());
        let offset = self.widths.fit(0, Side::Right, &plain(text("offset")));
        let time = self.widths.fit(1, Side::Left, &plain(&short_time(text("time"))));
        let subject = self.widths.fit(2, Side::Left, &plain(text("subject")));
        let kind_column = self.widths.fit(3, Side::Left, &plain(kind));
        let details = details(kind, &event["data"]);
        let (details, source) = (plain(&details).into_owned(), plain(text("source")));
        format!(
            "{offset}  {FAINT}{time}{FAINT:#}  {STRONG}{subject}{STRONG:#}  {severity}{kind_column}{severity:#}  \
             {severity}{details}{severity:#}  {FAINT}({source}){FAINT:#}"
        )
    }
}

fn severity(number: u64) -> Style {
    match number {
        17.. => AnsiColor::Red.on_default(),
        13..17 => AnsiColor::Yellow.on_default(),
        _ => Style::new(),
    }
}

/// The time without a fraction of zero.
fn short_time(time: &str) -> String {
    match time.strip_suffix('Z').and_then(|time| time.split_once('.')) {
        Some((seconds, decimals)) => match decimals.trim_end_matches('0') {
            "" => format!("{seconds}Z"),
            decimals => format!("{seconds}.{decimals}Z"),
        },
        None => time.to_owned(),
    }
}

/// The details of an event beside its time and subject.
fn details(kind: &str, data: &Value) -> String {
    let text = |name: &str| match &data[name] {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    };
    let parts = match Kind::named(kind) {
        Some(Kind::Sample) => {
            let quality = Some(text("quality")).filter(|quality| quality != "good");
            let value = format!("{} {}", text("value"), text("unit"));
            vec![value.trim_end().to_owned(), quality.unwrap_or_default()]
        }
        Some(kind @ (Kind::Breakdown | Kind::Recovery | Kind::State | Kind::Alarm)) => {
            kinds::of(kind).fields.iter().map(|field| text(field)).collect()
        }
        Some(Kind::Loss) => {
            let range = format!("{} {}..{} of epoch {}", text("stream"), text("first"), text("end"), text("epoch"));
            vec![text("reason"), range]
        }
        Some(Kind::ClockStep) => {
            let step = data["step_us"].as_f64().unwrap_or_default() / 1e6;
            vec![format!("{step:+} s"), format!("{} to {}", text("before"), text("after"))]
        }
        Some(Kind::LifeCycle) => life_cycle(data),
        None if kind == kinds::short_name(UNREADABLE) => vec![format!("{} events", text("count")), text("reason")],
        Some(Kind::Derived | Kind::Progress | Kind::Followed) | None => vec![data.to_string()],
    };
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

/// The change first, then all its other members.
fn life_cycle(data: &Value) -> Vec<String> {
    let mut parts = vec![data["change"].as_str().unwrap_or_default().to_owned()];
    for (name, value) in data.as_object().into_iter().flatten().filter(|(name, _)| *name != "change") {
        match value {
            Value::String(text) if text.is_empty() => {}
            Value::String(text) => parts.push(format!("{name} {text}")),
            other => parts.push(format!("{name} {other}")),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(json: &str) -> String {
        anstream::adapter::strip_str(&LineRenderer::default().line(json)).to_string()
    }

    #[test]
    fn a_breakdown_is_a_line_that_a_person_reads_at_once() {
        let json = r#"{"offset":"1042","time":"2021-09-13T23:54:31.000000Z","subject":"88-C","source":"press-88",
            "type":"afferent.breakdown.v1","severitynumber":17,
            "data":{"code":"E42","severity":"error","message":"Belt torn"}}"#;
        assert_eq!(line(json), "1042  2021-09-13T23:54:31Z  88-C  breakdown  E42  error  Belt torn  (press-88)");
    }

    #[test]
    fn every_kind_has_its_own_words() {
        for (kind, data, told) in [
            ("sample", r#"{"value":81.4,"unit":"Cel","quality":"good"}"#, "81.4 Cel"),
            ("sample", r#"{"value":true,"unit":"","quality":"bad"}"#, "true  bad"),
            ("state", r#"{"state":"executing","reason":""}"#, "executing"),
            (
                "alarm",
                r#"{"condition":"oil","transition":"raised","priority":700,"message":"low"}"#,
                "oil  raised  700  low",
            ),
            ("clockstep", r#"{"before":"a","after":"b","step_us":-1500000}"#, "-1.5 s  a to b"),
            (
                "loss",
                r#"{"stream":"samples","epoch":"07","first":5,"end":9,"reason":"evicted"}"#,
                "evicted  samples 5..9 of epoch 07",
            ),
            ("lifecycle", r#"{"change":"link_down","peer":"c","reason":"eof"}"#, "link_down  peer c  reason eof"),
        ] {
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(details(kind, &data), told);
        }
    }

    #[test]
    fn no_event_writes_control_characters_to_the_terminal() {
        let text =
            line(r#"{"offset":"1","subject":"a\u001b[2J","type":"x\u0007","data":"\u001b]0;t\u0007","source":"s"}"#);
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert_eq!(line("no json\u{7}"), "no json\\u{7}");
    }
}
