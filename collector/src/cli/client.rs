//! The command line's side of the collector's HTTP API.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use afferent_collector::api::agents::AgentsReport;
use afferent_collector::api::forwards::ForwardReport;
use afferent_collector::api::subscriptions::SubscriptionReport;
use afferent_collector::certificate::Verdict;

/// How long a connection, and the head of an answer, may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the collector has not answered as hoped.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody answers.
    #[error(
        "no collector answers at {base} ({error}); is it running? Start one with `afferent-collector up`, or give its \
         address with --http"
    )]
    Unreachable {
        /// Where.
        base: String,
        /// What the connection says.
        error: String,
    },
    /// It refuses.
    #[error("the collector refused the request: {detail}; {remedy}")]
    Refused {
        /// The status.
        status: u16,
        /// What is wrong.
        detail: String,
        /// What to do.
        remedy: String,
        /// Which event of the request it is about, from 1 on, where it is about one.
        event: Option<u64>,
    },
    /// Somebody answers who does not speak like a collector.
    #[error(
        "{base} did not answer as a collector does: {error}; check the address in --http, and that both programs have \
         the same version"
    )]
    Foreign {
        /// Where.
        base: String,
        /// What is wrong with it.
        error: String,
    },
}

/// Which events to follow.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    pub from: Option<String>,
    pub subject: Option<String>,
    pub kind: Option<String>,
    pub source: Option<String>,
    pub severity: Option<String>,
    pub partition: Option<u32>,
}

impl Selection {
    /// As a query.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let Self { from, subject, kind, source, severity, partition } = self.clone();
        let partition = partition.map(|number| number.to_string());
        let which = [("subject", subject), ("type", kind), ("source", source), ("severity", severity)];
        [("from", from), ("partition", partition)]
            .into_iter()
            .chain(which)
            .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// A page of events, one on a line, and where to go on.
#[derive(Clone, Debug)]
pub struct EventsPage {
    pub lines: String,
    pub next: u64,
    pub cursor: Option<String>,
}

/// What a member of a subscription has got, one event on a line, and what to commit.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub lines: String,
    pub cursor: Option<String>,
}

