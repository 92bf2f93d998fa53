//! Requests with events.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::time::Duration;

use afferent_host::clock;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{self, StreamExt};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value};

use super::super::checkpoint::Checkpoint;
use super::super::event::ForwardEvent;
use super::super::http::answer::{Outcome, at};
use super::super::http::client::no_answer;
use super::super::sink::{DeliverError, PartLimits, Rejection, Sink, SinkContext, Unavailable};
use super::answer::outcome;
use super::config::{Mode, Settings};
use super::episodes::Episodes;
use crate::limits::{FORWARD_PART_BYTES, WEBHOOK_SINGLE_EVENTS_MAX};
use crate::subscribe::Filter;

/// Characters that are encoded in a header (CloudEvents, HTTP protocol binding, section 3.1.3.2).
const IN_HEADER: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Posts events to one address.
pub(super) struct WebhookSink {
    settings: Settings,
    /// The address for people.
    target: String,
    episodes: Episodes,
    /// The part: the bodies, one behind the other.
    bytes: Vec<u8>,
    /// Each event of the part; `None` if nothing is sent for it.
    events: Vec<Option<Pending>>,
    /// The open episodes behind the part.
    episodes_next: Episodes,
}

/// An event of the part.
struct Pending {
    body: Range<usize>,
    key: String,
    /// Requests with the same number are sent one after the other.
    machine: u64,
    headers: HeaderMap,
}

impl WebhookSink {
    pub fn new(settings: Settings, target: String) -> Self {
        let (episodes, episodes_next) = (Episodes::default(), Episodes::default());
        Self { settings, target, episodes, bytes: Vec::new(), events: Vec::new(), episodes_next }
    }

    fn is_batched(&self) -> bool {
        self.settings.template.is_none() && self.settings.mode == Mode::Batched
    }

    /// Appends the body of a request with one event; returns its headers.
    fn put_single(&mut self, event: &ForwardEvent<'_>) -> Result<HeaderMap, Rejection> {
        let mut headers = HeaderMap::new();
        if let Some(template) = &self.settings.template {
            let mut json = Vec::new();
            event.put_json(&mut json);
            let value = serde_json::from_slice(&json).map_err(|error| Rejection(error.to_string()))?;
            self.bytes.extend_from_slice(template.fill(&value).map_err(Rejection)?.as_bytes());
            headers.insert(CONTENT_TYPE, self.settings.content_type.clone());
        } else if self.settings.mode == Mode::Binary {
            put_binary(event, &mut self.bytes, &mut headers)?;
        } else {
            event.put_json(&mut self.bytes);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/cloudevents+json; charset=utf-8"));
        }
        Ok(headers)
    }

    /// Sends one request.
    async fn send(&self, key: &str, headers: HeaderMap, body: Vec<u8>) -> Outcome {
        let timestamp = clock::wall().micros() / 1_000_000;
        let mut request = self.settings.client.post(self.settings.url.clone());
        request = request.headers(headers).headers(self.settings.headers.clone());
        request =
            request.header("idempotency-key", key).header("webhook-id", key).header("webhook-timestamp", timestamp);
        if let Some(signer) = &self.settings.signer {
            request = request.header("webhook-signature", signer.sign(key, timestamp, &body));
        }
        match request.body(body).send().await {
            Ok(answer) => outcome(answer).await,
            Err(error) => Outcome::Later(no_answer(error)),
        }
    }

    async fn send_batch(&self, checkpoint: &Checkpoint) -> Result<(), DeliverError> {
        let mut body = Vec::with_capacity(self.bytes.len() + self.events.len() + 2);
        body.push(b'[');
        let mut bodies = self.events.iter().flatten();
        let first = bodies.next().map(|first| (first.key.clone(), first.body.clone()));
        let Some((first_key, first_body)) = first else { return Ok(()) };
        body.extend_from_slice(&self.bytes[first_body]);
        for next in bodies {
            body.extend_from_slice(b",\n");
            body.extend_from_slice(&self.bytes[next.body.clone()]);
        }
        body.push(b']');
        let content_type = HeaderValue::from_static("application/cloudevents-batch+json; charset=utf-8");
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type)]);
        let key = format!("{first_key}..{}", checkpoint.next());
        match self.send(&key, headers, body).await {
            Outcome::Taken => Ok(()),
            Outcome::Later(error) => Err(at(&self.target, error).into()),
            Outcome::Never(reason) => Err(DeliverError::Refused { index: None, taken: 0, reason }),
        }
    }

    /// Sends one request an event: those of one machine in order, those of others beside them.
    async fn send_singles(&self) -> Result<(), DeliverError> {
        let lanes = self.settings.concurrency as u64;
        let lane = |lane: u64| {
            let of_lane = move |(_, event): &(usize, &Option<Pending>)| {
                event.as_ref().is_some_and(|event| event.machine % lanes == lane)
            };
            async move {
                let mut done = Vec::new();
                for (index, event) in self.events.iter().enumerate().filter(of_lane) {
                    let Pending { body, key, headers, .. } = event.as_ref().expect("is one of the lane");
                    match self.send(key, headers.clone(), self.bytes[body.clone()].to_vec()).await {
                        Outcome::Taken => done.push(index),
                        failed => return (done, Some((index, failed))),
                    }
                }
                (done, None)
            }
        };
        let ended: Vec<_> =
            stream::iter(0..lanes).map(lane).buffer_unordered(self.settings.concurrency).collect().await;
        let failed = ended.iter().filter_map(|(_, failed)| failed.as_ref()).min_by_key(|(index, _)| *index);
        let Some((first, outcome)) = failed else { return Ok(()) };
        // All before the first failure: each lane stopped at its own, which is not before it.
        let taken = *first;
        match outcome {
            Outcome::Taken => unreachable!("it failed"),
            Outcome::Later(error) => Err(Unavailable { taken, ..at(&self.target, error.clone()) }.into()),
            Outcome::Never(reason) => Err(DeliverError::Refused { index: Some(*first), taken, reason: reason.clone() }),
        }
    }
}

