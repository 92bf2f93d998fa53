//! The client of an external broker, which brings in agents' messages in place of the endpoint.
//!
//! The broker is between agents and collector and is not trusted: it may forget, repeat and reorder. Only the
//! collector's acks, signed over the nonce of the agent's connection, release events of an agent's ring log. So every
//! connection is a fresh client with a clean start, without state of the one before. A message is confirmed to the
//! broker (PUBACK) after the commit that holds it; an unconfirmed one is sent again by its agent, if not by the broker.
//!
//! The broker's access rules must tie an agent's topics to its login; Mosquitto:
//!
//! ```text
//! pattern write afferent/v1/+/%u/up
//! pattern write afferent/v1/+/%u/state
//! pattern read afferent/v1/+/%u/down
//! ```
//!
//! `%u` is the login, which is the agent's name; never `%c`, the client id, which every client can choose. A broker
//! without such rules, or an attacker in control of it, can withhold messages and so delay them, and nothing else: it
//! has no key to sign with.
//!
//! Behind a broker the client address of a message is unknown: all agents behind the broker together may bring as many
//! new names as one client address.
//!
//! Answers go out with quality of service 0: they are cumulative, and an agent that misses one asks again.

mod probe;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime};

use afferent_host::stop::Stop;
use afferent_host::tls;
use afferent_host::url::BrokerUrl;
use afferent_protocol::ids::SourceId;
use afferent_protocol::topic::{Leaf, STATE_FILTER, Topic, UP_FILTER};
use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};
use rustls::ClientConfig;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

pub use probe::probe;

use crate::endpoint::{TlsError, check_validity};
use crate::intake::{AgentAccess, Done, Health, IncomingContent, Intake, Released};
use crate::jitter::jittered;
use crate::limits::{
    BROKER_DOWN_MAX, BROKER_HANDSHAKE_S_MAX, BROKER_KEEP_ALIVE, BROKER_RETRY, BROKER_SILENCE_MAX, IN_FLIGHT_MAX,
    PACKET_BYTES_MAX,
};
use crate::seldom::Seldom;
use crate::tls_client;
use crate::tls_words;

/// Settings of the connection to the broker.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// Its URL.
    pub url: BrokerUrl,
    /// The client id; a second client with the same one would push this one out.
    pub client_id: String,
    /// User name and password.
    pub login: Option<(String, String)>,
    /// The CA of the broker's certificate; the system's CAs if `None`.
    pub ca: Option<PathBuf>,
    /// Files of a client certificate and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
}

impl BrokerSettings {
    /// Checks that the files can be read.
    pub fn check(&self) -> Result<(), BrokerError> {
        options(self).map(drop)
    }
}

/// Why the client cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A file cannot be used.
    #[error("broker_client: {0}")]
    Files(#[from] TlsError),
    /// The system has no CAs.
    #[error("the system has no CA certificates; install them (ca-certificates) or set broker_client.ca")]
    NoAuthorities,
}

/// The client of a broker.
pub struct Broker {
    options: watch::Receiver<MqttOptions>,
    intake: Intake,
    answers: mpsc::Receiver<(SourceId, Bytes)>,
    health: Arc<Health>,
    stopping: Stop,
}

/// The settings of a client, which can be replaced while it serves.
#[derive(Debug)]
pub struct BrokerDoor(watch::Sender<MqttOptions>);

impl BrokerDoor {
    /// Reconnects, with login and files as these settings name them now.
    ///
    /// # Errors
    /// When a file cannot be used: then the client continues as before.
    pub fn replace(&self, settings: &BrokerSettings) -> Result<(), BrokerError> {
        self.0.send_replace(options(settings)?);
        Ok(())
    }
}

/// The handles of a client that serves.
#[derive(Debug)]
pub struct BrokerHandles {
    /// Takes answers to agents.
    pub answers: mpsc::Sender<(SourceId, Bytes)>,
    /// Replaces its settings.
    pub door: BrokerDoor,
}

/// A connection that ended.
struct LostConnection {
    why: String,
    /// Whether its subscriptions had been made.
    joined: bool,
}

