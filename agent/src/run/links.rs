//! Says in the log that the connection came or went: each change by itself while they are few, and many as one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use afferent_host::stop::Stop;
use afferent_protocol::event::{Body, Event, LifeCycle};
use afferent_protocol::ids::Subject;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::clock::{Clock, SystemClock};
use crate::intake::sink::{EventSink, Waiting};
use crate::limits::{LINK_CALM_MS, LINK_EVENTS_MAX, LINK_REPORT_MS};
use crate::mailbox::{Intake, LinkState};
use crate::metrics::Counter;
use crate::ship::{CHANGED, ShipSettings};
use crate::trouble::Troubles;

/// Decides which changes are events of their own.
#[derive(Debug, Default)]
struct Changes {
    /// When the last ones were that are.
    said_ms: VecDeque<u64>,
    /// Those since that are not, and when the first and the last of them were.
    unsaid: u32,
    first_ms: u64,
    last_ms: u64,
}

impl Changes {
    /// Counts a change of the connection; returns whether it is an event of its own.
    fn changed(&mut self, now_ms: u64) -> bool {
        self.said_ms.retain(|said_ms| now_ms < said_ms + LINK_CALM_MS);
        if self.unsaid == 0 && self.said_ms.len() < LINK_EVENTS_MAX {
            self.said_ms.push_back(now_ms);
            return true;
        }
        if self.unsaid == 0 {
            self.first_ms = now_ms;
        }
        (self.unsaid, self.last_ms) = (self.unsaid + 1, now_ms);
        false
    }

    /// When the changes that were only counted are due as one.
    fn due_ms(&self) -> Option<u64> {
        (self.unsaid > 0).then(|| (self.last_ms + LINK_CALM_MS).min(self.first_ms + LINK_REPORT_MS))
    }

    /// Number of changes that were only counted, and their seconds.
    fn take(&mut self) -> Option<(u32, u64)> {
        let count = std::mem::take(&mut self.unsaid);
        (count > 0).then(|| (count, (self.last_ms - self.first_ms).div_ceil(1000)))
    }
}

/// Logs the changes of the link as events and warnings.
#[derive(Clone)]
pub(super) struct LinkLog {
    pub peer: watch::Receiver<ShipSettings>,
    pub clock: Arc<SystemClock>,
    pub intake: Intake,
    pub subject: String,
    pub troubles: Troubles,
    /// Number of connections that ended or could not be made.
    pub failures: Counter,
}

impl LinkLog {
    fn down(&self, reason: &str) {
        self.log(LifeCycle::LinkDown { peer: &self.peer.borrow().peer(), reason });
    }

    /// For people. What differs in numbers alone is of one kind.
    fn warn(&self, reason: &str) {
        let kind: String = reason.chars().filter(|c| !c.is_ascii_digit()).collect();
        let peer = self.peer.borrow().peer();
        self.troubles.log(&kind, format!("no connection to {peer}: {reason}; the agent retries and keeps the events"));
    }

    fn up(&self) {
        self.log(LifeCycle::LinkUp { peer: &self.peer.borrow().peer() });
    }

    fn log(&self, body: LifeCycle<'_>) {
        let subject = Subject::new(&self.subject).expect("an agent's name is a subject");
        let event = Event { time: self.clock.wall(), subject, body: Body::LifeCycle(body) };
        if let Err(refusal) = self.intake.push(&event, Waiting::Nobody) {
            tracing::debug!("a change of the connection is not in the ring log: {refusal}");
        }
    }
}

/// Logs the changes of the link until the agent stops.
pub(super) async fn watch(link_log: LinkLog, mut link: watch::Receiver<LinkState>, mut stop: Stop) {
    let began = Instant::now();
    let (mut changes, mut was_up, mut reason) = (Changes::default(), false, String::new());
    loop {
        let now_ms = began.elapsed().as_millis() as u64;
        let state = link.borrow_and_update().clone();
        let is_up = state == LinkState::Up;
        if let LinkState::Down(why) = &state
            && why != CHANGED
        {
            link_log.failures.add(1);
            link_log.warn(why);
        }
        if let Some(why) = why_down(&state) {
            reason = why;
        }
        if is_up != was_up {
            was_up = is_up;
            match (changes.changed(now_ms), is_up) {
                (true, true) => link_log.up(),
                (true, false) => link_log.down(&reason),
                (false, _) => {}
            }
        }
        let due = changes.due_ms();
        let stopped = tokio::select! {
            () = stop.requested() => true,
            changed = link.changed() => changed.is_err(),
            () = tokio::time::sleep_until(began + Duration::from_millis(due.unwrap_or_default())), if due.is_some() => {
                log_together(&mut changes, &link_log, &reason, was_up);
                false
            }
        };
        if stopped {
            log_together(&mut changes, &link_log, &reason, was_up);
            return;
        }
    }
}

fn log_together(changes: &mut Changes, link_log: &LinkLog, reason: &str, is_up: bool) {
    if let Some((count, seconds)) = changes.take() {
        link_log.down(&format!("it changed {count} times within {seconds} s; the last reason: {reason}"));
        if is_up {
            link_log.up();
        }
    }
}

/// Why the agent cannot ship; `None` while it can, or while that is unknown.
pub(super) fn why_down(state: &LinkState) -> Option<String> {
    match state {
        LinkState::Down(reason) | LinkState::Untrusted(reason) => Some(reason.clone()),
        LinkState::Refused => Some("the other side accepts nothing under this agent's name".to_owned()),
        LinkState::Up | LinkState::Starting => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_changes_are_said_one_by_one_and_many_become_one() {
        let mut changes = Changes::default();
        // The control: a change every twenty seconds is news each time.
        assert!((0..30).all(|at| changes.changed(at * 20_000)));
        let began_ms = 10_000_000;
        let said = (0..248).filter(|at| changes.changed(began_ms + at * 180)).count();
        assert_eq!(said, LINK_EVENTS_MAX);
        let last_ms = began_ms + 247 * 180;
        assert_eq!(changes.due_ms(), Some(last_ms + LINK_CALM_MS));
        assert_eq!(changes.take(), Some((248 - LINK_EVENTS_MAX as u32, 44)));
        assert_eq!((changes.take(), changes.due_ms()), (None, None));
        assert!(changes.changed(last_ms + LINK_CALM_MS + 1), "it is calm again");
    }

    #[test]
    fn a_connection_that_never_gets_calm_is_reported_now_and_then() {
        let mut changes = Changes::default();
        let mut said = 0;
        for at in 0..36_000_u64 {
            let now_ms = at * 1000;
            said += u32::from(changes.changed(now_ms));
            if changes.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                said += u32::from(changes.take().is_some());
            }
        }
        assert!((60..400).contains(&said), "{said} events in ten hours");
    }
}
