//! One wish to stop, seen by every task.

use tokio::sync::watch;

/// Says that everybody shall stop.
#[derive(Debug)]
pub struct StopSender(watch::Sender<bool>);

/// Hears it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A wish that nobody has had yet.
pub fn channel() -> (StopSender, Stop) {
    let (sender, receiver) = watch::channel(false);
    (StopSender(sender), Stop(receiver))
}

impl StopSender {
    /// Everybody shall stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }

    /// One more who hears it.
    pub fn listener(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

impl Stop {
    /// Returns when everybody shall stop, also when the [`StopSender`] is gone. May be dropped and asked again.
    pub async fn requested(&mut self) {
        // An error means that nobody is left who could wish anything, which is an end too.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether everybody shall stop.
    pub fn seen(&self) -> bool {
        *self.0.borrow()
    }
}
