//! `[forward.influx]` in the configuration.

use std::path::PathBuf;

use afferent_host::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;

use super::super::http::address::Network;
use super::super::http::client::{self, ClientSettings};
use super::line::LineStyle;
use crate::limits::{INFLUX_EVENTS_MAX, INFLUX_PREFIX_BYTES_MAX};

/// Points in InfluxDB, or what else takes line protocol.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InfluxConfig {
    /// The address of the server; `/api/v2/write` or `/write` comes behind it.
    pub url: String,
    /// The organisation of the bucket (InfluxDB 2).
    pub org: Option<String>,
    /// The bucket (API 2).
    pub bucket: Option<String>,
    /// The database (API 1).
    pub database: Option<String>,
    /// An API token.
    pub token: Option<Secret>,
    /// A user (API 1), with `password`.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// Before the name of each measurement.
    #[serde(default)]
    pub prefix: String,
    /// Whether texts are fields; `false` for destinations that have numbers only.
    #[serde(default = "yes")]
    pub texts: bool,
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
    /// Largest number of events of one request.
    pub events_max: Option<usize>,
}

/// The settings of a sink, secrets and files read.
pub(super) struct Settings {
    pub client: Client,
    /// Where points are posted to.
    pub url: Url,
    /// The destination for people.
    pub target: String,
    pub headers: HeaderMap,
    pub style: LineStyle,
    pub events_max: usize,
}

const fn yes() -> bool {
    true
}

impl InfluxConfig {
    /// The secret that leaves this machine unencrypted, and what to do.
    pub(in crate::forward) fn open_secret(&self) -> Option<(&'static str, &'static str)> {
        let key = match (&self.token, &self.password) {
            (Some(_), _) => "influx.token",
            (None, Some(_)) => "influx.password",
            (None, None) => return None,
        };
        client::is_open(&self.url).then_some((key, client::USE_HTTPS))
    }

