//! `[forward.webhook]` in the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;

use afferent_host::secret::Secret;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;

use super::super::http;
use super::super::http::address::Network;
use super::super::http::client::ClientSettings;
use super::signature::Signer;
use super::template::BodyTemplate;
use crate::limits::{WEBHOOK_CONCURRENCY_MAX, WEBHOOK_EVENTS_MAX};

/// HTTP requests with the events.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// The address that the requests are posted to.
    pub url: String,
    /// How events are written.
    #[serde(default)]
    pub mode: Mode,
    /// A template (Jinja) of the body, one request an event; `mode` does not apply then.
    pub body: Option<String>,
    /// The content type of a body from a template.
    pub content_type: Option<String>,
    /// Only the event that opens a breakdown, and none that repeats it.
    #[serde(default)]
    pub episodes: bool,
    /// Signs requests after Standard Webhooks.
    pub secret: Option<Secret>,
    /// A token for the header `authorization`.
    pub bearer: Option<Secret>,
    /// More headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The CA of the destination's certificate; the system's without it.
    pub ca: Option<PathBuf>,
    /// A client certificate.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Addresses and networks that are allowed although they are of this machine, link-local or of a cloud.
    #[serde(default)]
    pub allow: Vec<Network>,
    /// Seconds that a request may take.
    pub timeout_s: Option<f64>,
    /// Requests at the same time, of different machines.
    pub concurrency: Option<usize>,
    /// Largest number of events of one request, in mode `batched`.
    pub events_max: Option<usize>,
}

/// How events are written (CloudEvents, HTTP protocol binding).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Many events in a JSON array.
    #[default]
    Batched,
    /// One event in JSON.
    Structured,
    /// One event: its attributes in headers, its data in the body.
    Binary,
}

/// The settings of a sink, secrets and files read.
pub(super) struct Settings {
    pub client: Client,
    pub url: Url,
    pub mode: Mode,
    pub template: Option<BodyTemplate>,
    pub content_type: HeaderValue,
    pub episodes: bool,
    pub signer: Option<Signer>,
    pub headers: HeaderMap,
    pub concurrency: usize,
    pub events_max: usize,
}

impl WebhookConfig {
    /// The secret that leaves this machine unencrypted, and what to do.
    pub(in crate::forward) fn open_secret(&self) -> Option<(&'static str, &'static str)> {
        let authorizes = self.headers.keys().any(|name| name.eq_ignore_ascii_case(AUTHORIZATION.as_str()));
        let key = match &self.bearer {
            Some(_) => "webhook.bearer",
            None if authorizes => "webhook.headers.authorization",
            None => return None,
        };
        http::client::is_open(&self.url).then_some((key, http::client::USE_HTTPS))
    }

    /// The settings of a sink, secrets and files read.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let url = http::client::url(&self.url, &self.allow)?;
        let concurrency = within("concurrency", self.concurrency.unwrap_or(1), WEBHOOK_CONCURRENCY_MAX)?;
        let events_max = within("events_max", self.events_max.unwrap_or(WEBHOOK_EVENTS_MAX), WEBHOOK_EVENTS_MAX)?;
        let content_type = self.content_type.as_deref().unwrap_or("application/json");
        let is_json = content_type.contains("json");
        let template = self.body.as_deref().map(|body| BodyTemplate::new(body, is_json)).transpose()?;
        if template.is_none() && self.content_type.is_some() {
            return Err("content_type would be ignored without `body`; remove it, or add `body`".to_owned());
        }
        let content_type = HeaderValue::from_str(content_type)
            .map_err(|_| format!("content_type {content_type:?} is not a header's value"))?;
        let signer = self.secret.as_ref().map(|secret| {
            let text = secret.read().map_err(|error| format!("secret: {error}"))?;
            Signer::new(text.reveal())
        });
        let client = ClientSettings {
            ca: self.ca.as_deref(),
            cert: self.cert.as_deref(),
            key: self.key.as_deref(),
            allow: &self.allow,
            timeout_s: self.timeout_s,
        };
        Ok(Settings {
            client: client.client()?,
            url,
            mode: self.mode,
            template,
            content_type,
            episodes: self.episodes,
            signer: signer.transpose()?,
            headers: self.all_headers()?,
            concurrency,
            events_max,
        })
    }

    fn all_headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let wrong = |what| format!("headers: {name:?} {what}");
            let named = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong("is not a header's name"))?;
            let value = HeaderValue::from_str(value).map_err(|_| wrong("has a value that no header can have"))?;
            headers.insert(named, value);
        }
        if let Some(bearer) = &self.bearer {
            let text = bearer.read().map_err(|error| format!("bearer: {error}"))?;
            let value = HeaderValue::from_str(&format!("Bearer {}", text.reveal()));
            let mut value = value.map_err(|_| "bearer: the token has characters that no header can have".to_owned())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

fn within(key: &str, given: usize, max: usize) -> Result<usize, String> {
    if (1..=max).contains(&given) { Ok(given) } else { Err(format!("{key} is {given}; it must be from 1 to {max}")) }
}
