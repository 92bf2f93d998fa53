//! Waiting for the writer: no request waits for ever for a disk that takes nothing.

use std::future::Future;

use axum::http::StatusCode;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::problem::Problem;
use super::state::Api;
use crate::intake::{Health, Intake, Stopping, Storage};
use crate::limits::{WRITE_FAILING_WAIT, WRITE_LOOKS_EVERY, WRITE_SILENT_WAIT};

/// Hands something to the writer, and waits until it is on disk; or for 503 and the reason, when the disk does not take
/// it.
/// `remedy` is what to do then: what was handed over may still get to the disk.
pub(super) async fn written<T, F>(api: &Api, hand_over: impl FnOnce(Intake) -> F, remedy: &str) -> Result<T, Problem>
where
    F: Future<Output = Result<oneshot::Receiver<T>, Stopping>>,
{
    let refused = |why: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, why, remedy);
    let gone = || refused("the collector is stopping".to_owned());
    let intake = api.held().intake.upgrade().map_err(|_| gone())?;
    let writing = async {
        // Nobody who waits for an answer keeps the writer from ending: the way in is dropped before.
        let answer = hand_over(intake).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    };
    tokio::select! {
        answer = writing => answer,
        why = disk_refuses(&api.state.health) => Err(refused(why)),
    }
}

/// Waits until it is clear that the disk does not take what was handed over; returns the reason.
async fn disk_refuses(health: &Health) -> String {
    let begun = Instant::now();
    loop {
        tokio::time::sleep(WRITE_LOOKS_EVERY).await;
        let waited = begun.elapsed();
        match health.storage() {
            Storage::Failing { why, .. } if waited >= WRITE_FAILING_WAIT => {
                return format!("nothing becomes durable: {why}");
            }
            _ if waited >= WRITE_SILENT_WAIT => {
                let seconds = WRITE_SILENT_WAIT.as_secs();
                return format!("the log's disk has not finished the write within {seconds} s, and reports no error");
            }
            _ => {}
        }
    }
}

const _: () = assert!(WRITE_FAILING_WAIT.as_secs() < 5 && WRITE_LOOKS_EVERY.as_secs() == 0);