    /// The settings of a sink, secrets and files read.
    pub(super) fn settings(&self) -> Result<Settings, String> {
        let (url, target) = self.addresses()?;
        let events_max = self.events_max.unwrap_or(INFLUX_EVENTS_MAX);
        if !(1..=INFLUX_EVENTS_MAX).contains(&events_max) {
            return Err(format!("events_max is {events_max}; it must be from 1 to {INFLUX_EVENTS_MAX}"));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if self.prefix.len() > INFLUX_PREFIX_BYTES_MAX || !self.prefix.bytes().all(is_plain) {
            let what = "ASCII letters, digits and underscores";
            return Err(format!("prefix {:?} must be at most {INFLUX_PREFIX_BYTES_MAX} {what}", self.prefix));
        }
        let client = ClientSettings {
            ca: self.ca.as_deref(),
            cert: self.cert.as_deref(),
            key: self.key.as_deref(),
            allow: &self.allow,
            timeout_s: self.timeout_s,
        };
        let style = LineStyle { prefix: self.prefix.clone(), texts: self.texts };
        Ok(Settings { client: client.client()?, url, target, headers: self.headers()?, style, events_max })
    }

    /// Where points are posted to, and the destination for people.
    fn addresses(&self) -> Result<(Url, String), String> {
        let mut url = client::url(&self.url, &self.allow)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("url has a login; use `token`, or `user` and `password`".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("url has a query; name what it stands for by `org`, `bucket` or `database`".to_owned());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        let base = url.as_str().trim_end_matches('/').to_owned();
        let target = match (&self.bucket, &self.database) {
            (Some(bucket), None) => {
                url.set_path(&format!("{path}/api/v2/write"));
                let org = self.org.as_deref().unwrap_or_default();
                url.query_pairs_mut().append_pair("org", org).append_pair("bucket", bucket);
                format!("{base} bucket {org}/{bucket}")
            }
            (None, Some(database)) => {
                if self.org.is_some() {
                    return Err("org goes with `bucket`; remove it".to_owned());
                }
                url.set_path(&format!("{path}/write"));
                url.query_pairs_mut().append_pair("db", database);
                format!("{base} database {database}")
            }
            (None, None) => {
                return Err("has neither bucket nor database; set `bucket`, or `database` for API 1".to_owned());
            }
            (Some(_), Some(_)) => return Err("has both bucket and database; keep one".to_owned()),
        };
        url.query_pairs_mut().append_pair("precision", "ns");
        Ok((url, target))
    }

    fn headers(&self) -> Result<HeaderMap, String> {
        let read = |key: &str, secret: &Secret| secret.read().map_err(|error| format!("{key}: {error}"));
        let (key, text) = match (&self.token, &self.user, &self.password) {
            (None, None, None) => return Ok(HeaderMap::new()),
            (Some(token), None, None) => ("token", format!("Token {}", read("token", token)?.reveal())),
            (None, Some(user), Some(password)) => {
                let login = format!("{user}:{}", read("password", password)?.reveal());
                ("password", format!("Basic {}", STANDARD.encode(login)))
            }
            (Some(_), ..) => return Err("token and user exclude each other; keep one".to_owned()),
            (None, ..) => return Err("user and password go together; set both or neither".to_owned()),
        };
        let value = HeaderValue::from_str(&text);
        let mut value = value.map_err(|_| format!("{key}: it has characters that no header can have"))?;
        value.set_sensitive(true);
        Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(more: &str) -> Result<Settings, String> {
        let config: InfluxConfig = toml::from_str(more).map_err(|error| error.to_string())?;
        config.settings()
    }

    #[test]
    fn points_go_to_a_bucket_or_a_database_behind_the_url() {
        let v2 = settings("url = \"https://influx.example/db/\"\norg = \"a b\"\nbucket = \"c&d\"").unwrap();
        let written = "https://influx.example/db/api/v2/write?org=a+b&bucket=c%26d&precision=ns";
        assert_eq!((v2.url.as_str(), &*v2.target), (written, "https://influx.example/db bucket a b/c&d"));
        let v1 = settings("url = \"http://10.0.0.1:8086\"\ndatabase = \"plant\"").unwrap();
        let written = "http://10.0.0.1:8086/write?db=plant&precision=ns";
        assert_eq!((v1.url.as_str(), &*v1.target), (written, "http://10.0.0.1:8086 database plant"));
    }

    #[test]
    fn mistakes_are_named_with_their_key() {
        let url = "url = \"https://a.example\"\n";
        for (more, said) in [
            ("", "has neither bucket nor database"),
            ("bucket = \"a\"\ndatabase = \"b\"", "has both"),
            ("org = \"a\"\ndatabase = \"b\"", "org goes with `bucket`"),
            ("bucket = \"a\"\nuser = \"b\"", "user and password go together"),
            ("bucket = \"a\"\nprefix = \"a b\"", "prefix \"a b\" must be"),
            ("bucket = \"a\"\nevents_max = 0", "events_max is 0"),
            ("bucket = \"a\"\ntimeout_s = 0.0", "timeout_s is 0"),
            ("bucket = \"a\"\ntoken = { file = \"/nowhere/at/all\" }", "token: cannot read the secret"),
            ("bucket = \"a\"\ntoken = \"a\"", "a secret does not stand in the configuration"),
            ("bucket = \"a\"\ncert = \"x\"", "cert and key go together"),
        ] {
            let error = settings(&format!("{url}{more}")).err().unwrap();
            assert!(error.contains(said), "{more}: {error}");
        }
        for (url, said) in [
            ("https://u:p@a.example", "url has a login"),
            ("https://a.example/?db=x", "url has a query"),
            ("ftp://a.example", "begins with ftp://"),
            ("http://127.0.0.1:8086", "allow = [\"127.0.0.1\"]"),
            ("http://169.254.169.254", "hand out credentials"),
        ] {
            let error = settings(&format!("url = \"{url}\"\nbucket = \"a\"")).err().unwrap();
            assert!(error.contains(said) && !error.contains("u:p"), "{url}: {error}");
        }
    }
}
