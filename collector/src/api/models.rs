//! `/v1/models` and `/v1/what-if`: states that are folded from the log, now and as of any place, and alternatives to
//! them.
//!
//! | path | answer |
//! |---|---|
//! | `GET /v1/models` | every version of every model, and how far it is |
//! | `GET /v1/models/NAME@V?as_of=OFFSET\|TIME&machine=&from=&until=&intervals=&limit=&cursor=` | its state, or a part of it; of the highest version without `@V`, of now without `as_of` |
//! | `POST /v1/models/NAME@V/recompute?from=OFFSET\|TIME` | 202; made again from the log's first event, or from the latest snapshot up to `from` |
//! | `GET /v1/models/diff?left=A@1&right=A@2&as_of=` | which figures differ |
//! | `POST /v1/what-if?from=&until=` with a plan (TOML, see [`crate::models::what_if`]) | what happened, and what would have |
//!
//! Each takes `partition` as well, and its answer names the partition of its offsets. The same shapes are read by the
//! command line, so they are written and read here.

use afferent_host::clock;
use afferent_protocol::ids::Timestamp;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::blocking::blocking;
use super::budget::computing::{self, Computation, JSON};
use super::budget::{Client, Sent};
use super::problem::Problem;
use super::query::values::{WholeNumber, optional};
use super::query::{Parameters, Query};
use super::state::Api;
use crate::limits::{HTTP_DOCUMENT_BYTES_MAX, MODEL_ROWS_MAX};
use crate::log::address::Partition;
use crate::models::diff::Change;
use crate::models::question::{QuestionError, StateSelection, ViewQuery};
use crate::models::runner::{AsOf, AskError, Cancel, Difference, Models, RecomputeError, ReplayError, StateAt, Status};
use crate::models::span::Span;
use crate::models::what_if::{Plan, PlanError, PlanRunError, Report};
use crate::models::{BuiltIn, CountedFromView, Definition, time_text};
use crate::subscribe::Start;

/// One version of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ModelReport {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Both, as `kpi@2`.
    pub model: String,
    /// The built-in model on which it is based.
    pub of: String,
    /// A title for people.
    pub title: String,
    /// `live`, `rebuilding` or `failed`.
    pub state: String,
    /// The reason of the failure.
    pub error: Option<String>,
    /// The offset of the next event to read, as a string: JSON's numbers end at 2^53.
    pub offset: String,
    /// The partition of the log that it folds; all offsets are of it.
    #[serde(default)]
    pub partition: u32,
    /// Ingest time of the last event that it has read.
    pub time: String,
    /// Start of the figures: retention had removed earlier events when the model was created.
    pub counts_from: Option<CountedFromView>,
    /// Number of events that it has not read yet.
    pub behind: u64,
    /// Number of saved states on disk.
    pub snapshots: u64,
}

/// The differences between two models.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DiffReport {
    /// The first model.
    pub left: String,
    /// The second model.
    pub right: String,
    /// The first offset that neither model has read.
    pub offset: String,
    /// The partition of the log; all offsets are of it.
    #[serde(default)]
    pub partition: u32,
    /// Time and part of the states.
    pub time: String,
    /// Start of the first model's figures.
    pub left_counts_from: CountedFromView,
    /// Start of the second model's figures; if it is not that of the first, this alone may explain differences.
    pub right_counts_from: CountedFromView,
    /// The differences, up to a limit.
    pub changes: Vec<Change>,
    /// Number of further differences.
    pub more: u64,
}

/// The state of a model at a place of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct StateReport {
    /// Start of the figures.
    pub counts_from: CountedFromView,
    /// The cursor of the next page; null if there are no more rows or no `limit` was given.
    pub cursor: Option<String>,
    /// The model, as `kpi@2`.
    pub model: String,
    /// The first offset that is not in the state, as a string.
    pub offset: String,
    /// The partition of the log; all offsets are of it.
    #[serde(default)]
    pub partition: u32,
    /// The state, or the requested part of it.
    #[schema(value_type = Object)]
    pub state: Value,
    /// The collector's clock at that place (RFC 3339).
    pub time: String,
}

/// A model that is being recomputed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecomputeReport {
    /// The model, as `kpi@2`.
    pub model: String,
    /// The partition of the log that it is rebuilt from.
    #[serde(default)]
    pub partition: u32,
    /// The path that returns its progress.
    pub progress: String,
}

/// Every version of every model, and its progress.
#[utoipa::path(get, path = "/v1/models", tag = "models", params(ListQuery),
    responses((status = 200, description = "All models, by name and version", body = Vec<ModelReport>), Problem))]