/// Appends the data of an event in binary mode, and puts its attributes into headers.
fn put_binary(event: &ForwardEvent<'_>, out: &mut Vec<u8>, headers: &mut HeaderMap) -> Result<(), Rejection> {
    let mut json = Vec::new();
    event.put_json(&mut json);
    let attributes: Map<String, Value> = serde_json::from_slice(&json).map_err(|error| Rejection(error.to_string()))?;
    for (name, value) in &attributes {
        if ["data", "data_base64", "datacontenttype"].contains(&name.as_str()) {
            continue;
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let name = HeaderName::from_bytes(format!("ce-{name}").as_bytes());
        let name = name.map_err(|_| Rejection("an attribute has a name that no header can have".to_owned()))?;
        let value = HeaderValue::from_str(&utf8_percent_encode(&text, IN_HEADER).to_string());
        headers.insert(name, value.expect("what is not plain is encoded"));
    }
    let content_type = match attributes.get("data_base64").and_then(Value::as_str) {
        Some(base64) => {
            let data = STANDARD.decode(base64).map_err(|error| Rejection(format!("data_base64: {error}")))?;
            out.extend_from_slice(&data);
            attributes["datacontenttype"].as_str().unwrap_or("application/octet-stream").to_owned()
        }
        None => event.put_data(out).into_owned(),
    };
    let content_type = HeaderValue::from_str(&content_type);
    headers
        .insert(CONTENT_TYPE, content_type.map_err(|_| Rejection("datacontenttype is no header's value".to_owned()))?);
    Ok(())
}

impl Sink for WebhookSink {
    fn limits(&self) -> PartLimits {
        let events_max = if self.is_batched() { self.settings.events_max } else { WEBHOOK_SINGLE_EVENTS_MAX };
        PartLimits { events_max, bytes_max: FORWARD_PART_BYTES, wait: Duration::ZERO }
    }

    fn probe(&mut self, context: &SinkContext) -> Result<String, Unavailable> {
        // Safe by its definition (RFC 9110, 9.3.7); any answer shows that somebody speaks HTTP there.
        let Settings { client, url, headers, .. } = &self.settings;
        let request = client.request(Method::OPTIONS, url.clone()).headers(headers.clone());
        match context.wait(Duration::MAX, "asking", request.send())? {
            Ok(answer) => Ok(format!("answers OPTIONS with {}", answer.status())),
            Err(error) => Err(at(&self.target, no_answer(error))),
        }
    }

    fn recalls(&self) -> Option<Filter> {
        let types = Some("breakdown,recovery,state");
        self.settings.episodes.then(|| Filter::new(None, types, None).expect("the types exist"))
    }

    fn recall(&mut self, event: &ForwardEvent<'_>) {
        self.episodes.opens(event);
    }

    fn open(&mut self, _: &SinkContext) -> Result<Option<Checkpoint>, Unavailable> {
        (self.episodes, self.episodes_next) = (Episodes::default(), Episodes::default());
        Ok(None)
    }

    fn add(&mut self, event: &ForwardEvent<'_>) -> Result<(), Rejection> {
        if self.settings.episodes && !self.episodes_next.opens(event) {
            self.events.push(None);
            return Ok(());
        }
        let from = self.bytes.len();
        let headers = if self.is_batched() {
            event.put_json(&mut self.bytes);
            HeaderMap::new()
        } else {
            let put = self.put_single(event);
            put.inspect_err(|_| self.bytes.truncate(from))?
        };
        let mut hasher = DefaultHasher::new();
        event.machine().hash(&mut hasher);
        let key = format!("{}:{}", event.source, event.id);
        let key = utf8_percent_encode(&key, IN_HEADER).to_string();
        let body = from..self.bytes.len();
        self.events.push(Some(Pending { body, key, machine: hasher.finish(), headers }));
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.bytes.len()
    }

    fn deliver(&mut self, context: &SinkContext, checkpoint: &Checkpoint) -> Result<(), DeliverError> {
        let this = &*self;
        let sending =
            async { if this.is_batched() { this.send_batch(checkpoint).await } else { this.send_singles().await } };
        context.wait(Duration::MAX, "posting", sending)??;
        self.episodes.clone_from(&self.episodes_next);
        self.bytes.clear();
        self.events.clear();
        Ok(())
    }

    fn drop_part(&mut self) {
        self.bytes.clear();
        self.events.clear();
        self.episodes_next.clone_from(&self.episodes);
    }

    fn close(&mut self) {}
}
