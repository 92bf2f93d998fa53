//! A certificate as a page to print.

use std::collections::BTreeMap;
use std::fmt::Write;

use afferent_protocol::ids::{SourceId, Stream};

use super::{About, Cause, Certificate, Fate, LogEvidence, SourceCertificate, Verdict, time_text};
use crate::cloud_event::names::loss_reason;
use crate::limits::CERTIFICATE_LINES_MAX;
use crate::line::plain;
use crate::log::KeyOrigin;

/// The certificate as plain text: one statement a line, and no more lines than fit a page.
pub fn text(certificate: &Certificate) -> String {
    let mut lines = head(certificate);
    let foot = wrapped(&certificate.rests_on);
    let mut rest = Vec::new();
    for (heading, texts) in [("refuted", &certificate.refuted), ("open", &certificate.open)] {
        if !texts.is_empty() {
            rest.push(String::new());
            rest.push(format!("{heading}:"));
            rest.extend(texts.iter().map(|text| format!("  {}", plain(text))));
        }
    }
    rest.push(String::new());
    rest.extend(certificate.sources.iter().flat_map(source));
    rest.extend(lanes(certificate));
    for held in &certificate.in_ring {
        let (first, end) = (held.first, held.end);
        rest.push(format!("{} {}: sequences {first} up to {end} are in its ring log", held.source, held.stream));
    }
    let room = CERTIFICATE_LINES_MAX.saturating_sub(lines.len() + foot.len() + 2);
    let more = rest.len().saturating_sub(room);
    rest.truncate(room);
    lines.append(&mut rest);
    if more > 0 {
        lines.push(format!("and {more} more lines: --output json has all of them"));
    }
    lines.push(String::new());
    lines.extend(foot);
    lines.join("\n") + "\n"
}

fn head(certificate: &Certificate) -> Vec<String> {
    let about = match &certificate.about {
        About::Source(source) => format!("source {source}"),
        About::Machine(machine) => format!("machine {}", plain(machine)),
        About::Log => "everybody".to_owned(),
    };
    let log = &certificate.log;
    let mut lines = vec!["CERTIFICATE OF COMPLETENESS".to_owned(), String::new()];
    let mut line = |name: &str, value: String| lines.push(format!("{name:<10} {value}"));
    line("of", about);
    line("from", time_text(certificate.span.from));
    line("until", time_text(certificate.span.until));
    line("verdict", verdict(certificate));
    line(
        "log",
        format!(
            "partition {}, offsets {} up to {}, newest batch at {}",
            log.partition,
            log.first,
            log.end,
            time_text(log.time)
        ),
    );
    lines
}

fn source(known: &SourceCertificate) -> Vec<String> {
    let mut lines = Vec::new();
    match known.known_until {
        Some(time) => lines.push(format!("{}: known until {}", known.source, time_text(time))),
        None => lines.push(format!("{}: nothing is certain", known.source)),
    }
    if let Some(by) = &known.retired {
        let (time, who, why) = (time_text(by.time), plain(&by.who), plain(&by.why));
        lines.push(format!("{}: retired {time} by {who} (unverified): {why}", known.source));
    }
    lines
}

/// One line for all present epochs of a stream, and one for every other range.
fn lanes(certificate: &Certificate) -> Vec<String> {
    let mut streams: BTreeMap<(SourceId, Stream), (u64, u64, Vec<String>)> = BTreeMap::new();
    for lane in &certificate.lanes {
        let (epochs, events, told) = streams.entry((lane.source, lane.stream)).or_default();
        *epochs += 1;
        for range in &lane.ranges {
            let (first, end) = (range.first, range.end);
            let fate = match range.fate {
                Fate::Present => {
                    *events += range.end.since(range.first);
                    continue;
                }
                Fate::Removed => "REMOVED by retention".to_owned(),
                Fate::Lost { reason, declared } => {
                    format!("LOST ({}), declared {}", loss_reason(reason), time_text(declared))
                }
                Fate::Missing => "MISSING, not declared".to_owned(),
            };
            told.push(format!("  {}: sequences {first} up to {end}: {fate}", lane.epoch));
        }
    }
    let mut lines = Vec::new();
    for ((source, stream), (epochs, events, told)) in streams {
        let epochs = if epochs == 1 { String::new() } else { format!(" in {epochs} epochs") };
        let all = if told.is_empty() { "all present" } else { "present except" };
        lines.push(format!("{source} {stream}: batches with {events} events{epochs}, {all}"));
        lines.extend(told);
    }
    lines
}

