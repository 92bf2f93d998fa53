//! Computed answers: a few at a time of each kind, in a queue that is fair by client, within a time limit, and only
//! while the client waits.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tokio::time::timeout;

use super::fair::Fair;
use super::{Budgets, Client};
use crate::api::blocking::blocking;
use crate::api::problem::Problem;
use crate::limits::{
    CERTIFICATE_TIME_MAX, CERTIFICATES_MAX, COMPUTATION_WAIT_BEYOND, COMPUTATIONS_WAITING_MAX, MODEL_REPLAYS_MAX,
    PAGE_SMALL_BYTES, REPLAY_TIME_MAX, VIEW_TIME_MAX, VIEWS_MAX, WHAT_IF_TIME_MAX, WHAT_IFS_MAX,
};
use crate::models::runner::Cancel;
use crate::refused::RefusalKind;

/// What is computed. One kind does not wait for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Computation {
    /// A state of now.
    View,
    /// A state as of another place.
    Replay,
    /// Alternatives to what happened.
    WhatIf,
    /// A proof.
    Certificate,
}

impl Computation {
    const ALL: [Self; 4] = [Self::View, Self::Replay, Self::WhatIf, Self::Certificate];

    /// How many at a time, and how long one may take.
    const fn bounds(self) -> (usize, Duration) {
        match self {
            Self::View => (VIEWS_MAX, VIEW_TIME_MAX),
            Self::Replay => (MODEL_REPLAYS_MAX, REPLAY_TIME_MAX),
            Self::WhatIf => (WHAT_IFS_MAX, WHAT_IF_TIME_MAX),
            Self::Certificate => (CERTIFICATES_MAX, CERTIFICATE_TIME_MAX),
        }
    }

    const fn remedy(self) -> &'static str {
        match self {
            Self::View => "ask for less of the state, with `machine`, `from`, `until` or `limit`",
            Self::Replay => "ask for a place soon after a snapshot, or run `afferent-collector models show` with --log",
            Self::WhatIf => {
                "give `from` and `until`, fewer rules, or run `afferent-collector models what-if` with --log"
            }
            Self::Certificate => "ask for one source, or run `afferent-collector certificate` with --data",
        }
    }
}

/// A queue for each kind.
#[derive(Debug)]
pub(super) struct Queues([std::sync::Arc<Fair>; 4]);

impl Default for Queues {
    fn default() -> Self {
        Self(Computation::ALL.map(|kind| Fair::new(kind.bounds().0, COMPUTATIONS_WAITING_MAX)))
    }
}

/// Cancels the work once its client has gone.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Budgets {
    /// Computes something when it is this client's turn, where it may block.
    pub async fn computed<T: Send + 'static, E: Into<Problem> + Send + 'static>(
        &self,
        kind: Computation,
        client: &Client,
        work: impl FnOnce(&Cancel) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem> {
        let (_, time) = kind.bounds();
        let queue = &self.computations.0[kind as usize];
        let waited = timeout(time + COMPUTATION_WAIT_BEYOND, queue.wait_turn(client.address())).await;
        let Ok(Ok(turn)) = waited else {
            let detail = match waited {
                Ok(_) => format!("{COMPUTATIONS_WAITING_MAX} requests of this kind are waiting, which is the limit"),
                Err(_) => "requests of this kind that came earlier are still being computed".to_owned(),
            };
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail, "retry later");
            return Err(self.refuse(RefusalKind::HttpComputations, client, problem.again_in(Duration::from_secs(10))));
        };
        let cancel = Cancel::within(time);
        let _waits = CancelOnDrop(cancel.clone());
        let outcome = blocking({
            let cancel = cancel.clone();
            move || {
                let outcome = work(&cancel);
                drop(turn);
                outcome
            }
        });
        outcome.await?.map_err(|error| {
            if !cancel.is_late() {
                return error.into();
            }
            let detail = format!("computing the answer took longer than the limit of {} s", time.as_secs());
            let problem = Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail, kind.remedy());
            self.refuse(RefusalKind::HttpComputations, client, problem)
        })
    }

    /// An answer that is whole, of this media type. A large one is refused while those that nobody reads fill the room.
    pub fn answer(&self, client: &Client, kind: &'static str, bytes: Vec<u8>) -> Result<Response, Problem> {
        if bytes.len() > PAGE_SMALL_BYTES && self.room.is_short() {
            let detail = "the answers that clients have not read yet fill all the memory for answers";
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail, "retry later");
            return Err(self.refuse(RefusalKind::HttpAnswers, client, problem.again_in(Duration::from_secs(5))));
        }
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
        Ok((headers, Body::from(self.room.hold(bytes))).into_response())
    }

    /// An answer in JSON; written where it may block, which for a large one is where it was computed.
    pub fn json(&self, client: &Client, answer: &impl Serialize) -> Result<Response, Problem> {
        self.answer(client, JSON, json(answer))
    }
}

/// The media type of JSON.
pub(in crate::api) const JSON: &str = "application/json";

/// An answer in JSON.
pub(in crate::api) fn json(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).expect("keys are texts")
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    fn client(number: u8) -> Client {
        Client { peer: SocketAddr::from(([10, 0, 0, number], 7)), local: None, is_beyond: None }
    }

    fn until_cancelled(cancel: &Cancel) -> Result<(), Problem> {
        while !cancel.is_cancelled() {
            std::thread::yield_now();
        }
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "cancelled", "none"))
    }

    #[tokio::test]
    async fn a_computation_that_nobody_waits_for_ends_and_kinds_do_not_wait_for_each_other() {
        let budgets = Arc::new(Budgets::new(100, Arc::default()));
        let asked: Vec<_> = (0..5)
            .map(|_| {
                let budgets = Arc::clone(&budgets);
                tokio::spawn(async move { budgets.computed(Computation::WhatIf, &client(1), until_cancelled).await })
            })
            .collect();
        let now = |_: &Cancel| Ok::<_, Problem>(Instant::now());
        budgets.computed(Computation::Replay, &client(2), now).await.expect("it has turns of its own");
        asked.iter().for_each(tokio::task::JoinHandle::abort);
        budgets.computed(Computation::WhatIf, &client(2), now).await.expect("the others have ended");
    }
}
