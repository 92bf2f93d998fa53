//! The command line's side of the collector's HTTP API.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use afferent_collector::api::agents::AgentsReport;

/// How long a connection, and the head of an answer, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of an answer: the states of a large plant.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// Why the collector has not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error(
        "no collector answers at {base} ({error}); is it running? Start one with `afferent-collector up`, or name its address with --http"
    )]
    Unreachable {
        /// Where.
        base: String,
        /// What the connection says.
        error: String,
    },
    /// It refuses.
    #[error("the collector refuses: {detail}; {remedy}")]
    Refused {
        /// The status.
        status: u16,
        /// What is wrong.
        detail: String,
        /// What to do.
        remedy: String,
    },
    /// Somebody answers who does not speak like a collector.
    #[error("what answers at {base} is not this collector's API: {error}")]
    Foreign {
        /// Where.
        base: String,
        /// What is wrong with it.
        error: String,
    },
}

/// Which events to follow.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub from: Option<String>,
    pub subject: Option<String>,
    pub kind: Option<String>,
    pub source: Option<String>,
}

/// A collector's API.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    agent: ureq::Agent,
}

impl Client {
    /// The API at an address, with or without `http://`.
    pub fn new(address: &str) -> Self {
        let address = address.trim_end_matches('/');
        let base = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
        let config = ureq::config::Config::builder()
            .http_status_as_error(false)
            .proxy(None)
            .timeout_connect(Some(PATIENCE))
            .timeout_recv_response(Some(PATIENCE))
            .build();
        Self { base, agent: config.into() }
    }

    /// Where it is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// What is known of every source.
    pub fn agents(&self) -> Result<AgentsReport, ClientError> {
        let request = self.agent.get(format!("{}/v1/agents", self.base));
        let request = request.config().timeout_global(Some(2 * PATIENCE)).build();
        let mut answer = self.checked(request.call())?;
        answer.body_mut().read_json().map_err(|error| self.foreign(error))
    }

    /// The lines of the live stream; after `last`, if there is one.
    pub fn stream(&self, wanted: &Wanted, last: Option<u64>) -> Result<impl BufRead + Send + 'static, ClientError> {
        let mut request = self.agent.get(format!("{}/v1/stream", self.base));
        let pairs =
            [("from", &wanted.from), ("subject", &wanted.subject), ("type", &wanted.kind), ("source", &wanted.source)];
        for (name, value) in pairs {
            if let Some(value) = value {
                request = request.query(name, value);
            }
        }
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last.to_string());
        }
        let answer = self.checked(request.call())?;
        Ok(BufReader::new(answer.into_body().into_reader()))
    }

    /// The JSON that `GET path` answers with.
    pub fn get<T: serde::de::DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, ClientError> {
        let request = self.agent.get(format!("{}{path}", self.base)).query_pairs(query.iter().copied());
        // What has to be replayed takes as long as it takes.
        let request = request.config().timeout_recv_response(None).build();
        let mut answer = self.checked(request.call())?;
        answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().map_err(|error| self.foreign(error))
    }

    /// The JSON that `POST path` answers with.
    pub fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &str,
    ) -> Result<T, ClientError> {
        let request = self.agent.post(format!("{}{path}", self.base)).query_pairs(query.iter().copied());
        let request = request.config().timeout_recv_response(None).build();
        let mut answer = self.checked(request.send(body))?;
        answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().map_err(|error| self.foreign(error))
    }

    fn checked(&self, answer: Result<Answer, ureq::Error>) -> Result<Answer, ClientError> {
        let mut answer =
            answer.map_err(|error| ClientError::Unreachable { base: self.base.clone(), error: error.to_string() })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let problem: serde_json::Value = answer.body_mut().read_json().map_err(|error| self.foreign(error))?;
        let member = |name: &str| problem[name].as_str().unwrap_or("(it does not say)").to_owned();
        Err(ClientError::Refused { status, detail: member("detail"), remedy: member("remedy") })
    }

    fn foreign(&self, error: ureq::Error) -> ClientError {
        ClientError::Foreign { base: self.base.clone(), error: error.to_string() }
    }
}

type Answer = ureq::http::Response<ureq::Body>;
