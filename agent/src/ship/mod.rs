//! The transport: MQTT 5 to a collector or to a broker, with a fresh client for every connection.
//!
//! rumqttc is used as a transport and not as a store: whatever it holds may vanish with its connection, for the session
//! knows what was acked and sends the rest again. A PUBACK frees rumqttc's window and means nothing else.

mod backoff;
mod credentials;
mod speaker;
mod tls;
pub mod words;

use std::time::Duration;

use afferent_protocol::ids::SourceId;
use afferent_protocol::session::signed::Nonce;
use afferent_protocol::topic::{Leaf, Topic};
use rumqttc::NetworkOptions;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    Disconnect, DisconnectReasonCode, LastWill, Packet, PubAckReason, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use tokio::sync::{mpsc, watch};

pub use backoff::Backoff;
pub use credentials::{Credentials, Refresh};
pub use speaker::Speaker;
pub use tls::{TlsError, TlsFiles};

use crate::limits::MQTT_INCOMING_BYTES_MAX;
use crate::trust::TrustSettings;
use crate::writer::{Inbound, Link, Outbound};

/// Requests that wait inside rumqttc.
const CLIENT_REQUESTS_MAX: usize = 4;
/// Messages without a PUBACK: rumqttc makes room for all of them in advance.
const UNACKED_MESSAGES_MAX: u16 = 256;
/// A connection that brings nothing at all for this long is dead, whatever rumqttc thinks of it.
const SILENCE_MAX: Duration = Duration::from_secs(90);
/// A message that finds no room in rumqttc for this long waits for PUBACKs that do not come, however well pings are answered.
const PUBLISH_MAX: Duration = Duration::from_secs(90);
/// A connection is made and subscribed within this time, or given up.
const CONNECT_MAX: Duration = Duration::from_secs(15);
/// A goodbye takes no longer than this.
const FAREWELL_MAX: Duration = Duration::from_secs(1);
/// Seconds between two pings: above the half minute in which rumqttc wants every ping answered.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// Where to and how.
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
    /// Which collectors are believed.
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

    fn options(&self, speaker: &Speaker, nonce: Nonce) -> MqttOptions {
        let mut options = MqttOptions::new(speaker.client_id(), self.host.clone(), self.port);
        let state = Topic { agent: self.agent, leaf: Leaf::State }.text();
        options
            .set_clean_start(true)
            .set_keep_alive(KEEP_ALIVE)
            .set_connection_timeout(CONNECT_MAX.as_secs())
            .set_max_packet_size(Some(MQTT_INCOMING_BYTES_MAX))
            .set_outgoing_inflight_upper_limit(UNACKED_MESSAGES_MAX)
            .set_last_will(LastWill::new(state.as_str(), speaker.state(nonce, false), QoS::AtLeastOnce, true, None));
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        options.set_network_options(network);
        if let Some((user, password)) = &self.login {
            options.set_credentials(user.clone(), password.clone());
        }
        if let Some(tls) = &self.tls {
            options.set_transport(rumqttc::Transport::tls_with_config(rumqttc::TlsConfiguration::Rustls(tls.clone())));
        }
        options
    }
}

/// How the connection is, for health and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected, and why.
    #[default]
    Starting,
    /// Connected and subscribed.
    Up,
    /// Connected, and nothing that the agent sends is taken, because it may not speak under its name.
    Refused,
    /// Connected, and who answers is no collector that the agent believes: nothing is shipped. What to do.
    Untrusted(String),
    /// Not connected, and why.
    Down(String),
}

