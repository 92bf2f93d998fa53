//! A client of the broker, from its CONNACK to its end. A task of its own keeps it alive between parts.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::Error as MqttError;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, Packet, PubAckReason, PublishProperties};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError};
use rumqttc::{Outgoing, TlsError};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::sink::{DeliverError, Unavailable};
use crate::limits::{
    BROKER_HANDSHAKE_S_MAX, BROKER_SILENCE_MAX, MQTT_HEAD_BYTES, MQTT_IN_FLIGHT_MAX, MQTT_REASON_CHARS_MAX,
};
use crate::tls_words;

/// The content type of a CloudEvent in structured mode (CloudEvents, MQTT protocol binding).
const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// A message.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub topic: String,
    pub payload: Bytes,
}

/// A connection that the broker has accepted.
pub(super) struct Connection {
    client: AsyncClient,
    heard: mpsc::UnboundedReceiver<Heard>,
    /// Keeps the connection alive; ends with it.
    _task: JoinSet<()>,
    /// Largest packet that the broker takes.
    packet_max: usize,
}

/// What the task of a connection passes on, in the order in which it happens.
enum Heard {
    /// A message was sent with this number.
    Sent(u16),
    /// The broker has answered to that number.
    Answered(u16, PubAckReason),
    /// The broker has answered to the message after the last answered one that it is too large for it, which no
    /// answer to a message may say: the client has ended the connection.
    TooLarge,
    /// The connection has ended.
    Ended(Unavailable),
}

