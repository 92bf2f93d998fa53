//! The result of a plan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::CountedFromView;
use super::super::diff::Changes;

/// What happened, and the alternatives of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = WhatIfReport)]
pub struct Report {
    /// The first offset that was read, as a string: JSON's numbers end at 2^53.
    pub from: String,
    /// The offset after the last one that was read.
    pub until: String,
    /// The partition of the log; all offsets are of it.
    #[serde(default)]
    pub partition: u32,
    /// Time of the states, by the collector's clock.
    pub time: String,
    /// The start of the figures, by model; the same for what happened and for the alternatives.
    #[serde(default)]
    pub counts_from: BTreeMap<String, CountedFromView>,
    /// The states of what happened, by model.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub actual: BTreeMap<String, Value>,
    /// The alternatives, in the order of the plan.
    pub alternatives: Vec<AlternativeReport>,
    /// The differences over time.
    pub timeline: Vec<Point>,
}

/// The result of one alternative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlternativeReport {
    /// Its name.
    pub name: String,
    /// Number of events that it drops.
    pub dropped: u64,
    /// Number of events that it changes.
    pub changed: u64,
    /// Number of events that it adds.
    pub added: u64,
    /// What differs from what happened, by model: left is actual, right is assumed.
    pub changes: BTreeMap<String, Changes>,
    /// Its states, by model.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub states: BTreeMap<String, Value>,
}

/// The differences between alternatives and what happened, at one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// The first offset that was not read by then.
    pub offset: String,
    /// Ingest time of the last event before it.
    pub time: String,
    /// Figures that differ, of each alternative by name; the key figures where the plan has them.
    pub alternatives: BTreeMap<String, Changes>,
}
