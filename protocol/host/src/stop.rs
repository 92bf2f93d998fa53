//! One request to stop, seen by every task.

use tokio::sync::watch;

/// Requests it.
#[derive(Debug)]
pub struct StopSender(watch::Sender<bool>);

/// Sees it. Clones see the same.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A request that has not been made yet. A dropped sender counts as one that has made it.
pub fn channel() -> (StopSender, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopSender(sender), Stop(receiver))
}

impl StopSender {
    /// Requests the stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// Returns one more listener of the same stop.
    pub fn listener(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

impl Stop {
    /// Returns when the stop is requested. May be dropped and awaited again.
    pub async fn requested(&mut self) {
        // An error means that the sender is gone, which counts as a request.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether the stop is requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_seen_by_all_and_a_dropped_sender_is_one() {
        let (sender, stop) = channel();
        let (other, late) = (stop.clone(), sender.listener());
        assert!(!stop.is_requested() && !late.is_requested());
        sender.stop();
        assert!([&stop, &other, &late].iter().all(|stop| stop.is_requested()));
        let (sender, stop) = channel();
        drop(sender);
        assert!(stop.is_requested());
    }
}
