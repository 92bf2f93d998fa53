//! Requests with lines.

use std::time::Duration;

use super::super::checkpoint::Checkpoint;
use super::super::event::ForwardEvent;
use super::super::http::answer::{Outcome, at};
use super::super::http::client::no_answer;
use super::super::sink::{DeliverError, PartLimits, Rejection, Sink, SinkContext, Unavailable};
use super::answer::{Dropped, outcome};
use super::config::Settings;
use super::line;
use crate::limits::{FORWARD_PART_BYTES, INFLUX_PART_WAIT};

/// Posts lines to one bucket or database.
pub(super) struct InfluxSink {
    settings: Settings,
    /// The lines of the part.
    lines: Vec<u8>,
    /// Whether it was logged since the destination was opened that it does not keep points as old as these.
    is_drop_known: bool,
}

impl InfluxSink {
    pub fn new(settings: Settings) -> Self {
        Self { settings, lines: Vec::new(), is_drop_known: false }
    }

    /// Sends one request.
    async fn send(&self, lines: Vec<u8>) -> (Outcome, Option<Dropped>) {
        let Settings { client, url, headers, .. } = &self.settings;
        match client.post(url.clone()).headers(headers.clone()).body(lines).send().await {
            Ok(answer) => outcome(answer).await,
            Err(error) => (Outcome::Later(no_answer(error)), None),
        }
    }

    fn warn(&mut self, dropped: &Dropped) {
        if !std::mem::replace(&mut self.is_drop_known, true) {
            let (target, Dropped(answer)) = (&self.settings.target, dropped);
            tracing::warn!(
                target,
                answer,
                "the destination does not keep events as old as these; the others are there"
            );
        }
    }
}

impl Sink for InfluxSink {
    fn limits(&self) -> PartLimits {
        PartLimits { events_max: self.settings.events_max, bytes_max: FORWARD_PART_BYTES, wait: INFLUX_PART_WAIT }
    }

    fn open(&mut self, _: &SinkContext) -> Result<Option<Checkpoint>, Unavailable> {
        self.is_drop_known = false;
        Ok(None)
    }

    fn probe(&mut self, context: &SinkContext) -> Result<String, Unavailable> {
        // A request without a point changes nothing, and is checked for login and bucket before its points are.
        let target = &self.settings.target;
        match context.wait(Duration::MAX, "asking", self.send(Vec::new()))?.0 {
            Outcome::Taken => Ok("answers, and would take points".to_owned()),
            Outcome::Never(reason) => Ok(format!("answers; of a request without a point {reason}")),
            Outcome::Later(error) => Err(at(target, error)),
        }
    }

    fn add(&mut self, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
        line::put(&mut self.lines, &self.settings.style, event)
    }

    fn bytes(&self) -> usize {
        self.lines.len()
    }

    fn deliver(&mut self, context: &SinkContext, _: &Checkpoint) -> Result<(), DeliverError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let next = Vec::with_capacity(self.lines.len());
        let lines = std::mem::replace(&mut self.lines, next);
        let (outcome, dropped) = context.wait(Duration::MAX, "posting", self.send(lines))?;
        if let Some(dropped) = dropped {
            self.warn(&dropped);
        }
        match outcome {
            Outcome::Taken => Ok(()),
            Outcome::Later(error) => Err(at(&self.settings.target, error).into()),
            // The runner finds the event: points that were taken are overwritten by themselves.
            Outcome::Never(reason) => Err(DeliverError::Refused { index: None, taken: 0, reason }),
        }
    }

    fn drop_part(&mut self) {
        self.lines.clear();
    }

    fn close(&mut self) {}
}
