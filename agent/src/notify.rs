//! Tells systemd that the agent is ready, alive, or stopping (`sd_notify(3)`).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The service manager's socket, where there is one.
#[derive(Debug, Default)]
pub struct Notifier {
    socket: Option<(UnixDatagram, SocketAddr)>,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// Reads the environment of this process. A socket that cannot be reached counts as none.
    pub fn from_env() -> Self {
        let address = std::env::var("NOTIFY_SOCKET").ok();
        let ours = std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let watchdog = std::env::var("WATCHDOG_USEC").ok().filter(|_| ours);
        Self::new(address.as_deref(), watchdog.as_deref())
    }

    /// `address` is a path, or a name of the abstract name space behind `@`; `watchdog_us` is the longest silence.
    pub fn new(address: Option<&str>, watchdog_us: Option<&str>) -> Self {
        let socket = address.and_then(|address| {
            let address = match address.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name),
                None => SocketAddr::from_pathname(address),
            };
            Some((UnixDatagram::unbound().ok()?, address.ok()?))
        });
        let watchdog = watchdog_us.and_then(|text| text.parse().ok()).filter(|micros| *micros > 0);
        Self { socket, watchdog: watchdog.map(Duration::from_micros) }
    }

    /// How often [`Notifier::alive`] must be called: half of the longest silence.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.watchdog.map(|longest| longest / 2)
    }

    /// The agent takes events.
    pub fn ready(&self) -> io::Result<()> {
        self.send("READY=1")
    }

    /// The agent is not stuck.
    pub fn alive(&self) -> io::Result<()> {
        self.send("WATCHDOG=1")
    }

    /// The agent is stopping.
    pub fn stopping(&self) -> io::Result<()> {
        self.send("STOPPING=1")
    }

    /// One line for people, as `systemctl status` shows it.
    pub fn status(&self, text: &str) -> io::Result<()> {
        self.send(&format!("STATUS={}", text.replace('\n', " ")))
    }

    fn send(&self, message: &str) -> io::Result<()> {
        match &self.socket {
            Some((socket, address)) => socket.send_to_addr(message.as_bytes(), address).map(|_| ()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_hears_of_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let notifier = Notifier::new(path.to_str(), Some("3000000"));
        assert_eq!(notifier.watchdog_interval(), Some(Duration::from_millis(1500)));
        notifier.ready().unwrap();
        notifier.status("a\nb").unwrap();
        let mut bytes = [0; 64];
        for expected in ["READY=1", "STATUS=a b"] {
            let len = manager.recv(&mut bytes).unwrap();
            assert_eq!(&bytes[..len], expected.as_bytes());
        }
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        let notifier = Notifier::new(None, Some("soon"));
        assert_eq!(notifier.watchdog_interval(), None);
        notifier.alive().unwrap();
        notifier.stopping().unwrap();
    }
}