impl Broker {
    /// Creates the client.
    pub fn new(
        settings: &BrokerSettings,
        intake: Intake,
        health: Arc<Health>,
        stopping: Stop,
    ) -> Result<(Self, BrokerHandles), BrokerError> {
        let (queue, answers) = mpsc::channel(BROKER_DOWN_MAX);
        let (door, options) = watch::channel(options(settings)?);
        Ok((
            Self { options, intake, answers, health, stopping },
            BrokerHandles { answers: queue, door: BrokerDoor(door) },
        ))
    }

    /// Keeps connected until the collector stops.
    pub async fn serve(mut self) {
        let mut stopping = self.stopping.clone();
        let (wait_min, wait_max) = BROKER_RETRY;
        let mut wait = wait_min;
        let mut losing = Seldom::default();
        loop {
            let lost = tokio::select! {
                lost = self.connection() => lost,
                () = stopping.requested() => return,
            };
            if let Some(before) = losing.due(Instant::now()) {
                tracing::warn!(why = lost.why, before, "no connection to the broker; retrying");
            }
            self.health.set_agent_access(AgentAccess::Closed { why: format!("broker: {}", lost.why) });
            wait = if lost.joined { wait_min } else { (wait * 2).min(wait_max) };
            tokio::select! {
                () = tokio::time::sleep(jittered(wait)) => {}
                () = stopping.requested() => return,
            }
        }
    }

    /// Runs one connection from its beginning to its end.
    async fn connection(&mut self) -> LostConnection {
        let requests = usize::from(IN_FLIGHT_MAX) + BROKER_DOWN_MAX;
        let mut options = self.options.clone();
        let current = options.borrow_and_update().clone();
        let (client, events) = AsyncClient::new(current, requests);
        let (done, released) = mpsc::unbounded_channel();
        let unconfirmed = Mutex::default();
        let connection = BrokerConnection { client, done, unconfirmed: &unconfirmed, intake: &self.intake };
        tokio::select! {
            lost = connection.poll(events, &self.health) => lost,
            why = connection.answer(released, &mut self.answers) => LostConnection { why, joined: true },
            Ok(()) = options.changed() => {
                LostConnection { why: "its settings were reloaded".to_owned(), joined: true }
            }
        }
    }
}

struct BrokerConnection<'a> {
    client: AsyncClient,
    done: mpsc::UnboundedSender<Released>,
    /// Messages that the broker wants confirmed, in order, each with the writer's number for it.
    unconfirmed: &'a Mutex<VecDeque<(u64, Publish)>>,
    intake: &'a Intake,
}

