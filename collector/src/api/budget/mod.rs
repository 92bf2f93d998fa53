//! Budgets of the HTTP server's clients: no stranger takes the service from others, or from the plant.
//!
//! - [`crate::shares`]: a total, and a part of it for each client address
//! - `pace`: how slowly a body may come; `body`: bodies out of one budget of bytes
//! - `computing`: answers that take a while
//! - `room`: pages that are rendered and not yet sent; `fair`: work that clients take turns at
//! - `reserve`: connections in which health and metrics are answered while all others are taken
//!
//! A refused client is answered 503 or 429 with `Retry-After`, counted by kind, and named in the log, in `/v1/agents`,
//! and for a moment in `/healthz`.

mod body;
pub(super) mod computing;
mod fair;
mod pace;
pub(super) mod reserve;
mod room;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, StatusCode};

use super::problem::Problem;
use crate::intake::Health;
use crate::limits::{
    HTTP_BODIES_BYTES_MAX, HTTP_BODIES_BYTES_OF_ONE_MAX, HTTP_CONNECTIONS_OF_ONE, HTTP_LONG_ANSWERS_MAX,
    HTTP_LONG_ANSWERS_OF_ONE_MAX, HTTP_RESERVE_OF, HTTP_STREAMS, HTTP_STREAMS_OF_ONE, RENDERING_MAX,
};
use crate::refused::{RefusalKind, Refused};
pub(super) use crate::shares::{ClientAddress, Full, Share, Shares};
pub(super) use body::Sent;
use computing::Queues;
use fair::{Fair, Turn};
pub(super) use room::PageBytes;

/// Who asks: of a connection, and so of each of its requests.
#[derive(Clone, Debug)]
pub(super) struct Client {
    /// Where it connects from.
    pub peer: SocketAddr,
    /// Where it came to.
    pub local: Option<SocketAddr>,
    /// It has no share left: only health and metrics are answered.
    pub is_beyond: Option<Full>,
}

impl<S: Sync> FromRequestParts<S> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

impl Client {
    /// Who has sent a request.
    pub fn of(request: &Extensions) -> Self {
        request.get::<Self>().expect("the server says of every request whose it is").clone()
    }

    /// Whose share it is that it uses.
    pub fn address(&self) -> ClientAddress {
        ClientAddress::of(self.peer.ip())
    }
}

/// Everything that clients share.
#[derive(Debug)]
pub(super) struct Budgets {
    /// Connections outside the reserve.
    pub connections: Arc<Shares>,
    /// Connections of the reserve.
    pub reserve: usize,
    /// Streams of server-sent events.
    streams: Arc<Shares>,
    /// Answers that are rendered while they are sent.
    long_answers: Arc<Shares>,
    /// Bytes of bodies.
    bodies: Arc<Shares>,
    /// Pages that are rendered and not yet sent.
    pub room: PageBytes,
    /// Pages that are being rendered.
    rendering: Arc<Fair>,
    computations: Queues,
    health: Arc<Health>,
}

impl Budgets {
    /// Shares so many connections out.
    pub fn new(connections_max: usize, health: Arc<Health>) -> Self {
        assert!(connections_max >= 2, "there is one for health, and one for all else");
        let reserve = (connections_max / HTTP_RESERVE_OF).max(1);
        let rest = connections_max - reserve;
        let part = |(of, parts): (usize, usize)| (rest * of / parts).max(1);
        Self {
            connections: Shares::new(rest, part(HTTP_CONNECTIONS_OF_ONE)),
            reserve,
            streams: Shares::new(part(HTTP_STREAMS), part(HTTP_STREAMS_OF_ONE)),
            long_answers: Shares::new(HTTP_LONG_ANSWERS_MAX, HTTP_LONG_ANSWERS_OF_ONE_MAX),
            bodies: Shares::new(HTTP_BODIES_BYTES_MAX, HTTP_BODIES_BYTES_OF_ONE_MAX),
            room: PageBytes::default(),
            // Each connection waits for one page at most, so that the number of connections bounds the queue.
            rendering: Fair::new(RENDERING_MAX, usize::MAX),
            computations: Queues::default(),
            health,
        }
    }

    /// A stream of server-sent events, as long as the share is held.
    pub fn stream(&self, client: &Client) -> Result<Share, Problem> {
        self.streams.take(client.address(), 1).map_err(|full| {
            let remedy = "close streams that nobody reads, or read one stream and filter it in the client";
            self.refuse(RefusalKind::HttpStreams, client, full.problem("event streams", remedy))
        })
    }

    /// An answer that is rendered while it is sent, as long as the share is held.
    pub fn long_answer(&self, client: &Client) -> Result<Share, Problem> {
        self.long_answers.take(client.address(), 1).map_err(|full| {
            let remedy = "retry later, or read page by page: up to 2000 events with a `cursor`";
            self.refuse(RefusalKind::HttpLongAnswers, client, full.problem("long answers", remedy))
        })
    }

    /// A turn at rendering a page.
    pub async fn rendering(&self, of: ClientAddress) -> Turn {
        self.rendering.wait_turn(of).await.expect("its queue has no end")
    }

    /// What clients hold, by its name in metrics.
    pub fn held(&self) -> [(&'static str, usize); 5] {
        [
            ("connections", self.connections.held()),
            ("streams", self.streams.held()),
            ("long_answers", self.long_answers.held()),
            ("body_bytes", self.bodies.held()),
            ("page_bytes", self.room.held()),
        ]
    }

    /// Counts a refusal, remembers whose it was, and gives it back.
    pub fn refuse(&self, kind: RefusalKind, client: &Client, problem: Problem) -> Problem {
        let (why, peer) = (problem.detail.as_str(), Some(client.peer));
        self.health.refused.note(&Refused { kind, name: None, user: None, topic: None, peer, why });
        problem
    }
}

impl Full {
    /// Too many of something are open.
    fn problem(self, what: &str, remedy: &str) -> Problem {
        let (status, detail) = match self {
            Self::One { most } => {
                (StatusCode::TOO_MANY_REQUESTS, format!("your address has {most} {what} open, which is the limit"))
            }
            Self::All { most } => {
                (StatusCode::SERVICE_UNAVAILABLE, format!("{most} {what} are open, which is the limit"))
            }
        };
        Problem::new(status, detail, remedy).again_in(Duration::from_secs(5))
    }
}
