//! Ranges of severities, as people write them: `error`, `warning..`, `..info`, `info..error`.

use std::ops::RangeInclusive;

use afferent_protocol::event::Severity;

use crate::cloud_event::names;

const ALL: [Severity; 5] = [Severity::Debug, Severity::Info, Severity::Warning, Severity::Error, Severity::Fatal];

/// The numbers of this severity on OpenTelemetry's scale: it is the lowest of four.
fn numbers(name: &str) -> Option<RangeInclusive<u8>> {
    let severity = ALL.into_iter().find(|severity| names::severity(*severity) == name)?;
    Some(severity.number()..=severity.number() + 3)
}

/// Reads a range of severities; both ends are in it.
pub(super) fn parse(text: &str) -> Option<RangeInclusive<u8>> {
    let Some((from, to)) = text.split_once("..") else { return numbers(text) };
    let from = if from.is_empty() { 0 } else { *numbers(from)?.start() };
    let to = if to.is_empty() { u8::MAX } else { *numbers(to)?.end() };
    (from <= to && text != "..").then_some(from..=to)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_severities_has_both_its_ends_and_either_may_be_left_out() {
        for (text, range) in [("error", 17..=20), ("warning..", 13..=255), ("..info", 0..=12), ("info..error", 9..=20)]
        {
            assert_eq!(parse(text), Some(range), "{text}");
        }
        for text in ["", "..", "Error", "error..info", "17", "a..b", "error...", "error..error..error"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
