//! Says in the log how full the ring log is, and how long it would take what comes while the line is down: `ring/used`
//! and `ring/autonomy` under the agent's name. People see it before they need it.

use std::sync::Arc;

use afferent_host::stop::Stop;
use afferent_protocol::event::{Body, Event, Quality, Sample, Value};
use afferent_protocol::ids::{Subject, Timestamp};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use crate::clock::{Clock, SystemClock};
use crate::intake::sink::{EventSink, Waiting};
use crate::limits::AUTONOMY_LOOK;
use crate::mailbox::Intake;
use crate::ring_log::RingStatus;
use crate::writer::Status;

/// Says it until the agent stops.
pub(super) async fn watch(
    status: watch::Receiver<Status>,
    clock: Arc<SystemClock>,
    intake: Intake,
    agent: String,
    mut stop: Stop,
) {
    let (used, autonomy) = (format!("{agent}/ring/used"), format!("{agent}/ring/autonomy"));
    let mut ticks = tokio::time::interval_at(Instant::now() + AUTONOMY_LOOK, AUTONOMY_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut before = (status.borrow().ring, Instant::now());
    loop {
        tokio::select! {
            () = stop.requested() => return,
            _ = ticks.tick() => {}
        }
        let now = (status.borrow().ring, Instant::now());
        let seconds = now.1.duration_since(before.1).as_secs_f64();
        push_sample(&intake, &used, used_percent(&now.0), "%", clock.wall());
        if let Some(lasts) = autonomy_s(&before.0, &now.0, seconds) {
            push_sample(&intake, &autonomy, lasts, "s", clock.wall());
        }
        before = now;
    }
}

fn push_sample(intake: &Intake, subject: &str, value: f64, unit: &str, time: Timestamp) {
    let subject = Subject::new(subject).expect("an agent's name and two plain levels");
    let sample = Sample { value: Value::Float(value), unit, quality: Quality::Good };
    if let Err(refusal) = intake.push(&Event { time, subject, body: Body::Sample(sample) }, Waiting::Nobody) {
        tracing::debug!("the fill level of the ring log is not in the log: {refusal}");
    }
}

fn used_percent(ring: &RingStatus) -> f64 {
    100.0 * ring.used_bytes as f64 / ring.pool_bytes.max(1) as f64
}

/// Seconds until what is free is full, at the rate of the bytes written between two looks; `None` when nothing was.
fn autonomy_s(before: &RingStatus, now: &RingStatus, seconds: f64) -> Option<f64> {
    let written = now.counters.written_bytes.saturating_sub(before.counters.written_bytes);
    let free = now.pool_bytes.saturating_sub(now.used_bytes);
    (written > 0).then(|| free as f64 * seconds / written as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring_log::Counters;

    fn ring(used_bytes: u64, written_bytes: u64) -> RingStatus {
        let counters = Counters { written_bytes, ..Counters::default() };
        RingStatus { pool_bytes: 1000, used_bytes, counters, ..RingStatus::default() }
    }

    #[test]
    fn a_ring_lasts_as_long_as_what_is_free_takes_what_comes() {
        assert_eq!(autonomy_s(&ring(0, 50), &ring(200, 150), 10.0), Some(80.0));
        assert_eq!(autonomy_s(&ring(0, 50), &ring(1000, 150), 10.0), Some(0.0));
        assert_eq!(autonomy_s(&ring(0, 50), &ring(0, 50), 10.0), None, "nothing comes");
        assert!((used_percent(&ring(250, 0)) - 25.0).abs() < 1e-9);
    }
}
