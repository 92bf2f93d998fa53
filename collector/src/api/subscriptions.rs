//! `/v1/subscriptions`: a reader's place that is kept here, and work that several readers of one name share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use afferent_protocol::ids::{SourceId, Timestamp};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::blocking::blocking;
use super::budget::{Client, Sent};
use super::events::NDJSON;
use super::pages::Pages;
use super::problem::{self, Problem};
use super::query::values::{MemberName, WholeNumber, optional, required};
use super::query::{Nothing, Parameters, Query, shortened};
use super::state::Api;
use super::stream::now;
use crate::limits::{
    EVENTS_DEFAULT, EVENTS_PAGED_BYTES_MAX, EVENTS_PAGED_MAX, FETCH_WAIT_S_MAX, HTTP_DOCUMENT_BYTES_MAX, SHARES_DEFAULT,
};
use crate::log::ReadLog;
use crate::log::address::Partition;
use crate::partitions::PartitionHandles;
use crate::refused::{RefusalKind, Refused};
use crate::subscribe::named::{
    AGAIN_AFTER, Created, Creator, FetchCursor, FilterText, MemberPortion, SubscriptionError, SubscriptionView, Use,
};
use crate::subscribe::{Page, Start};

/// The cursor to commit once every event of the answer has been processed.
pub const FETCH_CURSOR: HeaderName = HeaderName::from_static("afferent-cursor");

/// A new subscription.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSubscription {
    /// Start: an offset (not checked), a place (`OFFSET@TERM.LOG`, which must exist in this log), a time (RFC 3339; may
    /// be in the future), `first` (the default) or `end`.
    #[serde(default)]
    from: Option<String>,
    /// The partition of the log to read; by default that of the place in `from`, or the first one.
    #[serde(default)]
    partition: Option<u32>,
    /// The filter: `subject`, `type`, `source`, `severity` as in `GET /v1/events`.
    #[serde(default)]
    filter: FilterText,
    /// Number of shares into which the sources are divided: this many members can read at the same time.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 64)]
    shares: Option<u32>,
}

/// A cursor to commit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Commit {
    /// The header `afferent-cursor` of a fetch.
    cursor: String,
}

/// A new place.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reset {
    /// An offset (not checked), a place (`OFFSET@TERM.LOG`), a time (RFC 3339), `first` or `end`.
    to: String,
}

/// A subscription.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct SubscriptionReport {
    /// Its name.
    pub name: String,
    /// The filter of its events.
    pub filter: FilterText,
    /// Its partition of the log.
    #[serde(default)]
    pub partition: u32,
    /// The next offset of each share, decimal.
    pub cursors: Vec<String>,
    /// A start in the future (RFC 3339): events ingested before it are not delivered.
    #[serde(default)]
    pub begins: Option<String>,
    /// Offsets from its oldest place to the log's end, decimal; null if its place no longer exists.
    pub lag: Option<String>,
    /// Why its place no longer exists: the log was restored to an earlier state, or replaced. The subscription delivers
    /// nothing until it is reset.
    pub error: Option<String>,
    /// Whether it has never been read; such a subscription may be dropped when there are too many.
    #[serde(default)]
    pub unread: bool,
    /// The members that read it.
    pub members: Vec<MemberReport>,
}

/// A member of a subscription.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct MemberReport {
    /// Its name.
    pub name: String,
    /// Its shares.
    pub shares: Vec<u32>,
    /// Seconds since its last fetch or commit.
    pub seen_s: f64,
}