fn verdict(certificate: &Certificate) -> String {
    let by = match (certificate.log.key_origin, certificate.log.keys.first()) {
        (KeyOrigin::Found, Some(key)) => format!("with the key found there: {key}; give one with --key"),
        (KeyOrigin::Found, None) => "without a key: none was found".to_owned(),
        (KeyOrigin::Named, _) => "with the given key".to_owned(),
        (KeyOrigin::Answering, _) => "with the key of the answering collector; give one with --key".to_owned(),
    };
    let said = match certificate.verdict {
        Verdict::Complete => "COMPLETE: everything that was accepted in the span is in the log",
        Verdict::Refuted => "REFUTED: the log is not as it was written",
        Verdict::Incomplete => match certificate.causes.first() {
            Some(Cause::Missing) => "INCOMPLETE: something is missing and was not declared lost",
            Some(Cause::DeclaredLoss) => "INCOMPLETE: the source has declared losses",
            Some(Cause::Removed) => "INCOMPLETE: retention has removed samples",
            Some(Cause::Open) | None => "INCOMPLETE: nothing is known to be missing, but something is open",
        },
    };
    let also_open = certificate.causes.len() > 1 && certificate.causes.contains(&Cause::Open);
    let also = if certificate.verdict == Verdict::Incomplete && also_open { ", and something is open" } else { "" };
    format!("{said}{also}\n{:<10} {by}", "")
}

/// The evidence of a certificate, in a sentence.
pub(super) fn rests_on(sources: &[SourceCertificate], log: &LogEvidence) -> String {
    let mut out = String::from("It rests on the signatures of ");
    let signers: Vec<_> = sources.iter().filter(|source| source.key.is_some()).collect();
    for (at, source) in signers.iter().take(4).enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        let key = source.key.as_deref().unwrap_or_default();
        let _ = write!(out, "{comma}{} ({}…)", source.source, &key[..key.len().min(16)]);
    }
    if signers.len() > 4 {
        let _ = write!(out, " and {} more", signers.len() - 4);
    }
    if !signers.is_empty() {
        out.push_str(" and ");
    }
    let key = log.keys.first().map_or("without a key", |key| &key[..16.min(key.len())]);
    let whose = match log.key_origin {
        KeyOrigin::Named => "given by the person who asked",
        KeyOrigin::Answering => "claimed by the collector itself",
        KeyOrigin::Found => "found in the log, not confirmed",
    };
    let _ = write!(out, "of {} ({key}…, {whose}), ", log.collector);
    match &log.attested {
        Some(bound) => {
            let _ = write!(
                out,
                "on {} attestations that bind the log up to offset {} ({}), ",
                log.attestations,
                bound.end,
                time_text(bound.time)
            );
        }
        None => out.push_str("on no attestation, "),
    }
    match &log.witnessed {
        Some(bound) => {
            let _ = write!(
                out,
                "and on witness {} from outside, up to offset {} ({}): what follows could have been rewritten by \
                 someone who has the collector's key.",
                bound.number,
                bound.end,
                time_text(bound.time)
            );
        }
        None => out.push_str(
            "and on no witness from outside: someone who has the collector's key could have rewritten the whole log.",
        ),
    }
    out.push_str(&passed(log.witnesses_passed));
    out
}

/// A sentence about witnesses of entries that are not kept any more.
pub fn passed(witnesses: u64) -> String {
    match witnesses {
        0 => String::new(),
        1 => " One witness ends before the oldest kept entry, and says nothing about the rest.".to_owned(),
        more => format!(" {more} witnesses end before the oldest kept entry, and say nothing about the rest."),
    }
}

/// Wraps a long sentence.
fn wrapped(text: &str) -> Vec<String> {
    const COLUMNS: usize = 100;
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > COLUMNS {
            lines.push(word.to_owned());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}
