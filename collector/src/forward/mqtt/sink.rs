//! Parts of messages.

use std::time::Duration;

use super::super::checkpoint::Checkpoint;
use super::super::event::ForwardEvent;
use super::super::http::answer::at;
use super::super::sink::{DeliverError, PartLimits, Rejection, Sink, SinkContext, Unavailable};
use super::config::Settings;
use super::connection::{Connection, Message};
use crate::limits::{FORWARD_PART_BYTES, MQTT_HEAD_BYTES};

/// Publishes events at one broker.
pub(super) struct MqttSink {
    settings: Settings,
    connection: Option<Connection>,
    /// The part.
    messages: Vec<Message>,
    bytes: usize,
}

impl MqttSink {
    pub fn new(settings: Settings) -> Self {
        Self { settings, connection: None, messages: Vec::new(), bytes: 0 }
    }

    fn connect(&mut self, context: &SinkContext) -> Result<(), Unavailable> {
        let Settings { options, retain, target, .. } = &self.settings;
        let opened = context.wait(Duration::MAX, "connecting", Connection::open(options.clone(), *retain))?;
        self.connection = Some(opened.map_err(|error| at(target, error))?);
        Ok(())
    }
}

impl Sink for MqttSink {
    fn limits(&self) -> PartLimits {
        PartLimits { events_max: self.settings.events_max, bytes_max: FORWARD_PART_BYTES, wait: Duration::ZERO }
    }

    fn open(&mut self, context: &SinkContext) -> Result<Option<Checkpoint>, Unavailable> {
        self.connect(context)?;
        Ok(None)
    }

    fn probe(&mut self, context: &SinkContext) -> Result<String, Unavailable> {
        // Under its own client id it would push out a collector that delivers now.
        let mut options = self.settings.options.clone();
        options.set_client_id(format!("afferent-check-{:08x}", getrandom::u32().unwrap_or_default()));
        let opened = context.wait(Duration::MAX, "connecting", Connection::open(options, self.settings.retain))?;
        match opened {
            Ok(_) => Ok("the broker admits this collector".to_owned()),
            Err(error) => Err(at(&self.settings.target, error)),
        }
    }

    fn add(&mut self, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
        let topic = self.settings.topic.fill(event)?;
        let mut payload = Vec::new();
        event.put_json(&mut payload);
        self.bytes += topic.len() + payload.len() + MQTT_HEAD_BYTES;
        self.messages.push(Message { topic, payload: payload.into() });
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes
    }

    fn deliver(&mut self, context: &SinkContext, _: &Checkpoint) -> Result<(), DeliverError> {
        if self.messages.is_empty() {
            return Ok(());
        }
        if self.connection.as_mut().is_none_or(Connection::has_ended) {
            self.connect(context)?;
        }
        let connection = self.connection.as_mut().expect("it was made above");
        let Settings { retain, timeout, target, .. } = &self.settings;
        let delivery = connection.deliver(&self.messages, *retain, *timeout);
        match context.wait(Duration::MAX, "publishing", delivery)? {
            Ok(()) => {
                self.drop_part();
                Ok(())
            }
            Err(DeliverError::Unavailable(error)) => Err(at(target, error).into()),
            Err(refused) => Err(refused),
        }
    }

    fn drop_part(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }

    fn close(&mut self) {
        self.connection = None;
    }
}
