//! Connections for clients without a share: health and metrics are answered there, and all else is refused.
//!
//! The reserve is never full. A newcomer replaces the connection that has been without a request for the longest time,
//! so that silent connections cannot keep out an active one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::task::AbortHandle;

use super::{Budgets, Client};
use crate::refused::RefusalKind;

/// What is answered in the reserve.
const ANSWERED: [&str; 2] = ["/healthz", "/metrics"];

/// Whether a connection has asked for something.
pub(in crate::api) type HasAsked = Arc<AtomicBool>;

/// The connections of the reserve, the oldest one first.
#[derive(Debug)]
pub(in crate::api) struct Reserve {
    places: usize,
    taken: VecDeque<(AbortHandle, HasAsked)>,
}

impl Reserve {
    /// So many places.
    pub fn new(places: usize) -> Self {
        assert!(places > 0, "a reserve has a place");
        Self { places, taken: VecDeque::new() }
    }

    /// Takes a connection in, which `start` starts; another one may have to go.
    pub fn admit(&mut self, start: impl FnOnce(HasAsked) -> AbortHandle) {
        self.taken.retain(|(task, _)| !task.is_finished());
        if self.taken.len() >= self.places {
            let silent = self.taken.iter().position(|(_, has_asked)| !has_asked.load(Ordering::Relaxed));
            let (task, _) = self.taken.remove(silent.unwrap_or(0)).expect("it was found there");
            task.abort();
        }
        let has_asked = HasAsked::default();
        self.taken.push_back((start(Arc::clone(&has_asked)), has_asked));
    }
}

/// Answers whoever is in the reserve only what the reserve is for.
pub(in crate::api) async fn keep(State(budgets): State<Arc<Budgets>>, request: Request, next: Next) -> Response {
    let client = Client::of(request.extensions());
    let Some(full) = client.is_beyond else { return next.run(request).await };
    let mut answer = if ANSWERED.contains(&request.uri().path()) {
        next.run(request).await
    } else {
        let remedy = "close some of them, or retry later; /healthz and /metrics are still answered";
        budgets.refuse(RefusalKind::HttpConnections, &client, full.problem("connections", remedy)).into_response()
    };
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_silent_connection_makes_room_and_one_that_has_asked_stays() {
        let mut reserve = Reserve::new(3);
        let mut tasks = Vec::new();
        for number in 0..100 {
            reserve.admit(|has_asked| {
                let task = tokio::spawn(std::future::pending::<()>());
                has_asked.store(number == 1, Ordering::Relaxed);
                let handle = task.abort_handle();
                tasks.push(task);
                handle
            });
            assert!(reserve.taken.len() <= 3);
        }
        let alive = || -> Vec<usize> { (0..100).filter(|number| !tasks[*number].is_finished()).collect() };
        while alive().len() > 3 {
            tokio::task::yield_now().await;
        }
        let alive = alive();
        assert_eq!(alive, [1, 98, 99], "first come, first served would have kept 0, 1 and 2");
    }
}