impl SubscriptionReport {
    fn of(view: SubscriptionView, api: &Api) -> Result<Self, Problem> {
        let log = &api.held_by(Some(view.kept.partition()), None)?.reader;
        let end = log.kept().end;
        let error = view.kept.check(&log.terms(), end).err();
        let waits = view.kept.begins.is_some();
        let member = |member: crate::subscribe::named::Member| MemberReport {
            name: member.name,
            shares: member.shares,
            seen_s: member.seen.as_secs_f64(),
        };
        Ok(Self {
            name: view.name.to_string(),
            partition: view.kept.partition().get(),
            lag: error.is_none().then(|| if waits { "0".to_owned() } else { end.since(view.kept.place()).to_string() }),
            begins: view.kept.begins.map(|begins| super::agents::text(Timestamp::clamped(begins))),
            error: error.map(|error| format!("{error}; reset the subscription")),
            cursors: view.kept.cursors.iter().map(|cursor| cursor.0.offset.to_string()).collect(),
            unread: view.kept.made.is_some_and(|made| made.used == Use::Never),
            filter: view.kept.filter,
            members: view.members.into_iter().map(member).collect(),
        })
    }
}

/// All subscriptions, with their lag and members.
#[utoipa::path(get, path = "/v1/subscriptions", tag = "subscriptions",
    responses((status = 200, description = "All subscriptions, by name", body = Vec<SubscriptionReport>), Problem))]
pub(super) async fn list(State(api): State<Api>, _: Query<Nothing>) -> Result<Json<Vec<SubscriptionReport>>, Problem> {
    let views = api.state.subscriptions.views().into_iter();
    views.map(|view| SubscriptionReport::of(view, &api)).collect::<Result<_, _>>().map(Json)
}

/// One subscription.
#[utoipa::path(get, path = "/v1/subscriptions/{name}", tag = "subscriptions", params(("name" = String, Path)),
    responses(
        (status = 200, description = "The subscription's places and members", body = SubscriptionReport), Problem))]
pub(super) async fn show(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
) -> Result<Json<SubscriptionReport>, Problem> {
    let view = api.state.subscriptions.view(name_of(&name)?)?;
    SubscriptionReport::of(view, &api).map(Json)
}

/// Creates a subscription, unless the same one exists. The limits are 1,000 in all, 750 of one client address, and 250
/// of one client address of which nothing was ever committed. Beyond a limit, a subscription that nobody has read
/// within a minute of its creation is dropped; one that was read never is.
#[utoipa::path(put, path = "/v1/subscriptions/{name}", tag = "subscriptions", params(("name" = String, Path)),
    request_body = NewSubscription, responses(
    (status = 200, description = "The subscription existed", body = SubscriptionReport),
    (status = 201, description = "The subscription was created", body = SubscriptionReport), Problem))]
pub(super) async fn create(
    State(api): State<Api>,
    client: Client,
    Path(name): Path<String>,
    _: Query<Nothing>,
    body: Sent,
) -> Result<Response, Problem> {
    let name = name_of(&name)?;
    let new: NewSubscription = json(body).await?;
    let start: Start =
        new.from.as_deref().unwrap_or("first").parse().map_err(|error| Problem::of_place_text("from", &error))?;
    let maker = Creator { by: client.address(), at: now() };
    let created = blocking({
        let log = api.held_by(new.partition.map(Partition::new), Some(start))?.reader.clone_reader();
        let subscriptions = Arc::clone(&api.state.subscriptions);
        move || {
            let from = start.resolve(&*log).map_err(Problem::from)?;
            let shares = new.shares.unwrap_or(SHARES_DEFAULT);
            let begins = start.to_come(now());
            let place = log.terms().place(from);
            Ok::<_, Problem>(subscriptions.create(name, place, begins, new.filter, shares, maker))
        }
    })
    .await??;
    let created = created.map_err(|error| {
        let is_full = is_full(&error);
        let problem = Problem::from(error);
        if is_full { api.budgets.refuse(RefusalKind::HttpSubscriptions, &client, problem) } else { problem }
    })?;
    if let Created::New { gave_way: Some(gone) } = created {
        note_gave_way(&api, name, gone);
    }
    let made = created != Created::Known;
    let report = SubscriptionReport::of(api.state.subscriptions.view(name)?, &api)?;
    Ok((if made { StatusCode::CREATED } else { StatusCode::OK }, Json(report)).into_response())
}

