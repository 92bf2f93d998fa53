//! A client whose connections go to checked addresses, end in time, and follow no redirect.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use afferent_host::url::is_this_machine;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};

use super::super::sink::Unavailable;
use super::address::{self, CheckedResolver, Network};
use crate::limits::{HTTP_CONNECT_MAX, HTTP_IDLE_MAX, HTTP_IDLE_TIME};
use crate::tls_client;

/// Seconds that a request may take, unless configured otherwise.
const TIMEOUT_S: f64 = 10.0;

/// What the configuration of a sink says of its connections.
pub(in crate::forward) struct ClientSettings<'a> {
    /// The CA of the destination's certificate; the system's without it.
    pub ca: Option<&'a Path>,
    /// A client certificate.
    pub cert: Option<&'a Path>,
    /// Its private key.
    pub key: Option<&'a Path>,
    /// Addresses that are allowed although they are of this machine, link-local or of a cloud.
    pub allow: &'a [Network],
    /// Seconds that a request may take.
    pub timeout_s: Option<f64>,
}

impl ClientSettings<'_> {
    /// The client; its files are read.
    pub fn client(&self) -> Result<Client, String> {
        let timeout_s = self.timeout_s.unwrap_or(TIMEOUT_S);
        if !(0.1..=600.0).contains(&timeout_s) {
            return Err(format!("timeout_s is {timeout_s}; it must be from 0.1 to 600"));
        }
        let tls = tls_client::config(self.ca, self.own_certificate()?)?;
        Client::builder()
            .tls_backend_preconfigured((*tls).clone())
            .dns_resolver(Arc::new(CheckedResolver { allowed: self.allow.into() }))
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(HTTP_CONNECT_MAX)
            .timeout(Duration::from_secs_f64(timeout_s))
            .pool_idle_timeout(HTTP_IDLE_TIME)
            .pool_max_idle_per_host(HTTP_IDLE_MAX)
            .user_agent(concat!("afferent-collector/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| format!("the HTTP client cannot be set up: {error}"))
    }

    fn own_certificate(&self) -> Result<Option<(&Path, &Path)>, String> {
        match (self.cert, self.key) {
            (Some(cert), Some(key)) => Ok(Some((cert, key))),
            (None, None) => Ok(None),
            _ => Err("cert and key go together; set both or neither".to_owned()),
        }
    }
}

/// Reads the setting `url`; an address in it is checked.
pub(in crate::forward) fn url(text: &str, allow: &[Network]) -> Result<Url, String> {
    let wrong = |why: String| format!("url {why}; write it as https://host/path");
    let url = Url::parse(text).map_err(|error| wrong(format!("cannot be read ({error})")))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(wrong(format!("begins with {}://", url.scheme())));
    }
    let host = url.host_str().ok_or_else(|| wrong("has no host".to_owned()))?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    // A name is checked when it is resolved; an address in the URL is not resolved.
    if let Ok(address) = host.parse() {
        address::check(address, allow).map_err(|forbidden| format!("url: {forbidden}"))?;
    }
    Ok(url)
}

/// What to do about a secret in a request that is open.
pub(in crate::forward) const USE_HTTPS: &str = "use an https:// URL in `url`";

/// Whether requests to a URL leave this machine unencrypted.
pub(in crate::forward) fn is_open(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "http" && !url.host_str().is_some_and(is_this_machine))
}

/// A request without an answer: nobody knows whether the events are there.
pub(in crate::forward) fn no_answer(error: reqwest::Error) -> Unavailable {
    let reason = format!("no answer: {}", causes(&error.without_url()));
    Unavailable::new(reason, "check that it runs, its address and certificate")
}

/// An error with its causes.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = next.source();
    }
    text
}
