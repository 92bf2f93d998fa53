//! Errors of Kafka as people read them: what is wrong, where, and what to do.

use std::fmt::Display;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::super::sink::Unavailable;
use super::client::{Reports, Settings};
use crate::limits::{KAFKA_FENCED_WAIT, KAFKA_REASON_CHARS_MAX};

/// Makes errors of one sink.
#[derive(Clone)]
pub(super) struct Faults {
    target: String,
    topic: String,
    checkpoint_topic: String,
    reports: Reports,
}

impl Faults {
    pub fn new(settings: &Settings, reports: Reports) -> Self {
        let Settings { target, topic, checkpoint_topic, .. } = settings;
        let (target, topic) = (target.clone(), topic.clone());
        Self { target, topic, checkpoint_topic: checkpoint_topic.clone(), reports }
    }

    /// Something of the destination is not as it has to be.
    pub fn wrong(&self, what: impl Display, remedy: impl Into<String>) -> Unavailable {
        Unavailable::new(format!("{}: {what}", self.target), remedy)
    }

    /// An error of librdkafka. `doing` completes "while …".
    pub fn of(&self, doing: &str, error: &KafkaError) -> Unavailable {
        let code = error.rdkafka_error_code().unwrap_or(match error {
            KafkaError::AdminOp(code) => *code,
            _ => Code::Unknown,
        });
        let said = match error {
            KafkaError::Transaction(error) => error.string(),
            error => error.to_string(),
        };
        self.of_code(doing, code, Some(&said))
    }

    /// An error by its code alone.
    pub fn of_code(&self, doing: &str, code: Code, said: Option<&str>) -> Unavailable {
        if is_fenced(code) {
            let what =
                format!("another collector delivers this forward: it has taken over its transactional.id ({code})");
            let remedy = "run one collector with this log; if this is the right one, stop the other: delivery goes on by \
                          itself";
            return Unavailable { after: Some(KAFKA_FENCED_WAIT), ..self.wrong(what, remedy) };
        }
        // Behind a connection that cannot be made is a cause.
        let words = self.reports.last_words().filter(|_| is_of_network(code));
        let code = words.as_ref().map_or(code, |(cause, _)| *cause);
        let mut what = format!("{} while {doing}", self.name(code));
        let said = said.map(|said| said.chars().take(KAFKA_REASON_CHARS_MAX).collect::<String>());
        if let Some(said) = said.filter(|said| !said.is_empty()) {
            what = format!("{what} ({said})");
        }
        if let Some((_, words)) = words {
            what = format!("{what}; the client said last: {words}");
        }
        self.wrong(what, self.remedy(code))
    }

    /// What a code means here.
    fn name(&self, code: Code) -> String {
        match code {
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
                format!("the topic {} or {} does not exist any more", self.topic, self.checkpoint_topic)
            }
            Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend | Code::ISRInsufficient => {
                "too few replicas are in sync".to_owned()
            }
            Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress | Code::NotCoordinator => {
                "the cluster has no transaction coordinator now".to_owned()
            }
            Code::MessageTimedOut | Code::OperationTimedOut | Code::TimedOutQueue | Code::RequestTimedOut => {
                "no answer in time".to_owned()
            }
            Code::SaslAuthenticationFailed | Code::Authentication => "the login was refused".to_owned(),
            code => code.to_string(),
        }
    }

    /// What to do about a code.
    fn remedy(&self, code: Code) -> String {
        let Self { topic, checkpoint_topic, .. } = self;
        match code {
            Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
                format!(
                    "create the topic {topic}, or set `create`; {checkpoint_topic} is created by itself where allowed"
                )
            }
            Code::TopicAuthorizationFailed => format!(
                "allow this user Describe, DescribeConfigs and Write on {topic} and {checkpoint_topic}, and Read on the latter"
            ),
            Code::TransactionalIdAuthorizationFailed => {
                "allow this user Write and Describe on transactional ids with the prefix `afferent-`".to_owned()
            }
            Code::ClusterAuthorizationFailed => {
                format!("create the topics {topic} and {checkpoint_topic}, or allow this user Create on the cluster")
            }
            Code::GroupAuthorizationFailed => "allow this user Read on the group afferent-checkpoints".to_owned(),
            Code::SaslAuthenticationFailed | Code::Authentication | Code::UnsupportedSASLMechanism => {
                "check `sasl`: mechanism, user and password".to_owned()
            }
            Code::SSL => {
                "check `tls`: the CA, the certificate and its key, and the names in the broker's certificate".to_owned()
            }
            Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend | Code::ISRInsufficient => {
                format!("start the missing brokers, or lower min.insync.replicas of {topic}")
            }
            Code::InvalidTimestamp => format!(
                "set message.timestamp.before.max.ms and message.timestamp.after.max.ms of {topic} so that ingest times \
                 are allowed, and check the collector's clock"
            ),
            Code::InvalidTransactionTimeout => {
                "lower `timeout_s`, or raise transaction.max.timeout.ms of the brokers: it must be twice as long"
                    .to_owned()
            }
            Code::InvalidReplicationFactor => "set `create.replication` to at most the number of brokers".to_owned(),
            Code::PolicyViolation => format!("create {topic} and {checkpoint_topic} as the cluster's policy asks for"),
            Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedForMessageFormat => {
                "transactions need Apache Kafka 2.5 or newer".to_owned()
            }
            Code::CoordinatorNotAvailable | Code::CoordinatorLoadInProgress | Code::NotCoordinator => {
                "check the brokers that hold the topic __transaction_state".to_owned()
            }
            code if is_of_network(code) => "check that the brokers run, `brokers`, and the network between".to_owned(),
            _ => "see the brokers' own logs".to_owned(),
        }
    }
}

/// Whether another producer has taken over the transactional id.
pub(super) fn is_fenced(code: Code) -> bool {
    matches!(code, Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch)
}

/// Whether an event itself is refused.
pub(super) fn is_of_event(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize | Code::InvalidRecord
    )
}

/// Whether a broker could not be reached, or did not answer in time.
pub(super) fn is_of_network(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::Resolve
            | Code::MessageTimedOut
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::RequestTimedOut
            | Code::NetworkException
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
    )
}

/// The longest time of one step of several requests.
pub(super) fn longest(timeout: Duration) -> Duration {
    2 * timeout + Duration::from_secs(5)
}