pub(super) async fn list(
    State(api): State<Api>,
    Query { asked, .. }: Query<ListQuery>,
) -> Result<Json<Vec<ModelReport>>, Problem> {
    let models = api.models_of(asked.partition, None)?;
    // Models are busy for as long as a batch takes; who waits for them waits where waiting is allowed.
    Ok(Json(blocking(move || models.list()).await?.into_iter().map(ModelReport::of).collect()))
}

/// The state of a model: `NAME@VERSION`, or `NAME` for its highest version.
#[utoipa::path(get, path = "/v1/models/{name}", tag = "models", params(("name" = String, Path), StateQuery),
    responses((status = 200, description = "The model's state", body = StateReport), Problem))]
pub(super) async fn state(
    State(api): State<Api>,
    client: Client,
    Path(name): Path<String>,
    Query { asked, .. }: Query<StateQuery>,
) -> Result<Response, Problem> {
    let models = api.models_of(asked.partition, asked.as_of)?;
    let as_of = asked.as_of.map_or_else(now, as_of);
    let definition = find(&models, &name)?;
    let question = asked.question(&definition.of)?;
    let kind = kind_of(as_of);
    let work = move |cancel: &Cancel| {
        let state = models.state(&definition, as_of, question.span(), cancel)?;
        Ok::<_, AskError>(computing::json(&StateReport::of(state, &question)))
    };
    let answer = api.budgets.computed(kind, &client, work).await?;
    api.budgets.answer(&client, JSON, answer)
}

/// What it takes to tell a state.
fn kind_of(as_of: AsOf) -> Computation {
    if matches!(as_of, AsOf::Now(_)) { Computation::View } else { Computation::Replay }
}

/// Which figures differ between two versions of a model.
#[utoipa::path(get, path = "/v1/models/diff", tag = "models", params(DiffQuery),
    responses((status = 200, description = "The differences", body = DiffReport), Problem))]
pub(super) async fn diff(
    State(api): State<Api>,
    client: Client,
    Query { asked, .. }: Query<DiffQuery>,
) -> Result<Response, Problem> {
    let models = api.models_of(asked.partition, asked.as_of)?;
    let as_of = asked.as_of.map_or_else(now, as_of);
    let (left, right) = (find(&models, &asked.left)?, find(&models, &asked.right)?);
    let names = (left.id.to_string(), right.id.to_string());
    if left.of.name() != right.of.name() {
        let detail = format!("{} is a version of {}, but {} of {}", names.0, left.of.name(), names.1, right.of.name());
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail, "compare two versions of the same built-in model"));
    }
    let replay = move |cancel: &Cancel| models.diff(&left, &right, as_of, cancel);
    let found = api.budgets.computed(kind_of(as_of), &client, replay).await?;
    api.budgets.json(&client, &DiffReport::of(names, found))
}

/// Recomputes the state of a model from the log; the old state is served until the new one is complete.
#[utoipa::path(post, path = "/v1/models/{name}/recompute", tag = "models",
    params(("name" = String, Path), RecomputeQuery),
    responses((status = 202, description = "The recomputation has started", body = RecomputeReport), Problem))]
pub(super) async fn recompute(
    State(api): State<Api>,
    Path(name): Path<String>,
    Query { asked, .. }: Query<RecomputeQuery>,
) -> Result<(StatusCode, Json<RecomputeReport>), Problem> {
    let models = api.models_of(asked.partition, asked.from)?;
    let definition = find(&models, &name)?;
    let log = api.held_by(asked.partition, asked.from)?.reader.clone_reader();
    let (id, partition) = (definition.id.to_string(), models.partition().get());
    blocking(move || {
        let from = asked.from.map(|from| from.resolve(&*log)).transpose()?;
        models.recompute(&definition, from).map_err(Problem::from)
    })
    .await??;
    Ok((StatusCode::ACCEPTED, Json(RecomputeReport { model: id, partition, progress: "/v1/models".to_owned() })))
}

/// What happened, and what would have happened under the assumptions of a plan.
#[utoipa::path(post, path = "/v1/what-if", tag = "models", params(WhatIfQuery),
    request_body(content = String, content_type = "application/toml", description = "The plan, as TOML"),
    responses((status = 200, description = "Actual and alternatives", body = Report), Problem))]
pub(super) async fn what_if(
    State(api): State<Api>,
    client: Client,
    Query { asked, .. }: Query<WhatIfQuery>,
    body: Sent,
) -> Result<Response, Problem> {
    let models = api.models_of(asked.partition, asked.from)?;
    let (from, until) = (asked.from.map(as_of), asked.until.map_or_else(now, as_of));
    let body = body.taken(HTTP_DOCUMENT_BYTES_MAX).await?;
    let text = std::str::from_utf8(&body).map_err(|error| {
        let remedy = "send the plan as TOML in UTF-8";
        Problem::new(StatusCode::BAD_REQUEST, format!("the plan is not UTF-8: {error}"), remedy)
    })?;
    let plan = Plan::parse(text, models.definitions())?;
    let run = move |cancel: &Cancel| models.what_if(&plan, from, until, cancel).map(|report| computing::json(&report));
    let answer = api.budgets.computed(Computation::WhatIf, &client, run).await?;
    api.budgets.answer(&client, JSON, answer)
}