/// Whether there is no room for another one.
fn is_full(error: &SubscriptionError) -> bool {
    use SubscriptionError::{TooMany, TooManyOfOne, TooManyUnmoved};
    matches!(error, TooMany | TooManyOfOne | TooManyUnmoved)
}

/// Remembers that one subscription gave way to another.
fn note_gave_way(api: &Api, name: SourceId, gone: SourceId) {
    let why = format!("nobody had read this subscription, and it was dropped for {name}");
    let (kind, name) = (RefusalKind::SubscriptionGaveWay, Some(gone.as_str()));
    api.state.health.refused.note(&Refused { kind, name, user: None, topic: None, peer: None, why: &why });
}

/// Deletes a subscription and its places.
#[utoipa::path(delete, path = "/v1/subscriptions/{name}", tag = "subscriptions", params(("name" = String, Path)),
    responses((status = 204, description = "The subscription is deleted"), Problem))]
pub(super) async fn delete(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
) -> Result<StatusCode, Problem> {
    let name = name_of(&name)?;
    let subscriptions = Arc::clone(&api.state.subscriptions);
    blocking(move || subscriptions.delete(name)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// A member's request.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Fetch {
    /// The member's name: each process that reads the subscription has its own.
    #[serde(deserialize_with = "required")]
    #[param(value_type = String, min_length = 1, max_length = 128)]
    member: MemberName,
    /// The largest number of events, 1 to 2000; 1000 by default.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u64>, minimum = 1, maximum = 2000)]
    limit: Option<WholeNumber<1, EVENTS_PAGED_MAX>>,
    /// Seconds to wait for events when there are none, 0 to 20; 0 by default.
    #[serde(default, deserialize_with = "optional")]
    #[param(value_type = Option<u64>, minimum = 0, maximum = 20)]
    wait: Option<WholeNumber<0, FETCH_WAIT_S_MAX>>,
}

impl Parameters for Fetch {
    const EXAMPLE: &'static str = "/v1/subscriptions/NAME/fetch?member=line-1&limit=1000&wait=20";
}

/// Returns to a member the events after the committed places of its shares. Moves nothing: the same events are returned
/// again until the header `afferent-cursor` of the answer was committed.
#[utoipa::path(post, path = "/v1/subscriptions/{name}/fetch", tag = "subscriptions",
    params(("name" = String, Path), Fetch), responses(
    (status = 200, description = "Events, one CloudEvent per line; none if no event has come",
        content_type = "application/x-ndjson", body = String, headers(("afferent-cursor" = String))), Problem))]
