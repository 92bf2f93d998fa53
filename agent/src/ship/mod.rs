//! The transport: MQTT 5 to a collector or to a broker, with nothing that outlives a connection but how far a batch in
//! pieces has come.
//!
//! It stores nothing: whatever it holds may vanish with its connection, for the session knows what was acked and sends
//! the rest again. A PUBACK shows how fast the line is, but not what is durable.
//!
//! The modules, in the order in which a message passes them: `loads` (what waits, cut to size), `pace` (how much may be
//! under way), `wire` (packets and sockets; `dial` finds the way, `tls` the certificates), `connection` (all of it in
//! one loop).

mod backoff;
mod connection;
mod credentials;
mod dial;
mod loads;
mod pace;
mod speaker;
mod tls;
mod wire;
pub mod words;

use std::time::Duration;

use afferent_protocol::ids::SourceId;
use rumqttc::v5::mqttbytes::v5::SubscribeReasonCode;
use tokio::sync::{mpsc, watch};

pub use backoff::Backoff;
pub use credentials::{Credentials, Refresh};
pub use speaker::Speaker;
pub use tls::{TlsError, TlsFiles};

use crate::limits::{CONNECT_MS_MAX, CONNECT_MS_MIN, LINK_SILENCE_MAX, PUBLISH_MAX};
use crate::mailbox::{Inbound, Link, LinkState, Outbound};
use crate::trust::TrustSettings;
use connection::{Parts, connection};
use loads::Loads;
use wire::WireError;

/// The broker and the way to connect to it.
#[derive(Clone)]
pub struct ShipSettings {
    /// Whose topics.
    pub agent: SourceId,
    /// The host name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// `Some` for `mqtts://`.
    pub tls: Option<std::sync::Arc<rustls::ClientConfig>>,
    /// The trusted collectors.
    pub trust: TrustSettings,
    /// Reads login and TLS again before each connection; `None` keeps them as they are.
    pub refresh: Option<Refresh>,
}

impl std::fmt::Debug for ShipSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} to {}", self.agent, self.peer())
    }
}

impl ShipSettings {
    /// The peer as people read it.
    pub fn peer(&self) -> String {
        let is_secure = self.tls.is_some() || self.refresh.as_ref().is_some_and(Refresh::is_secure);
        let scheme = if is_secure { "mqtts" } else { "mqtt" };
        format!("{scheme}://{}:{}", self.host, self.port)
    }
}

/// Why a connection is down for which other settings have come: that is no failure.
pub const CHANGED: &str = "its settings have changed";

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{}", words::words(.0))]
    Wire(#[from] WireError),
    #[error("{0}")]
    Unreadable(String),
    #[error("the other side sent nothing for {} s", LINK_SILENCE_MAX.as_secs())]
    Silence,
    #[error("the other side acknowledged nothing for {} s", PUBLISH_MAX.as_secs())]
    Stuck,
    #[error("connecting and subscribing took longer than {} s", .0.as_secs())]
    Slow(Duration),
    #[error(
        "a message of {bytes} bytes cannot be split, and the broker takes at most {limit}; raise its packet limit \
         (mosquitto: max_packet_size) to 8192 or more"
    )]
    TooSmall { bytes: usize, limit: usize },
    #[error("the broker refused the subscription to {topic}: {code:?}; its access rules must let this agent read it")]
    Refused { topic: String, code: SubscribeReasonCode },
    #[error("the broker closed the connection ({0})")]
    Disconnected(String),
    #[error(
        "a second connection took over the session: a copy of this agent is running, such as a copied virtual \
         machine; the agent connects again in some minutes"
    )]
    TakenOver,
    #[error("the collector does not answer")]
    NoAnswer,
    #[error("{CHANGED}")]
    Changed,
    #[error("the agent is stopping")]
    Stopped,
}

impl Ended {
    /// How long to wait before the next connection.
    fn pause(&self, backoff: &mut Backoff) -> Duration {
        if matches!(self, Self::TakenOver) { backoff::taken_over() } else { backoff.pause() }
    }
}

/// Keeps connecting until the writer is gone.
pub async fn ship(
    speaker: Speaker,
    settings: watch::Receiver<ShipSettings>,
    link: Link,
    outbox: &mut mpsc::Receiver<Outbound>,
    state: watch::Sender<LinkState>,
) {
    let mut backoff = Backoff::new();
    let mut settings = settings;
    let mut loads = Loads::default();
    let mut connect_ms = CONNECT_MS_MIN;
    loop {
        let current = settings.borrow_and_update().clone();
        let (released, loads, outbox) = (link.released(), &mut loads, &mut *outbox);
        let connect_max = Duration::from_millis(connect_ms);
        let (speaker, state_seen) = (&speaker, &state);
        let attempt = async {
            // Certificates and passwords may have been renewed since.
            let wanted = current.clone();
            let fresh = match tokio::task::spawn_blocking(|| wanted.refreshed()).await {
                Ok(Ok(fresh)) => fresh,
                Ok(Err(reason)) => return Ended::Unreadable(reason),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            let (settings, link, loads) = (&fresh, &link, &mut *loads);
            connection(Parts { speaker, settings, link, outbox, state: state_seen, loads, connect_max }).await
        };
        let ended = tokio::select! {
            ended = attempt => ended,
            Ok(()) = settings.changed() => Ended::Changed,
        };
        loads.clear();
        // Whoever only answers is not worth coming back to at once: who has taken something is.
        if link.released() != released {
            backoff.reset();
        }
        connect_ms = match ended {
            Ended::Slow(_) => (2 * connect_ms).min(CONNECT_MS_MAX),
            _ => CONNECT_MS_MIN,
        };
        link.bring(Inbound::LinkDown);
        if matches!(ended, Ended::Stopped) {
            return;
        }
        let reason = ended.to_string();
        let pause = ended.pause(&mut backoff);
        tracing::debug!("no connection to {}: {reason}", current.peer());
        state.send_replace(LinkState::Down(reason));
        if idle(pause, &link, outbox, &mut settings).await.is_none() {
            return;
        }
    }
}

/// Waits before the next attempt; what the writer still sends meanwhile is for a connection that is gone. `None` when
/// the writer is gone.
async fn idle(
    pause: Duration,
    link: &Link,
    outbox: &mut mpsc::Receiver<Outbound>,
    settings: &mut watch::Receiver<ShipSettings>,
) -> Option<()> {
    let pause = tokio::time::sleep(pause);
    tokio::pin!(pause);
    loop {
        tokio::select! {
            () = &mut pause => return Some(()),
            outbound = outbox.recv() => {
                outbound?;
                link.took();
            }
            Ok(()) = settings.changed() => return Some(()),
        }
    }
}

/// Sets the state, and wakes its watchers only if it is new.
pub(crate) fn set(state: &watch::Sender<LinkState>, new: LinkState) {
    state.send_if_modified(|known| {
        let differs = *known != new;
        if differs {
            *known = new;
        }
        differs
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TAKEN_OVER_S;

    #[test]
    fn who_loses_its_session_to_another_stays_away_for_minutes() {
        let minutes = Duration::from_secs(TAKEN_OVER_S);
        let pause = Ended::TakenOver.pause(&mut Backoff::new());
        assert!(minutes <= pause && pause <= 2 * minutes, "{pause:?}");
        // The control.
        assert!(Ended::Disconnected("ServerBusy".into()).pause(&mut Backoff::new()) < Duration::from_secs(1));
    }
}
