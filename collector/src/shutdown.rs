//! One word to everybody: stop.

use tokio::sync::watch;

/// Says it.
#[derive(Debug)]
pub struct StopSwitch(watch::Sender<bool>);

/// Hears it. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Stopping(watch::Receiver<bool>);

/// A switch, and what hears it. A dropped switch counts as thrown.
pub fn stop_switch() -> (StopSwitch, Stopping) {
    let (switch, stopping) = watch::channel(false);
    (StopSwitch(switch), Stopping(stopping))
}

impl StopSwitch {
    /// Says stop.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    /// Waits for it.
    pub async fn wait(&mut self) {
        // An error says that the switch is gone, which counts as thrown.
        let _ = self.0.wait_for(|stop| *stop).await;
    }

    /// Whether it was said.
    pub fn is_said(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}