impl BrokerConnection<'_> {
    async fn poll(&self, mut events: EventLoop, health: &Health) -> LostConnection {
        let mut joined = false;
        let mut handed_over = 0;
        let why = loop {
            let packet = match timeout(BROKER_SILENCE_MAX, events.poll()).await {
                Ok(Ok(Event::Incoming(packet))) => packet,
                Ok(Ok(Event::Outgoing(_))) => continue,
                Ok(Err(error)) => break connection_error_text(&error),
                Err(_) => break "the broker has stopped answering".to_owned(),
            };
            match packet {
                Packet::ConnAck(_) => {
                    let filters = [UP_FILTER, STATE_FILTER].map(|filter| Filter::new(filter, QoS::AtLeastOnce));
                    // Nothing else was requested yet: there is room.
                    if let Err(error) = self.client.try_subscribe_many(filters) {
                        break error.to_string();
                    }
                }
                Packet::SubAck(suback) => {
                    let refused =
                        suback.return_codes.iter().find(|code| !matches!(code, SubscribeReasonCode::Success(_)));
                    if let Some(code) = refused {
                        break format!(
                            "the broker rejects the subscription to {UP_FILTER} and {STATE_FILTER}: {code:?}; check \
                             its access rules"
                        );
                    }
                    joined = true;
                    health.counters.broker_connections.count();
                    health.set_agent_access(AgentAccess::Open);
                    tracing::info!("connected to the broker");
                }
                Packet::Publish(publish) => match self.publish(publish, &mut handed_over, health).await {
                    Ok(()) => {}
                    Err(stopping) => break stopping.to_string(),
                },
                _ => {}
            }
        };
        LostConnection { why, joined }
    }

    async fn publish(
        &self,
        publish: Publish,
        handed_over: &mut u64,
        health: &Health,
    ) -> Result<(), crate::intake::Stopping> {
        let topic = std::str::from_utf8(&publish.topic).ok().and_then(Topic::parse);
        let receipt = Publish { pkid: publish.pkid, qos: publish.qos, ..Publish::default() };
        let content = topic.and_then(|topic| match topic.leaf {
            Leaf::Up => Some(IncomingContent::Message { payload: publish.payload, connection: None }),
            Leaf::State => Some(IncomingContent::State { payload: publish.payload }),
            Leaf::Down => None,
        });
        let (Some(topic), Some(content)) = (topic, content) else {
            health.counters.publishes_refused.count();
            // Unconfirmed it would use up the broker's window for good.
            let _ = self.client.try_ack(&receipt);
            return Ok(());
        };
        let room = self.intake.room(content.bytes()).await?;
        let done = (publish.qos != QoS::AtMostOnce).then(|| {
            *handed_over += 1;
            self.unconfirmed().push_back((*handed_over, receipt));
            Done { to: self.done.clone(), number: *handed_over }
        });
        room.fill(topic.agent, content, done);
        Ok(())
    }

    /// Confirms messages and sends answers, until the library ends.
    async fn answer(
        &self,
        mut released: mpsc::UnboundedReceiver<Released>,
        answers: &mut mpsc::Receiver<(SourceId, Bytes)>,
    ) -> String {
        loop {
            let sent = tokio::select! {
                Some(Released { number, .. }) = released.recv() => {
                    let receipt = self.unconfirmed().pop_front();
                    match receipt {
                        Some((first, receipt)) => {
                            assert_eq!(first, number, "the writer tells in the order in which it was handed over to");
                            self.client.ack(&receipt).await
                        }
                        None => Ok(()),
                    }
                }
                Some((agent, message)) = answers.recv() => {
                    let topic = Topic { agent, leaf: Leaf::Down };
                    self.client.publish(topic.text().as_str(), QoS::AtMostOnce, false, message).await
                }
            };
            if let Err(error) = sent {
                return error.to_string();
            }
        }
    }

    fn unconfirmed(&self) -> MutexGuard<'_, VecDeque<(u64, Publish)>> {
        self.unconfirmed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connection_error_text(error: &ConnectionError) -> String {
    use rumqttc::TlsError;
    match error {
        ConnectionError::Timeout(_) => "the broker does not answer in time".to_owned(),
        ConnectionError::Tls(TlsError::TLS(error)) => tls_words::of(error),
        ConnectionError::Tls(TlsError::Io(error)) => tls_words::of_io(error),
        // The first byte of a TLS server's answer is no packet of MQTT.
        ConnectionError::MqttState(_) => {
            format!(
                "the other side does not speak MQTT ({error}); if this is its port for TLS, write mqtts:// in `broker`"
            )
        }
        other => other.to_string(),
    }
}

fn options(settings: &BrokerSettings) -> Result<MqttOptions, BrokerError> {
    let BrokerSettings { url, client_id, login, .. } = settings;
    let mut options = MqttOptions::new(client_id.clone(), url.host.clone(), url.port);
    options.set_keep_alive(BROKER_KEEP_ALIVE);
    options.set_clean_start(true);
    options.set_manual_acks(true);
    options.set_connection_timeout(BROKER_HANDSHAKE_S_MAX);
    options.set_max_packet_size(Some(PACKET_BYTES_MAX));
    options.set_receive_maximum(Some(IN_FLIGHT_MAX));
    // rumqttc allocates for all of them in advance; acks to agents are few.
    options.set_outgoing_inflight_upper_limit(IN_FLIGHT_MAX);
    if let Some((user, password)) = login {
        options.set_credentials(user.clone(), password.clone());
    }
    if url.tls {
        let tls = client_tls(settings)?;
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
    }
    Ok(options)
}

fn client_tls(settings: &BrokerSettings) -> Result<Arc<ClientConfig>, BrokerError> {
    let roots = tls_client::authorities(settings.ca.as_deref()).map_err(TlsError::from)?;
    if roots.is_empty() {
        return Err(BrokerError::NoAuthorities);
    }
    let own = settings.certificate.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    if let Some((certificate, _)) = own {
        check_validity(certificate, &tls::certificates(certificate).map_err(TlsError::from)?, SystemTime::now())?;
    }
    Ok(tls::client(roots, own).map_err(TlsError::from)?)
}
