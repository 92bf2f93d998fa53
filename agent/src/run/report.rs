//! Reports to people what the agent observes of itself: evicted and damaged events, and what makes it unhealthy.

use afferent_host::stop::Stop;
use afferent_protocol::ids::Stream;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::observe::health;
use crate::http::Health;
use crate::limits::{HEALTH_LOOK, HEALTH_PATIENCE};
use crate::mailbox::LinkState;
use crate::ring_log::Counters;
use crate::trouble::Troubles;
use crate::writer::Status;

/// Reports until the agent stops.
pub(super) async fn watch(
    status: watch::Receiver<Status>,
    link: watch::Receiver<LinkState>,
    troubles: Troubles,
    mut stop: Stop,
) {
    let mut ticks = tokio::time::interval(HEALTH_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = status.borrow().ring.counters;
    let began = Instant::now();
    loop {
        tokio::select! {
            () = stop.requested() => return,
            _ = ticks.tick() => {}
        }
        let (status, link) = (status.borrow().clone(), link.borrow().clone());
        report_losses(&seen, &status, &troubles);
        seen = status.ring.counters;
        // `links` reports connection failures when they happen.
        if let Health::Unhealthy(reason) = health(&status, &link)
            && began.elapsed() >= HEALTH_PATIENCE
            && !matches!(link, LinkState::Down(_))
        {
            let kind = reason.split([':', ';']).next().unwrap_or_default();
            troubles.log(&format!("health {kind}"), reason.clone());
        }
        troubles.flush();
    }
}

/// Reports the events that were evicted or damaged since the last call.
fn report_losses(before: &Counters, status: &Status, troubles: &Troubles) {
    let now = &status.ring.counters;
    let more = |before: u64, now: u64| now.saturating_sub(before);
    let waiting: u64 = Stream::ALL.into_iter().map(|stream| status.unacked(stream)).sum();
    match more(before.evicted_events, now.evicted_events) {
        0 => {}
        count => troubles.happened(
            "evicting",
            format!(
                "the ring log has no room: {count} events were given up, samples first, {} since the start, and \
                 {waiting} wait; restore the connection to the collector, make room on the disk, or raise \
                 `ring.pool_bytes`",
                now.evicted_events
            ),
        ),
    }
    match more(before.corrupt_events, now.corrupt_events) {
        0 => {}
        count => troubles.happened(
            "damage",
            format!("the disk has damaged {count} events of the ring log, which are declared as lost; check the disk"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_is_told_and_what_was_not_is_not() {
        let troubles = Troubles::default();
        let mut status = Status::default();
        status.ring.counters.evicted_events = 7;
        report_losses(&status.ring.counters, &status, &troubles);
        assert_eq!(troubles.texts(), [] as [String; 0]);
        report_losses(&Counters::default(), &status, &troubles);
        assert!(troubles.texts()[0].contains("7 events were given up"), "{:?}", troubles.texts());
    }
}
