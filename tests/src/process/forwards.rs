//! Forwards of a running collector: what they report, and the orders of an operator.

use serde_json::Value;

use super::{Rig, get_text, wait_for};

/// The report of a forward.
pub fn report_forward(rig: &Rig, name: &str) -> Option<Value> {
    serde_json::from_str(&get_text(rig.http, &format!("/v1/forwards/{name}"))?).ok()
}

/// Waits until everything that the log holds is delivered, for as long as it goes on.
///
/// # Panics
/// When it stands still for [`PATIENCE`](super::PATIENCE).
pub fn wait_delivered(rig: &Rig, name: &str) {
    let mut last = report_forward(rig, name);
    loop {
        let offset = last.as_ref().map(|report| report["offset"].clone());
        let next = wait_for(&format!("{name} has delivered everything: {last:?}"), || {
            report_forward(rig, name).filter(|next| has_delivered(next) || offset.as_ref() != Some(&next["offset"]))
        });
        if has_delivered(&next) {
            return;
        }
        last = Some(next);
    }
}

fn has_delivered(report: &Value) -> bool {
    report["lag"] == "0" && report["state"] == "running"
}

/// Gives a forward an order: `pause`, `resume`, `replay-dead`, or `rewind` with a body.
///
/// # Panics
/// When the collector refuses it.
pub fn order_forward(rig: &Rig, name: &str, order: &str, body: Option<Value>) -> Value {
    let request = ureq::post(format!("http://{}/v1/forwards/{name}/{order}", rig.http));
    let answer = match body {
        Some(body) => request.content_type("application/json").send(body.to_string()),
        None => request.send_empty(),
    };
    let text = answer.expect("the order is carried out").body_mut().read_to_string().expect("the answer is a text");
    serde_json::from_str(&text).expect("the answer is JSON")
}
