//! A certificate as people print it.

use std::fmt::Write;

use super::{About, Certificate, Fate, Verdict, time_text};
use crate::cloud_event::names::loss_reason;
use crate::line::plain;

/// The certificate as plain text, a statement a line.
pub fn text(certificate: &Certificate) -> String {
    let mut out = String::from("CERTIFICATE OF COMPLETENESS\n\n");
    let about = match &certificate.about {
        About::Source(source) => format!("source {source}"),
        About::Machine(machine) => format!("machine {}", plain(machine)),
    };
    let (from, until) = (time_text(certificate.span.from), time_text(certificate.span.until));
    let log = &certificate.log;
    let mut line = |name: &str, value: String| writeln!(out, "{name:<10} {value}").expect("a string takes text");
    line("of", about);
    line("from", from);
    line("until", until);
    line("verdict", verdict(certificate).to_owned());
    line("log", format!("offsets {} up to {}, sealed up to {}", log.first, log.end, log.sealed_until));
    line("", format!("newest batch at {}", time_text(log.time)));
    line("collector", format!("{} with key {}", log.collector, log.key));
    for lane in &certificate.lanes {
        let known = time_text(lane.known_until);
        writeln!(out, "\n{} {} {}, known until {known}", lane.source, lane.stream, lane.epoch).expect("as above");
        for range in &lane.ranges {
            let fate = match range.fate {
                Fate::Present => "all present".to_owned(),
                Fate::Removed => "REMOVED by retention".to_owned(),
                Fate::Lost { reason, declared } => {
                    format!("LOST ({}), declared {}", loss_reason(reason), time_text(declared))
                }
                Fate::Missing => "MISSING, and nobody said why".to_owned(),
            };
            writeln!(out, "  sequences {} up to {}: {fate}", range.first, range.end).expect("as above");
        }
    }
    for held in &certificate.in_ring {
        let (first, end) = (held.first, held.end);
        writeln!(
            out,
            "\n{} {} {}: sequences {first} up to {end} are in its ring log",
            held.source, held.stream, held.epoch
        )
        .expect("as above");
    }
    for (heading, texts) in [("refuted", &certificate.refuted), ("open", &certificate.open)] {
        if !texts.is_empty() {
            writeln!(out, "\n{heading}:").expect("as above");
        }
        for text in texts {
            writeln!(out, "  {}", plain(text)).expect("as above");
        }
    }
    out
}

fn verdict(certificate: &Certificate) -> &'static str {
    match certificate.verdict {
        Verdict::Complete if certificate.complete => "COMPLETE: every event of the span is in the log, and proved",
        Verdict::Complete => "nothing is missing as far as is known; what is open stands below",
        Verdict::Removed => "NOT COMPLETE: retention has removed samples",
        Verdict::DeclaredLoss => "NOT COMPLETE: the source has declared losses",
        Verdict::Incomplete => "NOT COMPLETE: something is missing",
        Verdict::Refuted => "REFUTED: the log is not as it was written",
    }
}