/// Bytes of an answer that is taken whole: the states of a large plant are the most.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

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
    pub fn stream(&self, wanted: &Selection, last: Option<&str>) -> Result<impl BufRead + Send + 'static, ClientError> {
        let mut request = self.agent.get(format!("{}/v1/stream", self.base));
        for (name, value) in wanted.pairs() {
            request = request.query(name, value);
        }
        if let Some(last) = last {
            request = request.header("Last-Event-ID", last);
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

    /// The JSON that `POST path` answers a document in TOML with.
    pub fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &str,
    ) -> Result<T, ClientError> {
        let request = self.agent.post(format!("{}{path}", self.base)).query_pairs(query.iter().copied());
        let request = request.content_type("application/toml").config().timeout_recv_response(None).build();
        let mut answer = self.checked(request.send(body))?;
        answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_json().map_err(|error| self.foreign(error))
    }

    /// The offsets that a partition of the log has; the first one, where none is named.
    pub fn kept(&self, partition: Option<u32>) -> Result<std::ops::Range<u64>, ClientError> {
        let request = self.agent.get(format!("{}/v1/events", self.base)).query("from", "end").query("limit", "1");
        let request = match partition {
            Some(number) => request.query("partition", number.to_string()),
            None => request,
        };
        let answer = self.checked(request.call())?;
        let first = number_in(&answer, "afferent-first-offset");
        let range = first.zip(number_in(&answer, "afferent-end-offset")).map(|(first, end)| first..end);
        range.ok_or_else(|| self.foreign("the answer has no offsets"))
    }

    /// A page of events.
    pub fn events(&self, query: &[(&'static str, String)]) -> Result<EventsPage, ClientError> {
        let mut request = self.agent.get(format!("{}/v1/events", self.base));
        for (name, value) in query {
            request = request.query(name, value);
        }
        let mut answer = self.checked(request.call())?;
        let next = number_in(&answer, "afferent-next-offset")
            .ok_or_else(|| self.foreign("the answer has no offset of the next event"))?;
        let cursor = text_in(&answer, "afferent-next-cursor");
        Ok(EventsPage { lines: self.text(&mut answer)?, next, cursor })
    }

    /// Posts events, one on a line; gives where they stand.
    pub fn emit(&self, lines: &str) -> Result<serde_json::Value, ClientError> {
        let request = self.agent.post(format!("{}/v1/events", self.base)).content_type("application/x-ndjson");
        let mut answer = self.checked(request.send(lines))?;
        answer.body_mut().read_json().map_err(|error| self.foreign(error))
    }

    /// A certificate as JSON or as text, and its verdict.
    pub fn certificate(&self, query: &[(&str, &str)], accept: &str) -> Result<(String, Verdict), ClientError> {
        let request = self.agent.get(format!("{}/v1/certificate", self.base)).query_pairs(query.iter().copied());
        // The whole log is read for it.
        let request = request.header("accept", accept).config().timeout_recv_response(None).build();
        let mut answer = self.checked(request.call())?;
        let told = text_in(&answer, "afferent-verdict").unwrap_or_default();
        let all = [Verdict::Complete, Verdict::Incomplete, Verdict::Refuted];
        let verdict = all.into_iter().find(|verdict| verdict.name() == told);
        let verdict = verdict.ok_or_else(|| self.foreign("the answer has no verdict of the certificate"))?;
        Ok((self.text(&mut answer)?, verdict))
    }

    /// Says something about a source, at `/v1/agents/NAME/{what}`. The collector knows which names there can be.
    pub fn operate(&self, name: &str, what: &str, body: &impl serde::Serialize) -> Result<(), ClientError> {
        let request = self.agent.post(format!("{}/v1/agents/{}/{what}", self.base, in_path(name)));
        self.checked(request.send_json(body)).map(drop)
    }

    /// All subscriptions.
    pub fn subscriptions(&self) -> Result<Vec<SubscriptionReport>, ClientError> {
        let mut answer = self.checked(self.agent.get(format!("{}/v1/subscriptions", self.base)).call())?;
        answer.body_mut().read_json().map_err(|error| self.foreign(error))
    }

    /// Makes a subscription, unless it is there.
    pub fn subscribe(&self, name: &str, wanted: &Selection) -> Result<(), ClientError> {
        let filter: serde_json::Map<_, _> = (wanted.pairs().filter(|(name, _)| !["from", "partition"].contains(name)))
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let from = wanted.from.as_deref().unwrap_or("first");
        let body = serde_json::json!({ "from": from, "filter": filter, "partition": wanted.partition });
        self.checked(self.agent.put(self.of_subscription(name, "")).send_json(body)).map(drop)
    }

    /// What a member of a subscription is to do next.
    pub fn fetch(&self, name: &str, member: &str, limit: u64, wait_s: u64) -> Result<Fetched, ClientError> {
        let request = self.agent.post(self.of_subscription(name, "/fetch")).query("member", member);
        let request = request.query("limit", limit.to_string()).query("wait", wait_s.to_string());
        let mut answer = self.checked(request.send_empty())?;
        let cursor = text_in(&answer, "afferent-cursor");
        Ok(Fetched { lines: self.text(&mut answer)?, cursor })
    }

    /// Moves a member's place.
    pub fn commit(&self, name: &str, cursor: &str) -> Result<(), ClientError> {
        let body = serde_json::json!({ "cursor": cursor });
        self.checked(self.agent.post(self.of_subscription(name, "/commit")).send_json(body)).map(drop)
    }

    /// All forwards.
    pub fn forwards(&self) -> Result<Vec<ForwardReport>, ClientError> {
        self.get("/v1/forwards", &[])
    }

    /// One forward.
    pub fn forward(&self, name: &str) -> Result<ForwardReport, ClientError> {
        self.get(&format!("/v1/forwards/{}", in_path(name)), &[])
    }

    /// Gives a forward an order, `/v1/forwards/NAME/{order}`.
    pub fn order(
        &self,
        name: &str,
        order: &str,
        body: Option<serde_json::Value>,
    ) -> Result<ForwardReport, ClientError> {
        let request = self.agent.post(format!("{}/v1/forwards/{}/{order}", self.base, in_path(name)));
        let sent = match body {
            Some(body) => request.send_json(body),
            None => request.send_empty(),
        };
        self.checked(sent)?.body_mut().read_json().map_err(|error| self.foreign(error))
    }

    fn of_subscription(&self, name: &str, then: &str) -> String {
        format!("{}/v1/subscriptions/{}{then}", self.base, in_path(name))
    }

    fn text(&self, answer: &mut Answer) -> Result<String, ClientError> {
        let body = answer.body_mut().with_config().limit(ANSWER_BYTES_MAX);
        body.read_to_string().map_err(|error| self.foreign(error))
    }

    fn checked(&self, answer: Result<Answer, ureq::Error>) -> Result<Answer, ClientError> {
        let mut answer =
            answer.map_err(|error| ClientError::Unreachable { base: self.base.clone(), error: error.to_string() })?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status().as_u16();
        let problem: serde_json::Value = answer.body_mut().read_json().map_err(|error| self.foreign(error))?;
        let member = |name: &str| problem[name].as_str().unwrap_or("(no text)").to_owned();
        let event = problem["event"].as_u64();
        Err(ClientError::Refused { status, detail: member("detail"), remedy: member("remedy"), event })
    }

    fn foreign(&self, error: impl std::fmt::Display) -> ClientError {
        ClientError::Foreign { base: self.base.clone(), error: error.to_string() }
    }
}

/// A name as a part of a path. A name that nothing can have stays one: the collector refuses it, with what a name is.
fn in_path(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_graphic() && !"/?#%".contains(c) { c } else { '!' }).collect()
}

fn text_in(answer: &Answer, header: &str) -> Option<String> {
    answer.headers().get(header)?.to_str().ok().map(str::to_owned)
}

fn number_in(answer: &Answer, header: &str) -> Option<u64> {
    text_in(answer, header)?.parse().ok()
}

type Answer = ureq::http::Response<ureq::Body>;