pub(super) async fn fetch(
    State(api): State<Api>,
    client: Client,
    Path(name): Path<String>,
    Query { asked, .. }: Query<Fetch>,
) -> Result<Response, Problem> {
    let name = name_of(&name)?;
    let wait = asked.wait.map_or(Duration::ZERO, |WholeNumber(seconds)| Duration::from_secs(seconds));
    let limit = asked.limit.map_or(EVENTS_DEFAULT, |WholeNumber(limit)| limit);
    if api.state.subscriptions.is_unread(name)? {
        let subscriptions = Arc::clone(&api.state.subscriptions);
        blocking(move || subscriptions.read(name)).await??;
    }
    let until = Instant::now() + wait;
    let held = read_by(&api, name)?;
    let (mut durable, mut stopping) = (held.durable.clone(), api.stopping.clone());
    loop {
        // Before the log is read, so that what is appended after it wakes the wait below.
        durable.borrow_and_update();
        let portion = if has_begun(&api, name).await? {
            let (terms, end) = (held.reader.terms(), held.reader.kept().end);
            api.state.subscriptions.portion(name, &asked.member.0, &terms, end)?
        } else {
            None
        };
        let (body, cursor) = match &portion {
            Some(portion) => read(&api, &client, held.reader.clone_reader(), portion, limit).await?,
            None => (Bytes::new(), None),
        };
        let left = until.saturating_duration_since(Instant::now());
        if !body.is_empty() || left.is_zero() || stopping.is_requested() {
            let mut answer = ([(header::CONTENT_TYPE, HeaderValue::from_static(NDJSON))], body).into_response();
            if let Some(cursor) = cursor {
                let text = HeaderValue::from_str(&cursor.to_string()).expect("digits and dots");
                answer.headers_mut().insert(FETCH_CURSOR, text);
            }
            return Ok(answer);
        }
        // A member without a share waits for one, or for the time at which the subscription begins: no growth gives it
        // that.
        let pause = if portion.is_some() { left } else { left.min(Duration::from_secs(1)) };
        tokio::select! {
            () = stopping.requested() => {}
            grown = durable.changed() => if grown.is_err() { stopping.requested().await },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// The partition that a subscription reads.
fn read_by(api: &Api, name: SourceId) -> Result<&PartitionHandles, Problem> {
    api.held_by(Some(api.state.subscriptions.partition(name)?), None)
}

/// Whether a subscription gives anything: one that begins at a time to come does not, until then.
async fn has_begun(api: &Api, name: SourceId) -> Result<bool, Problem> {
    let Some(begins) = api.state.subscriptions.begins(name)? else { return Ok(true) };
    if begins > now() {
        return Ok(false);
    }
    let (log, subscriptions) = (read_by(api, name)?.reader.clone_reader(), Arc::clone(&api.state.subscriptions));
    let begun = move || {
        let at = Start::Time(begins).resolve(&*log).map_err(Problem::from)?;
        subscriptions.begin(name, log.terms().place(at)).map_err(Problem::from)
    };
    blocking(begun).await??;
    Ok(true)
}

async fn read(
    api: &Api,
    client: &Client,
    log: Arc<dyn ReadLog>,
    portion: &MemberPortion,
    limit: u64,
) -> Result<(Bytes, Option<FetchCursor>), Problem> {
    let kept = log.kept();
    if portion.from < kept.start {
        let detail = format!("the subscription continues at offset {}, which retention has removed", portion.from);
        let remedy = format!("reset it to {} or to `first`; the events in between are gone", kept.start);
        return Err(Problem::new(StatusCode::GONE, detail, remedy));
    }
    let mut pages = Pages::new(log, portion.reading(kept.end, limit), api, client);
    let room = &api.budgets.room;
    let mut body = Vec::new();
    loop {
        let (bytes, page) = pages.next().await?;
        body.extend_from_slice(&bytes);
        let is_enough = body.len() >= EVENTS_PAGED_BYTES_MAX || (!body.is_empty() && room.is_short());
        if page != Page::More || is_enough {
            break;
        }
    }
    Ok((room.hold(body), pages.place().map(|next| portion.cursor(next))))
}

/// Moves a member's places past the events that it has fetched. Answers once that is on disk.
#[utoipa::path(post, path = "/v1/subscriptions/{name}/commit", tag = "subscriptions", params(("name" = String, Path)),
    request_body = Commit, responses((status = 204, description = "The change is on disk"), Problem))]
pub(super) async fn commit(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
    body: Sent,
) -> Result<StatusCode, Problem> {
    let name = name_of(&name)?;
    let given: Commit = json(body).await?;
    let cursor: FetchCursor = given.cursor.parse().map_err(|()| {
        let remedy = "send the header afferent-cursor of a fetch unchanged";
        Problem::new(StatusCode::BAD_REQUEST, "`cursor` is not the cursor of a fetch", remedy)
    })?;
    let (subscriptions, log) = (Arc::clone(&api.state.subscriptions), read_by(&api, name)?.reader.clone_reader());
    blocking(move || subscriptions.commit(name, cursor, &log.terms(), log.kept().end)).await??;
    Ok(StatusCode::NO_CONTENT)
}

/// Moves a subscription to another place, for all its members.
#[utoipa::path(post, path = "/v1/subscriptions/{name}/reset", tag = "subscriptions", params(("name" = String, Path)),
    request_body = Reset, responses((status = 204, description = "The change is on disk"), Problem))]