/// Why a connection is down for which other settings have come: that is no failure.
pub const CHANGED: &str = "its settings have changed";

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("{}", words::words(.0))]
    Connection(ConnectionError),
    #[error("{0}")]
    Unreadable(String),
    #[error("nothing came for {} s", SILENCE_MAX.as_secs())]
    Silence,
    #[error("it has not acknowledged anything for {} s", PUBLISH_MAX.as_secs())]
    Stuck,
    #[error("it was not connected and subscribed within {} s", CONNECT_MAX.as_secs())]
    Slow,
    #[error("the broker refused the subscription to {topic}: {code:?}; its access rules must let this agent read it")]
    Refused { topic: String, code: SubscribeReasonCode },
    #[error("the broker closed the connection ({0})")]
    Disconnected(String),
    #[error(
        "another connection has taken the session over: a copy of this agent runs elsewhere, as of a virtual machine's \
         memory; it is tried again in some minutes"
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
    fn by_packet(disconnect: &Disconnect) -> Self {
        match disconnect.reason_code {
            DisconnectReasonCode::SessionTakenOver => Self::TakenOver,
            code => Self::Disconnected(format!("{code:?}")),
        }
    }

    /// How long to stay away.
    fn pause(&self, backoff: &mut Backoff) -> Duration {
        if matches!(self, Self::TakenOver) { backoff::taken_over() } else { backoff.pause() }
    }

    fn by_error(error: ConnectionError) -> Self {
        match error {
            ConnectionError::MqttState(StateError::ServerDisconnect {
                reason_code: DisconnectReasonCode::SessionTakenOver,
                ..
            }) => Self::TakenOver,
            error => Self::Connection(error),
        }
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
    loop {
        let current = settings.borrow_and_update().clone();
        let attempt = async {
            // Certificates and passwords may have been renewed since.
            let wanted = current.clone();
            match tokio::task::spawn_blocking(|| wanted.refreshed()).await {
                Ok(Ok(fresh)) => connection(&speaker, &fresh, &link, outbox, &state, &mut backoff).await,
                Ok(Err(reason)) => Ended::Unreadable(reason),
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        };
        let ended = tokio::select! {
            ended = attempt => ended,
            Ok(()) = settings.changed() => Ended::Changed,
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

/// Waits before the next attempt; what the writer still sends meanwhile is for a connection that is gone. `None` when the
/// writer is gone.
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

/// One connection, from its beginning to its end.
async fn connection(
    speaker: &Speaker,
    settings: &ShipSettings,
    link: &Link,
    outbox: &mut mpsc::Receiver<Outbound>,
    state: &watch::Sender<LinkState>,
    backoff: &mut Backoff,
) -> Ended {
    let mut nonce = Nonce::NONE;
    getrandom::fill(&mut nonce.0).expect("the kernel gives random numbers");
    let (client, mut events) = AsyncClient::new(settings.options(speaker, nonce), CLIENT_REQUESTS_MAX);
    let online = speaker.state(nonce, true);
    match tokio::time::timeout(CONNECT_MAX, subscribe(settings, online, &client, &mut events)).await {
        Err(_) => return Ended::Slow,
        Ok(Err(ended)) => return ended,
        Ok(Ok(())) => {}
    }
    tracing::info!("connected to {}", settings.peer());
    state.send_replace(LinkState::Up);
    link.bring(Inbound::LinkUp(nonce, settings.trust.clone()));
    // Publishing waits for room inside rumqttc, which only polling makes: the two must not be one after the other.
    let ended = tokio::select! {
        ended = receive(link, &mut events, state, backoff) => ended,
        ended = publish(settings, link, outbox, &client) => ended,
    };
    if matches!(ended, Ended::Stopped) {
        let offline = speaker.state(nonce, false);
        let _ = tokio::time::timeout(FAREWELL_MAX, say_goodbye(settings, offline, &client, &mut events)).await;
    }
    ended
}

/// Says that the agent is offline on purpose; the last will does it only for those that vanish.
async fn say_goodbye(settings: &ShipSettings, offline: Vec<u8>, client: &AsyncClient, events: &mut EventLoop) {
    let state = Topic { agent: settings.agent, leaf: Leaf::State }.text();
    let said = client.try_publish(state.as_str(), QoS::AtLeastOnce, true, offline);
    while said.is_ok() {
        match events.poll().await {
            Ok(Event::Incoming(Packet::PubAck(_))) if events.state.inflight() == 0 => break,
            Ok(_) => {}
            Err(_) => return,
        }
    }
    if client.try_disconnect().is_ok() {
        while events.poll().await.is_ok() {}
    }
}

async fn subscribe(
    settings: &ShipSettings,
    online: Vec<u8>,
    client: &AsyncClient,
    events: &mut EventLoop,
) -> Result<(), Ended> {
    let down = Topic { agent: settings.agent, leaf: Leaf::Down }.text();
    let state = Topic { agent: settings.agent, leaf: Leaf::State }.text();
    let closed = |_| Ended::Stopped;
    client.try_subscribe(down.as_str(), QoS::AtLeastOnce).map_err(closed)?;
    client.try_publish(state.as_str(), QoS::AtLeastOnce, true, online).map_err(closed)?;
    loop {
        match events.poll().await.map_err(Ended::by_error)? {
            Event::Incoming(Packet::SubAck(ack)) => {
                return match ack.return_codes.first() {
                    Some(SubscribeReasonCode::Success(_)) => Ok(()),
                    code => {
                        let code = code.copied().unwrap_or(SubscribeReasonCode::Unspecified);
                        Err(Ended::Refused { topic: down.as_str().into(), code })
                    }
                };
            }
            Event::Incoming(Packet::Disconnect(why)) => return Err(Ended::by_packet(&why)),
            _ => {}
        }
    }
}

async fn receive(
    link: &Link,
    events: &mut EventLoop,
    state: &watch::Sender<LinkState>,
    backoff: &mut Backoff,
) -> Ended {
    loop {
        match tokio::time::timeout(SILENCE_MAX, events.poll()).await {
            Err(_) => return Ended::Silence,
            Ok(Err(error)) => return Ended::by_error(error),
            Ok(Ok(Event::Incoming(Packet::Publish(publish)))) => {
                // Something answers behind this connection: it was worth making.
                backoff.reset();
                // Whom it is from, the writer finds out.
                if *state.borrow() == LinkState::Refused {
                    set(state, LinkState::Up);
                }
                link.bring(Inbound::Message(publish.payload.to_vec()));
            }
            // The collector says so of another key than the name's, a broker of another name than the login's.
            Ok(Ok(Event::Incoming(Packet::PubAck(ack)))) if ack.reason == PubAckReason::NotAuthorized => {
                set(state, LinkState::Refused);
            }
            Ok(Ok(Event::Incoming(Packet::Disconnect(why)))) => return Ended::by_packet(&why),
            Ok(Ok(_)) => {}
        }
    }
}

/// Tells a new state, and wakes nobody for one that is not new.
pub(crate) fn set(state: &watch::Sender<LinkState>, new: LinkState) {
    state.send_if_modified(|known| {
        let differs = *known != new;
        if differs {
            *known = new;
        }
        differs
    });
}

async fn publish(
    settings: &ShipSettings,
    link: &Link,
    outbox: &mut mpsc::Receiver<Outbound>,
    client: &AsyncClient,
) -> Ended {
    let up = Topic { agent: settings.agent, leaf: Leaf::Up }.text();
    loop {
        let Some(outbound) = outbox.recv().await else { return Ended::Stopped };
        link.took();
        match outbound {
            Outbound::Reconnect => return Ended::NoAnswer,
            Outbound::Message(message) => {
                let published = client.publish(up.as_str(), QoS::AtLeastOnce, false, message);
                match tokio::time::timeout(PUBLISH_MAX, published).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Ended::Disconnected("its client is gone".into()),
                    Err(_) => return Ended::Stuck,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TAKEN_OVER_S;

    #[test]
    fn who_loses_its_session_to_another_stays_away_for_minutes() {
        let ended = |reason_code| {
            let by_packet = Ended::by_packet(&Disconnect { reason_code, properties: None });
            let error = StateError::ServerDisconnect { reason_code, reason_string: None };
            [by_packet, Ended::by_error(ConnectionError::MqttState(error))]
        };
        let minutes = Duration::from_secs(TAKEN_OVER_S);
        for ended in ended(DisconnectReasonCode::SessionTakenOver) {
            let pause = ended.pause(&mut Backoff::new());
            assert!(minutes <= pause && pause <= 2 * minutes, "{pause:?}");
        }
        // The control.
        for ended in ended(DisconnectReasonCode::ServerBusy) {
            assert!(ended.pause(&mut Backoff::new()) < Duration::from_secs(1));
        }
    }
}
