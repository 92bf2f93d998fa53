//! Plans over a log in memory.

use std::collections::BTreeMap;

use afferent_protocol::event::{Event, MachineState};
use afferent_protocol::ids::{Offset, Timestamp};
use proptest::prelude::*;
use serde_json::Value;

use super::super::diff::Change;
use super::super::testing::{at, breakdown, recovery, sample, state};
use super::super::{CountedFromView, with_built_ins};
use super::run::run;
use super::*;
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::log::memory::MemoryLog;

fn log_of(events: &[Event<'_>]) -> MemoryLog {
    let log = MemoryLog::default();
    events.iter().for_each(|event| log.append("press-88", &[*event], event.time.micros()));
    log
}

/// 100 s executing; the belt tears at 10 s for 20 s, oil is low at 50 s for 10 s.
fn shift() -> Vec<Event<'static>> {
    vec![
        state(0, "88-C", MachineState::Executing),
        breakdown(10, "88-C/belt", "BELT-1", "torn"),
        recovery(30, "88-C/belt", "BELT-1"),
        sample(40, "88-C/x", 80.0),
        breakdown(50, "88-C/oil", "OIL", ""),
        recovery(60, "88-C/oil", "OIL"),
        sample(100, "88-C/x", 90.0),
    ]
}

fn plan(text: &str) -> Result<Plan, PlanError> {
    Plan::parse(text, &with_built_ins(&[]))
}

fn report(log: &MemoryLog, text: &str) -> Result<Report, PlanRunError> {
    let plan = plan(text).unwrap();
    run(WhatIf::new(&plan, Offset::ZERO), log, log.kept().end, None, &|| false)
}

/// The key figures of 88-C in the only alternative.
fn kpi_with(rule: &str) -> Value {
    let text = format!("[[alternative]]\nname = \"a\"\n[[alternative.rule]]\n{rule}");
    let report = report(&log_of(&shift()), &text).unwrap();
    report.alternatives[0].states["kpi@1"]["machines"]["88-C"].clone()
}

#[test]
fn without_the_belt_failures_the_machine_would_have_been_available_for_longer() {
    let text = "models = [\"kpi\"]\n[[alternative]]\nname = \"no belt\"\n[[alternative.rule]]\naction = \"drop\"\n\
                type = \"breakdown\"\nwhen = 'code.startsWith(\"BELT\")'\n";
    let report = report(&log_of(&shift()), text).unwrap();
    assert_eq!(report.actual["kpi@1"]["machines"]["88-C"]["availability"], 0.7);
    let without = &report.alternatives[0];
    assert_eq!((without.states["kpi@1"]["machines"]["88-C"]["availability"].as_f64(), without.dropped), (Some(0.9), 1));
    let change = &without.changes["kpi@1"].changes[0];
    assert_eq!((change.path.as_str(), change.left.as_f64()), ("88-C/availability", Some(0.7)));
    assert!(report.timeline.first().unwrap().alternatives["no belt"].changes.is_empty(), "nothing differs at first");
    assert!(!report.timeline.last().unwrap().alternatives["no belt"].changes.is_empty());
}

#[test]
fn figures_of_a_plan_are_those_of_its_span_and_it_says_from_where_they_count() {
    let plan = |span: &str| {
        format!(
            "models = [\"kpi\"]\n{span}\n[[alternative]]\nname = \"a\"\n[[alternative.rule]]\naction = \"drop\"\n\
             type = \"breakdown\"\nwhen = 'code.startsWith(\"BELT\")'\n"
        )
    };
    let of = |span: &str| {
        let report = report(&log_of(&shift()), &plan(span)).unwrap();
        assert_eq!(
            report.counts_from["kpi@1"],
            CountedFromView { offset: "0".to_owned(), samples: None, time: Some(super::super::time_text(at(0))) }
        );
        let figures = |states: &BTreeMap<String, Value>| {
            let row = &states["kpi@1"]["machines"]["88-C"];
            (row["failures"].as_u64().unwrap(), row["down_s"].as_f64().unwrap())
        };
        // The number of corrected times counts all events, and is not a figure of a span.
        let is_figure = |change: &Change| !change.path.starts_with("88-C/corrected");
        let changed = report.timeline.last().unwrap().alternatives["a"].changes.iter().any(is_figure);
        (figures(&report.actual), figures(&report.alternatives[0].states), changed)
    };
    assert_eq!(of(""), ((2, 30.0), (1, 10.0), true));
    // The belt's breakdown began before this span, and was down in it for 10 s.
    assert_eq!(of("span = { from = 1970-01-01T00:00:20Z, until = 1970-01-01T00:00:55Z }"), ((1, 15.0), (1, 5.0), true));
    assert_eq!(of("span = { from = \"1970-01-01T00:01:10Z\" }"), ((0, 0.0), (0, 0.0), false), "in it nothing differs");
}

