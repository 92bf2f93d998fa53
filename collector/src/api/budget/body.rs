//! Bodies of requests: memory is taken from one budget as bytes come, and the wait for a body is bounded.

use std::convert::Infallible;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use futures_util::StreamExt;
use tokio::time::{Instant, sleep, timeout_at};

use super::pace::BodyPace;
use super::{Budgets, Client, Full, Share};
use crate::api::problem::Problem;
use crate::api::state::Api;
use crate::limits::{HTTP_FAREWELL_BYTES_MAX, HTTP_FAREWELL_TIME, HTTP_ROOM_LOOKS_EVERY, HTTP_ROOM_TIME};
use crate::refused::RefusalKind;

/// A body that was received completely, and its share of the budget.
#[derive(Debug)]
pub(in crate::api) struct ReceivedBody {
    bytes: Vec<u8>,
    share: Share,
}

impl Deref for ReceivedBody {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl ReceivedBody {
    /// Lets go of the bytes; what was made of them still has their share.
    pub fn into_share(self) -> Share {
        self.share
    }
}

/// The body of a request, of which nothing was read yet.
pub(in crate::api) struct Sent {
    budgets: Arc<Budgets>,
    client: Client,
    body: Body,
}

impl FromRequest<Api> for Sent {
    type Rejection = Infallible;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Infallible> {
        let client = Client::of(request.extensions());
        Ok(Self { budgets: Arc::clone(&api.budgets), client, body: request.into_body() })
    }
}

impl Sent {
    /// Waits for the whole body, of at most so many bytes.
    pub async fn taken(self, bytes_max: usize) -> Result<ReceivedBody, Problem> {
        taken(&self.budgets, &self.client, self.body, bytes_max).await
    }
}

async fn taken(budgets: &Budgets, client: &Client, body: Body, bytes_max: usize) -> Result<ReceivedBody, Problem> {
    let claimed = body.size_hint().lower();
    let mut stream = body.into_data_stream();
    let outcome = if claimed > bytes_max as u64 {
        Err(too_large(bytes_max))
    } else {
        receive_whole(budgets, client, &mut stream, bytes_max).await
    };
    if outcome.is_err() {
        // A client that is still sending reads the refusal only if the connection is not reset meanwhile.
        let until = Instant::now() + HTTP_FAREWELL_TIME;
        let mut left = HTTP_FAREWELL_BYTES_MAX;
        while left > 0
            && let Ok(Some(Ok(frame))) = timeout_at(until, stream.next()).await
        {
            left = left.saturating_sub(frame.len().max(1));
        }
    }
    outcome
}

async fn receive_whole(
    budgets: &Budgets,
    client: &Client,
    stream: &mut BodyDataStream,
    bytes_max: usize,
) -> Result<ReceivedBody, Problem> {
    let mut share = budgets.bodies.take(client.address(), 0).expect("nothing is always there");
    let (mut bytes, mut pace) = (Vec::new(), BodyPace::new(Instant::now()));
    // For the body and not for each of its frames: else many half-sent bodies would wait for each other, a frame at a
    // time.
    let mut patience = HTTP_ROOM_TIME;
    loop {
        let frame = match timeout_at(pace.deadline(), stream.next()).await {
            Err(_) => return Err(too_slow(budgets, client, bytes.len())),
            Ok(None) => return Ok(ReceivedBody { bytes, share }),
            Ok(Some(Err(_))) => {
                let detail = "the body ended too early";
                return Err(Problem::new(StatusCode::BAD_REQUEST, detail, "send the complete body"));
            }
            Ok(Some(Ok(frame))) => frame,
        };
        if frame.len() > bytes_max - bytes.len() {
            return Err(too_large(bytes_max));
        }
        let asked = Instant::now();
        if let Err(full) = room(&mut share, frame.len(), asked + patience).await {
            return Err(no_room(budgets, client, full));
        }
        patience = patience.saturating_sub(asked.elapsed());
        pace.waited(asked, Instant::now());
        bytes.extend_from_slice(&frame);
        pace.received(frame.len(), Instant::now());
    }
}

/// Takes more of the budget as soon as there is, until then.
async fn room(share: &mut Share, more: usize, until: Instant) -> Result<(), Full> {
    loop {
        match share.grow(more) {
            Err(full) if Instant::now() >= until => return Err(full),
            Err(_) => sleep(HTTP_ROOM_LOOKS_EVERY).await,
            Ok(()) => return Ok(()),
        }
    }
}

fn too_large(bytes_max: usize) -> Problem {
    let detail = format!("the body has more than {bytes_max} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail, "send less per request")
}

fn too_slow(budgets: &Budgets, client: &Client, bytes: usize) -> Problem {
    let detail = format!("the body arrives too slowly: {bytes} bytes so far");
    let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, detail, "send it again, faster");
    budgets.refuse(RefusalKind::HttpSlow, client, problem)
}

fn no_room(budgets: &Budgets, client: &Client, full: Full) -> Problem {
    let (whose, most) = match full {
        Full::One { most } => ("your address has", most),
        Full::All { most } => ("all clients together have", most),
    };
    let detail = format!("{whose} {most} bytes in requests that are not answered yet, which is the limit");
    let problem =
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail, "send it again once other requests have been answered");
    budgets.refuse(RefusalKind::HttpBodies, client, problem.again_in(Duration::from_secs(2)))
}