pub(super) async fn reset(
    State(api): State<Api>,
    Path(name): Path<String>,
    _: Query<Nothing>,
    body: Sent,
) -> Result<StatusCode, Problem> {
    let name = name_of(&name)?;
    let given: Reset = json(body).await?;
    let start: Start = given.to.parse().map_err(|error| Problem::of_place_text("to", &error))?;
    let (log, subscriptions) = (read_by(&api, name)?.reader.clone_reader(), Arc::clone(&api.state.subscriptions));
    let moved = move || {
        let to = start.resolve(&*log).map_err(|error| Problem::of_place("to", error))?;
        subscriptions.reset(name, log.terms().place(to), start.to_come(now())).map_err(Problem::from)
    };
    blocking(moved).await??;
    Ok(StatusCode::NO_CONTENT)
}

fn name_of(name: &str) -> Result<SourceId, Problem> {
    SourceId::new(name).map_err(|error| {
        let detail = format!("the name {:?} {error}", shortened(name));
        Problem::new(StatusCode::BAD_REQUEST, detail, "use letters, digits, `.`, `_` and `-`, 63 at most")
    })
}

/// A JSON document of a few lines.
pub(super) async fn json<T: DeserializeOwned>(body: Sent) -> Result<T, Problem> {
    let bytes = body.taken(HTTP_DOCUMENT_BYTES_MAX).await?;
    serde_json::from_slice(&bytes).map_err(|error| {
        let detail = format!("the body cannot be read: {error}");
        Problem::new(StatusCode::BAD_REQUEST, detail, "send the JSON object that /v1/openapi.json describes")
    })
}

impl From<SubscriptionError> for Problem {
    fn from(error: SubscriptionError) -> Self {
        if let SubscriptionError::Lost(_, lost) = &error {
            let whence = problem::lost("to", error.to_string(), lost).remedy;
            let remedy = format!("reset the subscription (POST …/reset); {whence}");
            return Self::new(StatusCode::CONFLICT, error.to_string(), remedy);
        }
        let (status, remedy) = match &error {
            SubscriptionError::Unknown(_) => {
                (StatusCode::NOT_FOUND, "create it with PUT; GET /v1/subscriptions lists all of them")
            }
            SubscriptionError::Other(_) => (StatusCode::CONFLICT, "delete it first, or choose another name"),
            SubscriptionError::GaveWay(_) => (StatusCode::NOT_FOUND, "create it again with PUT, and read it soon"),
            SubscriptionError::TooMany => (StatusCode::CONFLICT, "delete subscriptions that are not in use"),
            SubscriptionError::TooManyOfOne | SubscriptionError::TooManyUnmoved => {
                let remedy = "delete subscriptions that are not in use (DELETE), or commit what you have read of them";
                (StatusCode::TOO_MANY_REQUESTS, remedy)
            }
            SubscriptionError::Shares(_) => (StatusCode::BAD_REQUEST, "give another number of shares"),
            SubscriptionError::TooManyMembers(_) => {
                (StatusCode::CONFLICT, "wait until the lease of a member has expired")
            }
            SubscriptionError::Fenced => {
                (StatusCode::CONFLICT, "fetch again; events that were not committed are returned again")
            }
            SubscriptionError::Lost(..) => unreachable!("it was answered above"),
            SubscriptionError::Beyond => (StatusCode::RANGE_NOT_SATISFIABLE, "commit a cursor that a fetch returned"),
            SubscriptionError::Filter(_) => (StatusCode::BAD_REQUEST, "correct the filter"),
            SubscriptionError::Store(_) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "nothing was changed; retry the request")
            }
        };
        let problem = Self::new(status, error.to_string(), remedy);
        // By then one that nobody has read may give way.
        if is_full(&error) { problem.again_in(AGAIN_AFTER) } else { problem }
    }
}
