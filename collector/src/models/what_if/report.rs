//! The result of a plan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::super::CountedFromView;
use super::super::diff::Changes;

/// What happened, and what would have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = WhatIfReport)]
pub struct Report {
    /// The first offset that was read, as text: JSON's numbers end at 2^53.
    pub from: String,
    /// The first one that was not.
    pub until: String,
    /// The partition of the log; all offsets are of it.
    #[serde(default)]
    pub partition: u32,
    /// As of when the states are, by the collector's clock.
    pub time: String,
    /// From where in the log each model counts, by model: for what happened and for the alternatives alike.
    #[serde(default)]
    pub counts_from: BTreeMap<String, CountedFromView>,
    /// The states of what happened, by model.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub actual: BTreeMap<String, Value>,
    /// The alternatives, in the order of the plan.
    pub alternatives: Vec<AlternativeReport>,
    /// Differences on the way.
    pub timeline: Vec<Point>,
}

/// What came out of one alternative.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlternativeReport {
    /// Its name.
    pub name: String,
    /// Events that did not happen in it.
    pub dropped: u64,
    /// Events that were changed in it.
    pub changed: u64,
    /// Events that happened in it only.
    pub added: u64,
    /// What differs from what happened, by model: left is actual, right is assumed.
    pub changes: BTreeMap<String, Changes>,
    /// Its states, by model.
    #[schema(value_type = BTreeMap<String, Object>)]
    pub states: BTreeMap<String, Value>,
}

/// How far alternatives are from what happened, at a place on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// The first offset that was not seen by then.
    pub offset: String,
    /// When the last event before it was ingested.
    pub time: String,
    /// Figures that differ, of each alternative by name; the key figures where the plan has them.
    pub alternatives: BTreeMap<String, Changes>,
}
