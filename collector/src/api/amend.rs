//! Whether amendments that are posted take effect: one that would change nothing is refused with the reason.

use axum::http::StatusCode;

use super::blocking::blocking;
use super::problem::Problem;
use super::state::Api;
use crate::models::Amendable;
use crate::posted::Amended;

/// Checks the amendments among the events of a request, each with the number of its event.
pub(super) async fn check(api: &Api, amended: Vec<(u64, Amended)>) -> Result<(), Problem> {
    if amended.is_empty() {
        return Ok(());
    }
    let (log, models) = (api.log(), api.state.models.clone());
    blocking(move || {
        let end = log.kept().end;
        amended.into_iter().try_for_each(|(number, Amended { of, action })| {
            let refuse = |detail: String, remedy: String| {
                Err(Problem::new(StatusCode::CONFLICT, format!("event {number}: {detail}"), remedy).of_event(number))
            };
            if of >= end {
                let detail = format!("`data.of` is offset {of}, but the log ends at {end}");
                return refuse(detail, "give the `offset` of an event of this log".to_owned());
            }
            match models.amendable(of, action) {
                Amendable::Yes => Ok(()),
                Amendable::RaisedAgain(by) => {
                    let detail = format!("the alarm raised at offset {of} is over; it was raised again at offset {by}");
                    refuse(detail, format!("check the new alarm, and give offset {by} if you mean that one"))
                }
                Amendable::Unknown => {
                    let detail = format!("the event at offset {of} raised no alarm that is kept");
                    refuse(detail, "GET /v1/models/alarms returns the offsets of alarms".to_owned())
                }
            }
        })
    })
    .await?
}
