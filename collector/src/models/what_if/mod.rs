//! What-if analysis: alternatives to the actual events, computed beside them in one pass over the log.
//!
//! A plan ([`Plan`], TOML) has alternatives. Each has rules, which change the events that its models get, and may give
//! its models different settings:
//!
//! ```toml
//! models = ["kpi@1"]                    # which to compare; all of them without it
//! # Key figures are of this event time; of all of it without a span.
//! span = { from = "2021-09-13T06:00:00Z", until = "2021-09-13T14:00:00Z" }
//!
//! [[alternative]]
//! name = "no belt failures"
//! [[alternative.rule]]
//! action = "drop"                       # or add, shift, scale, relabel
//! type = "breakdown"                    # type, subject, source: which events, as in /v1/events
//! when = 'code.startsWith("BELT")'      # and those of them for which this holds (CEL)
//! from = "2021-09-13T00:00:00Z"         # and which happened from then
//! until = "2021-09-14T00:00:00Z"        # until then
//! [[alternative.model]]
//! model = "kpi@1"
//! settings = { not_failures = ["PM"] }
//! ```
//!
//! | action | keys | what it does |
//! |---|---|---|
//! | `drop` | | the event did not happen |
//! | `shift` | `by_s` | it happened so many seconds later, or earlier when less than zero |
//! | `scale` | `factor`, `plus` | a sample's number is multiplied, and then added to |
//! | `relabel` | `set` | other `subject`, `code`, `severity`, `message`, `state`, `reason`, `condition`, `priority` |
//! | `add` | `event` | an event that did not happen, inserted before the first one ingested at its time or later |
//!
//! Rules apply one after the other, each to the result of the previous ones. The log is read, and never written.
//!
//! - `plan`: the plan, checked; `condition`: CEL; `rule`: the effect of a rule on an event; `run`: the pass; `report`:
//!   the result

mod condition;
mod error;
mod plan;
mod report;
mod rule;
mod run;

pub use condition::ConditionError;
pub use error::PlanError;
pub use plan::Plan;
pub use report::{AlternativeReport, Point, Report};
pub use run::{PlanRunError, WhatIf};

#[cfg(test)]
mod tests;