#[test]
fn every_action_does_what_it_says() {
    assert_eq!(kpi_with("action = \"shift\"\nby_s = 10\nwhen = 'type == \"recovery\"'")["down_s"], 50.0);
    assert_eq!(kpi_with("action = \"relabel\"\nset = { severity = \"info\" }\ntype = \"breakdown\"")["failures"], 0);
    assert_eq!(kpi_with("action = \"drop\"\nsubject = \"88-C/oil\"")["down_s"], 20.0);
    assert_eq!(kpi_with("action = \"drop\"\ntype = \"breakdown\"\nfrom = 1970-01-01T00:00:20Z")["down_s"], 20.0);
    assert_eq!(kpi_with("action = \"drop\"\ntype = \"breakdown\"\nuntil = \"1970-01-01T00:00:20Z\"")["down_s"], 10.0);
    let added = "action = \"add\"\nevent = { subject = \"88-C\", type = \"breakdown\", code = \"X\", time = 1970-01-01T00:01:30Z }";
    assert_eq!(kpi_with(added)["down_s"], 40.0);
    let scaled = "[[alternative]]\nname = \"a\"\n[[alternative.rule]]\naction = \"scale\"\nfactor = 2\nplus = 1.5\n";
    let report = report(&log_of(&shift()), scaled).unwrap();
    assert_eq!(report.alternatives[0].states["last@1"]["subjects"]["88-C/x"]["value"], 181.5);
    assert_eq!(report.alternatives[0].changed, 2);
}

#[test]
fn other_settings_are_an_alternative_too() {
    let text = "[[alternative]]\nname = \"a\"\n[[alternative.model]]\nmodel = \"kpi@1\"\nsettings = { not_failures = [\"OIL\"] }\n";
    let report = report(&log_of(&shift()), text).unwrap();
    assert_eq!(report.alternatives[0].states["kpi@1"]["machines"]["88-C"]["failures"], 1);
    assert_eq!(report.actual["kpi@1"]["machines"]["88-C"]["failures"], 2);
}

#[test]
fn faults_of_a_plan_are_reported_by_alternative_rule_and_key() {
    let rule = |rule: &str| format!("[[alternative]]\nname = \"x\"\n[[alternative.rule]]\n{rule}");
    for (text, told) in [
        (rule("action = \"drop\"\nwhen = \"code ==\""), "alternative \"x\", rule 1: `when`"),
        (rule("action = \"drop\"\nwhen = \"colour == 'x'\""), "`colour`"),
        (rule("action = \"drop\"\nby_s = 3"), "`by_s` does not belong to the action drop"),
        (rule("action = \"shift\""), "`by_s` is missing"),
        (rule("action = \"drop\"\nfrom = \"yesterday\""), "`from` is not a time"),
        (rule("action = \"drop\"\nsubject = \"[\""), "the subject pattern"),
        (rule("action = \"relabel\"\nset = { subject = \"a//b\" }"), "empty level"),
        (rule("action = \"burn\""), "line 4"),
        ("modles = []".to_owned(), "line 1"),
        ("span = { from = \"noon\" }".to_owned(), "span: `from` is not a time"),
        (
            "span = { from = 1970-01-02T00:00:00Z, until = 1970-01-01T00:00:00Z }".to_owned(),
            "`until` is not after `from`",
        ),
        ("models = [\"kpi@7\"]".to_owned(), "there is no model \"kpi@7\"; the models are states@1"),
        ("models = [\"kpi\", \"states@1\", \"kpi@1\"]".to_owned(), "the model kpi@1 is listed twice"),
        (format!("name = \"{}\"", "x".repeat(70_000)), "the limit is 65536"),
    ] {
        let error = plan(&text).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
}

#[test]
fn a_condition_that_cannot_be_told_ends_the_run_with_its_place() {
    let text = "[[alternative]]\nname = \"x\"\n[[alternative.rule]]\naction = \"drop\"\nwhen = \"value > 3.0\"\n";
    let error = report(&log_of(&shift()), text).unwrap_err().to_string();
    assert!(error.contains("alternative \"x\", rule 1") && error.contains("offset 0 (88-C)"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn an_alternative_that_changes_nothing_is_exactly_what_happened(
        draws in proptest::collection::vec((0_i64..1000, 0_usize..5, any::<bool>()), 0..80),
    ) {
        let events: Vec<Event<'_>> = draws.iter().map(|(second, kind, other)| {
            let machine = if *other { "77-A" } else { "88-C/belt" };
            match kind {
                0 => breakdown(*second, machine, "E", "words"),
                1 => recovery(*second, machine, "E"),
                2 => state(*second, machine, MachineState::Executing),
                3 => state(*second, machine, MachineState::OutOfService),
                _ => sample(*second, machine, *second as f64),
            }
        }).collect();
        let log = log_of(&events);
        let text = "[[alternative]]\nname = \"nothing\"\n\
                    [[alternative]]\nname = \"a rule for nobody\"\n[[alternative.rule]]\naction = \"drop\"\nwhen = \"false\"\n";
        let report = report(&log, text).unwrap();
        for alternative in &report.alternatives {
            prop_assert_eq!(&alternative.states, &report.actual);
            prop_assert!(alternative.changes.is_empty());
        }
        // And the actual result is that of a fold without any plan.
        for definition in with_built_ins(&[]) {
            let member = super::super::FoldMember::new(definition.id.clone(), definition.of.build());
            let mut fold = super::super::Fold::new(vec![member], Offset::ZERO, Timestamp::default());
            log.read(Offset::ZERO, &mut Vec::new(), &mut |head, batch| {
                fold.entry(&crate::log::events::Entry::new(Partition::EMBEDDED, head, batch), Offset::new(u64::MAX));
                std::ops::ControlFlow::Continue(())
            }).unwrap();
            let state = fold.members[0].model.view(fold.time());
            prop_assert_eq!(&state, &report.actual[&definition.id.to_string()]);
        }
    }
}

#[test]
fn an_empty_plan_tells_what_happened() {
    let report = report(&log_of(&shift()), "").unwrap();
    assert_eq!((report.actual.len(), report.alternatives.len(), report.time), (6, 0, super::super::time_text(at(100))));
}