impl Connection {
    /// Connects and logs in.
    pub async fn open(options: MqttOptions, retain: bool) -> Result<Self, Unavailable> {
        let (client, mut events) = AsyncClient::new(options, usize::from(MQTT_IN_FLIGHT_MAX));
        let connected = timeout(Duration::from_secs(BROKER_HANDSHAKE_S_MAX), async {
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(ack))) => return Ok(ack),
                    Ok(_) => {}
                    Err(error) => return Err(of_connection(&error)),
                }
            }
        });
        let Ok(ack) = connected.await else {
            return Err(Unavailable::new("the broker does not answer in time", "check that it runs, and `url`"));
        };
        let limits = ack?.properties;
        let limits = limits.as_ref();
        if limits.is_some_and(|limits| limits.max_qos == Some(0)) {
            let remedy = "allow QoS 1 at the broker: without it nothing is confirmed";
            return Err(Unavailable::new("the broker takes messages without confirmation only", remedy));
        }
        if retain && limits.is_some_and(|limits| limits.retain_available == Some(0)) {
            return Err(Unavailable::new("the broker does not keep messages", "allow it there, or set retain = false"));
        }
        let packet_max = limits.and_then(|limits| limits.max_packet_size).map_or(usize::MAX, |bytes| bytes as usize);
        let (to, heard) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(poll(events, to));
        Ok(Self { client, heard, _task: task, packet_max })
    }

    /// Whether the connection has ended while nothing was under way.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.heard.try_recv(), Err(mpsc::error::TryRecvError::Empty))
    }

    /// Publishes messages in their order, and waits until the broker has confirmed all of them, each within `time`.
    pub async fn deliver(&mut self, messages: &[Message], retain: bool, time: Duration) -> Result<(), DeliverError> {
        // The broker would close the connection over it.
        let fits = |message: &Message| message.topic.len() + message.payload.len() + MQTT_HEAD_BYTES <= self.packet_max;
        let too_large = messages.iter().position(|message| !fits(message));
        let mut answers = Answers::new(messages.len());
        let failed = self.publish(&messages[..too_large.unwrap_or(messages.len())], retain, time, &mut answers).await;
        let taken = answers.taken();
        if let Err(error) = failed {
            return Err(Unavailable { taken, ..error }.into());
        }
        let of_packet = too_large.map(|index| {
            (index, format!("it is larger than the {} bytes of a packet that the broker takes", self.packet_max))
        });
        let of_message = answers.too_large.map(|index| {
            let bytes = messages[index].payload.len();
            (index, format!("its {bytes} bytes are more than the broker takes of a message (packet too large, 0x95)"))
        });
        let Some((index, reason)) = answers.refused().or(of_message).or(of_packet) else { return Ok(()) };
        Err(DeliverError::Refused { index: Some(index), taken, reason })
    }

    async fn publish(
        &mut self,
        messages: &[Message],
        retain: bool,
        time: Duration,
        answers: &mut Answers,
    ) -> Result<(), Unavailable> {
        let slow = || {
            let reason = format!("the broker has not confirmed a message for {} s", time.as_secs_f64());
            Unavailable::new(reason, "see the broker's log; its queues may be full")
        };
        for message in messages {
            let properties = PublishProperties {
                payload_format_indicator: Some(1),
                content_type: Some(CONTENT_TYPE.to_owned()),
                ..PublishProperties::default()
            };
            let Message { topic, payload } = message;
            let sent = self.client.publish_with_properties(
                topic.as_str(),
                QoS::AtLeastOnce,
                retain,
                payload.clone(),
                properties,
            );
            // A connection that has ended says why among what was heard.
            if timeout(time, sent).await.map_err(|_| slow())?.is_err() {
                break;
            }
        }
        while answers.answered < messages.len() {
            match timeout(time, self.heard.recv()).await.map_err(|_| slow())? {
                Some(Heard::Sent(number)) => answers.sent(number),
                Some(Heard::Answered(number, reason)) => answers.answer(number, reason),
                Some(Heard::TooLarge) => {
                    answers.too_large = Some(answers.first_left());
                    return Ok(());
                }
                Some(Heard::Ended(error)) => return Err(error),
                None => return Err(Unavailable::new("the connection has ended", "it is made again")),
            }
        }
        match answers.postponed(messages) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// The answers to the messages of a part.
struct Answers {
    /// By index of the message.
    reasons: Vec<Option<PubAckReason>>,
    /// The numbers that the broker answers to, and the index of the message of each.
    numbers: HashMap<u16, usize>,
    sent: usize,
    answered: usize,
    /// Index of the message that was too large for the broker.
    too_large: Option<usize>,
}

impl Answers {
    fn new(count: usize) -> Self {
        Self { reasons: vec![None; count], numbers: HashMap::new(), sent: 0, answered: 0, too_large: None }
    }

    fn sent(&mut self, number: u16) {
        self.numbers.insert(number, self.sent);
        self.sent += 1;
    }

    fn answer(&mut self, number: u16, reason: PubAckReason) {
        // An answer to nothing is a fault of the broker, which costs a repetition at most.
        let Some(index) = self.numbers.remove(&number) else { return };
        if let Some(known) = self.reasons.get_mut(index) {
            *known = Some(reason);
            self.answered += 1;
        }
    }

    /// The first message without an answer: a broker answers in the order of the messages (MQTT 5, 4.6).
    fn first_left(&self) -> usize {
        self.reasons.iter().position(Option::is_none).unwrap_or(self.reasons.len())
    }

    /// Number of messages, from the first on, that the broker has.
    fn taken(&self) -> usize {
        let is_there = |reason: &&Option<PubAckReason>| {
            matches!(reason, Some(PubAckReason::Success | PubAckReason::NoMatchingSubscribers))
        };
        self.reasons.iter().take_while(is_there).count()
    }

    /// The first message that the broker will never take.
    fn refused(&self) -> Option<(usize, String)> {
        let is_final = |reason: PubAckReason| {
            matches!(reason, PubAckReason::TopicNameInvalid | PubAckReason::PayloadFormatInvalid)
        };
        let index = self.reasons.iter().position(|reason| reason.is_some_and(is_final))?;
        Some((index, format!("the broker refuses the message: {:?}", self.reasons[index].expect("it is one"))))
    }

    /// The first message that the broker does not take now.
    fn postponed(&self, messages: &[Message]) -> Option<Unavailable> {
        let index = self.reasons.iter().position(|reason| {
            !matches!(
                reason,
                None | Some(
                    PubAckReason::Success
                        | PubAckReason::NoMatchingSubscribers
                        | PubAckReason::TopicNameInvalid
                        | PubAckReason::PayloadFormatInvalid
                )
            )
        })?;
        let reason = self.reasons[index].expect("it is one");
        let topic: String = messages.get(index)?.topic.chars().take(MQTT_REASON_CHARS_MAX).collect();
        let remedy = match reason {
            PubAckReason::NotAuthorized => "let this user write there, or choose another `topic`",
            PubAckReason::QuotaExceeded => "raise the broker's quota",
            _ => "see the broker's log",
        };
        Some(Unavailable::new(format!("the broker does not take a message on {topic}: {reason:?}"), remedy))
    }
}

/// Runs a connection until it ends; passes on what a delivery must know.
async fn poll(mut events: EventLoop, to: mpsc::UnboundedSender<Heard>) {
    loop {
        let heard = match timeout(BROKER_SILENCE_MAX, events.poll()).await {
            Ok(Ok(Event::Outgoing(Outgoing::Publish(number)))) => Heard::Sent(number),
            Ok(Ok(Event::Incoming(Packet::PubAck(ack)))) => Heard::Answered(ack.pkid, ack.reason),
            Ok(Ok(Event::Incoming(Packet::Disconnect(packet)))) => Heard::Ended(Unavailable::new(
                format!("the broker has closed the connection: {:?}", packet.reason_code),
                "see the broker's log; a second client with the same `client_id` takes its place",
            )),
            Ok(Ok(_)) => continue,
            Ok(Err(error)) if is_too_large(&error) => Heard::TooLarge,
            Ok(Err(error)) => Heard::Ended(of_connection(&error)),
            Err(_) => Heard::Ended(Unavailable::new("the broker has stopped answering", "check it and the network")),
        };
        let is_over = matches!(heard, Heard::Ended(_) | Heard::TooLarge);
        if to.send(heard).is_err() || is_over {
            return;
        }
    }
}

/// Whether the broker has answered to a message that it is too large, as Mosquitto does: the client takes this reason for
/// none that such an answer may have.
fn is_too_large(error: &ConnectionError) -> bool {
    const PACKET_TOO_LARGE: u8 = 0x95;
    matches!(
        error,
        ConnectionError::MqttState(StateError::Deserialization(MqttError::InvalidConnectReturnCode(PACKET_TOO_LARGE)))
    )
}

fn of_connection(error: &ConnectionError) -> Unavailable {
    let (reason, remedy) = match error {
        ConnectionError::ConnectionRefused(code) => {
            let remedy = match code {
                ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => {
                    "check `user` and `password`, and that this client may connect"
                }
                ConnectReturnCode::BadClientId | ConnectReturnCode::ClientIdentifierNotValid => "check `client_id`",
                ConnectReturnCode::UnsupportedProtocolVersion | ConnectReturnCode::RefusedProtocolVersion => {
                    "enable MQTT 5 at the broker"
                }
                _ => "see the broker's log",
            };
            (format!("the broker refuses the connection: {code:?}"), remedy)
        }
        ConnectionError::Timeout(_) => {
            ("the broker does not answer in time".to_owned(), "check that it runs, and `url`")
        }
        ConnectionError::Tls(TlsError::TLS(error)) => (tls_words::of(error), "check `ca`, `cert` and `key`"),
        ConnectionError::Tls(TlsError::Io(error)) => {
            (tls_words::of_io(error), "check that it speaks TLS there, and `ca`")
        }
        // The first byte of a TLS server's answer is no packet of MQTT.
        ConnectionError::MqttState(error) => {
            (format!("the connection has ended: {error}"), "check the broker; its port for TLS needs mqtts:// in `url`")
        }
        other => (format!("no connection: {other}"), "check that the broker runs, and `url`"),
    };
    let reason: String = reason.chars().take(MQTT_REASON_CHARS_MAX).collect();
    Unavailable::new(reason, remedy)
}