/// Of which partition.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// Which partition of the log; the first that there is by default.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u32>)]
    partition: Option<Partition>,
}

impl Parameters for ListQuery {
    const EXAMPLE: &'static str = "/v1/models?partition=0";
}

/// Time and part of the states.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct StateQuery {
    /// An offset, a time (RFC 3339), `first` or `end`; now by default.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    as_of: Option<Start>,
    /// Which partition of the log; the one of the place in `as_of` by default, else the first that there is.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u32>)]
    partition: Option<Partition>,
    /// Only this machine.
    machine: Option<String>,
    /// The number of newest intervals of every machine; all by default.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u64>, minimum = 0, maximum = 100_000)]
    intervals: Option<WholeNumber<0, ROWS_MAX>>,
    /// For states, breakdowns and alarms: only what lasted until this time (RFC 3339) or later, by corrected event
    /// time; an interval that started before it is returned whole. For kpi: the figures from this time on. `from` and
    /// `until` of each machine are the covered span; `begins_late` and `ends_early` say why it is shorter than
    /// requested.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// For states, breakdowns and alarms: only what began before this time (RFC 3339). For kpi: the figures up to this
    /// time.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    until: Option<Timestamp>,
    /// The largest number of rows: intervals, breakdowns, alarms, or names. `cursor` of the answer is null if there are
    /// no more.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 100_000)]
    limit: Option<WholeNumber<1, ROWS_MAX>>,
    /// Continues after the page whose answer had this `cursor`; the other parameters must be the same. With `as_of`,
    /// all pages show the same state.
    cursor: Option<String>,
}

/// The most rows of one answer.
const ROWS_MAX: u64 = MODEL_ROWS_MAX as u64;

impl Parameters for StateQuery {
    const EXAMPLE: &'static str = "/v1/models/states?as_of=end&machine=88-C&from=2026-11-29T08:00:00Z&limit=100";
}

impl StateQuery {
    fn question(self, of: &BuiltIn) -> Result<ViewQuery, QuestionError> {
        let Self { as_of: _, partition: _, machine, intervals, from, until, limit, cursor } = self;
        let rows = |count: u64| usize::try_from(count).expect("no more than MODEL_ROWS_MAX");
        let (intervals, limit) =
            (intervals.map(|WholeNumber(count)| rows(count)), limit.map(|WholeNumber(count)| rows(count)));
        ViewQuery::new(of, StateSelection { machine, intervals, span: Span { from, until }, limit, cursor })
    }
}

/// Two models and a place.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DiffQuery {
    /// The first model, as `kpi@1`.
    left: String,
    /// The second model, as `kpi@2`.
    right: String,
    /// An offset, a time (RFC 3339), `first` or `end`; now by default.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    as_of: Option<Start>,
    /// Which partition of the log; the one of the place in `as_of` by default, else the first that there is.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u32>)]
    partition: Option<Partition>,
}

impl Parameters for DiffQuery {
    const EXAMPLE: &'static str = "/v1/models/diff?left=kpi@1&right=kpi@2&as_of=end";
}

/// Where to begin.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RecomputeQuery {
    /// An offset, a time (RFC 3339), `first` or `end`: the recomputation starts from the latest snapshot before it; by
    /// default from the log's first event.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    from: Option<Start>,
    /// Which partition of the log; the one of the place in `from` by default, else the first that there is.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u32>)]
    partition: Option<Partition>,
}

impl Parameters for RecomputeQuery {
    const EXAMPLE: &'static str = "/v1/models/kpi@1/recompute?from=2026-11-29T08:00:00Z";
}

/// A part of the log.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct WhatIfQuery {
    /// An offset, a time (RFC 3339), `first` or `end`; the log's first event by default.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    from: Option<Start>,
    /// The same; now by default.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<String>)]
    until: Option<Start>,
    /// Which partition of the log; the one of the place in `from` by default, else the first that there is.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u32>)]
    partition: Option<Partition>,
}

impl Parameters for WhatIfQuery {
    const EXAMPLE: &'static str = "/v1/what-if?from=2026-11-29T08:00:00Z&until=end";
}

impl Api {
    /// The models of the partition that a question names; else of the one of its place; else of the first.
    fn models_of(&self, named: Option<Partition>, start: Option<Start>) -> Result<Models, Problem> {
        let asked = self.held_by(named, start)?.reader.partition();
        let folded = self.state.models.partition();
        if asked == folded {
            return Ok(self.state.models.clone());
        }
        let detail =
            format!("`partition`: there are no models of partition {asked}; those that there are fold {folded}");
        Err(Problem::new(StatusCode::NOT_FOUND, detail, format!("ask for partition={folded}, or for its events")))
    }
}

fn find(models: &Models, name: &str) -> Result<Definition, Problem> {
    models.find(name).cloned().ok_or_else(|| {
        let known: Vec<String> = models.definitions().iter().map(|known| known.id.to_string()).collect();
        let name: String = name.chars().take(64).collect();
        let remedy = format!("the models are {}; [[model]] in the configuration adds one", known.join(", "));
        Problem::new(StatusCode::NOT_FOUND, format!("there is no model {name:?}"), remedy)
    })
}

fn now() -> AsOf {
    AsOf::Now(clock::wall())
}

/// The state at a place.
fn as_of(place: Start) -> AsOf {
    match place {
        Start::First => AsOf::First,
        Start::End => now(),
        Start::Offset(offset) => AsOf::Offset(offset),
        Start::Place(place) => AsOf::Place(place),
        Start::Time(time) => AsOf::Time(time),
    }
}

impl ModelReport {
    fn of(status: Status) -> Self {
        let Status { name, version, model, of, title, state, error, .. } = status;
        let Status { partition, offset, time, counts_from, behind, snapshots, .. } = status;
        let (offset, partition, time) = (offset.to_string(), partition.get(), time_text(time));
        let counts_from = counts_from.map(|from| from.view());
        Self { name, version, model, of, title, state, error, offset, partition, time, counts_from, behind, snapshots }
    }
}

impl StateReport {
    /// The part of a state that a question asks for.
    pub fn of(at: StateAt, question: &ViewQuery) -> Self {
        let StateAt { model, partition, offset, time, counts_from, mut state } = at;
        let cursor = question.keep(&mut state);
        let (counts_from, model, offset) = (counts_from.view(), model.to_string(), offset.to_string());
        Self { counts_from, cursor, model, offset, partition: partition.get(), state, time: time_text(time) }
    }
}

impl DiffReport {
    /// What two models of these names differ in.
    pub fn of((left, right): (String, String), found: Difference) -> Self {
        let [left_counts_from, right_counts_from] = found.counts_from.map(|from| from.view());
        let (offset, partition) = (found.offset.to_string(), found.partition.get());
        let time = time_text(found.time);
        let (changes, more) = (found.changes.changes, found.changes.more);
        Self { left, right, offset, partition, time, left_counts_from, right_counts_from, changes, more }
    }
}

impl From<QuestionError> for Problem {
    fn from(error: QuestionError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error.to_string(), "see GET /v1/models/{name} in /v1/openapi.json")
    }
}

impl From<AskError> for Problem {
    fn from(error: AskError) -> Self {
        let detail = error.to_string();
        match error {
            AskError::Failed { .. } => {
                let remedy = "report it; after an update of the program, POST /v1/models/NAME@V/recompute";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail, remedy)
            }
            AskError::NotReady { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail, "retry later; GET /v1/models shows the progress")
            }
            AskError::Place(error) => Self::of_place("as_of", error),
            AskError::Replay(error) => error.into(),
        }
    }
}

impl From<ReplayError> for Problem {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Log(error) => error.into(),
            ReplayError::Cancelled => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                error.to_string(),
                "retry once the collector has started again",
            ),
        }
    }
}

impl From<RecomputeError> for Problem {
    fn from(error: RecomputeError) -> Self {
        let detail = error.to_string();
        match error {
            RecomputeError::UnderWay(_) | RecomputeError::TooMany => {
                Self::new(StatusCode::CONFLICT, detail, "wait until GET /v1/models shows live")
            }
            RecomputeError::Log(error) => error.into(),
            RecomputeError::System(_) => {
                let remedy = "check the data directory and its disk";
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail, remedy)
            }
        }
    }
}

impl From<PlanError> for Problem {
    fn from(error: PlanError) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            error.to_string(),
            "correct the plan; the collector's README shows an example",
        )
    }
}

impl From<PlanRunError> for Problem {
    fn from(error: PlanRunError) -> Self {
        let detail = error.to_string();
        match error {
            PlanRunError::Condition { .. } => {
                let remedy = "limit the rule to the events that it is meant for, as type = \"sample\"";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail, remedy)
            }
            PlanRunError::Model { .. } => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail, "report it with the plan")
            }
            PlanRunError::Ask(error) => error.into(),
            PlanRunError::Replay(error) => error.into(),
        }
    }
}
