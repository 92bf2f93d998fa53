//! What the cluster must have: the topic of the events, and the compacted topic of the checkpoints.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::RDKafkaErrorCode;
use tokio::runtime::Handle;

use super::super::sink::Unavailable;
use super::client::{Reports, Settings};
use super::fault::Faults;

/// Asks for topics and makes them.
pub(super) struct Topics<'a> {
    settings: &'a Settings,
    faults: &'a Faults,
    runtime: &'a Handle,
    admin: Arc<AdminClient<Reports>>,
}

/// A topic as the cluster describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// Each partition: its number, whether it has a leader, and its replicas in sync.
    partitions: Vec<(i32, bool, usize)>,
}

/// Settings of a topic, as far as this user may read them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TopicFacts {
    /// `max.message.bytes`: bytes of a batch.
    pub batch_bytes_max: Option<usize>,
    min_insync: Option<usize>,
    cleanup: Option<String>,
}

const ABSENT: &[RDKafkaErrorCode] = &[RDKafkaErrorCode::UnknownTopic, RDKafkaErrorCode::UnknownTopicOrPartition];
/// Pause between two looks for a topic that was just made.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl<'a> Topics<'a> {
    pub fn new(
        settings: &'a Settings,
        faults: &'a Faults,
        runtime: &'a Handle,
        reports: Reports,
    ) -> Result<Self, Unavailable> {
        let admin = settings.admin().create_with_context(reports);
        let admin = Arc::new(admin.map_err(|error| faults.of("setting up the client", &error))?);
        Ok(Self { settings, faults, runtime, admin })
    }

    /// Checks the topic of the events, and makes it where it is missing and `create` is set.
    pub async fn events(&self) -> Result<TopicFacts, Unavailable> {
        let name = &*self.settings.topic;
        let found = match (self.find(name).await?, self.settings.create) {
            (Some(found), _) => found,
            (None, Some(create)) => {
                let replication = TopicReplication::Fixed(create.replication.into());
                self.create(NewTopic::new(name, create.partitions.into(), replication)).await?
            }
            (None, None) => return Err(self.absent()),
        };
        let facts = self.facts(name).await?;
        self.check(name, &found, &facts)?;
        if facts.cleanup.as_deref().is_some_and(|policy| policy.contains("compact")) {
            tracing::warn!(topic = name, "the topic is compacted: it keeps only the last event of each machine");
        }
        Ok(facts)
    }

    /// Checks the topic of the checkpoints, and makes it where it is missing.
    pub async fn checkpoints(&self) -> Result<(), Unavailable> {
        let name = &*self.settings.checkpoint_topic;
        let found = match self.find(name).await? {
            Some(found) => found,
            None => {
                // The brokers' own replication unless the operator has said how.
                let replication = self.settings.create.map_or(-1, |create| create.replication.into());
                let topic = NewTopic::new(name, 1, TopicReplication::Fixed(replication));
                let topic = topic.set("cleanup.policy", "compact").set("min.cleanable.dirty.ratio", "0.1");
                self.create(topic.set("segment.bytes", "16777216").set("segment.ms", "3600000")).await?
            }
        };
        let facts = self.facts(name).await?;
        self.check(name, &found, &facts)?;
        match facts.cleanup {
            Some(policy) if policy != "compact" => {
                let what =
                    format!("the topic {name} has cleanup.policy={policy}, so that checkpoints would be deleted");
                Err(self.faults.wrong(what, "set its cleanup.policy to compact, or choose another `checkpoint_topic`"))
            }
            _ => Ok(()),
        }
    }

    /// Looks at both topics, and makes nothing; returns what is there, for people.
    pub async fn describe(&self) -> Result<String, Unavailable> {
        let Settings { topic, checkpoint_topic, create, .. } = self.settings;
        let found = match self.find(topic).await? {
            Some(found) => {
                self.check(topic, &found, &self.facts(topic).await?)?;
                format!("has the topic with {} partitions", found.partitions.len())
            }
            None if create.is_some() => "answers; the topic is made at the start".to_owned(),
            None => return Err(self.absent()),
        };
        let checkpoints = if self.find(checkpoint_topic).await?.is_some() { "exists" } else { "is made at the start" };
        Ok(format!("{found}; {checkpoint_topic} {checkpoints}"))
    }

    fn absent(&self) -> Unavailable {
        let remedy = "create it, or let the forward do it: create = { partitions = 12, replication = 3 }";
        self.faults.wrong(format!("the topic {} does not exist", self.settings.topic), remedy)
    }

    /// A topic; `None` if the cluster does not have it.
    async fn find(&self, name: &str) -> Result<Option<Found>, Unavailable> {
        let (admin, topic, timeout) = (Arc::clone(&self.admin), name.to_owned(), self.settings.timeout);
        let asked = self.runtime.spawn_blocking(move || admin.inner().fetch_metadata(Some(&topic), timeout)).await;
        let doing = format!("asking for the topic {name}");
        let metadata = asked.expect("asking does not panic").map_err(|error| self.faults.of(&doing, &error))?;
        let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else { return Ok(None) };
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(code) if ABSENT.contains(&code) => return Ok(None),
            Some(code) => return Err(self.faults.of_code(&doing, code, None)),
        }
        let partitions = topic.partitions().iter();
        let partitions = partitions.map(|of| (of.id(), of.leader() >= 0, of.isr().len())).collect();
        Ok(Some(Found { partitions }))
    }

    async fn create(&self, topic: NewTopic<'_>) -> Result<Found, Unavailable> {
        let (name, doing) = (topic.name, format!("creating the topic {}", topic.name));
        let options = AdminOptions::new().request_timeout(Some(self.settings.timeout));
        let made = self.admin.create_topics(&[topic], &options.operation_timeout(Some(self.settings.timeout))).await;
        let made = made.map_err(|error| self.faults.of(&doing, &error))?;
        for result in made {
            match result {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((_, code)) => return Err(self.faults.of_code(&doing, code, None)),
            }
        }
        tracing::info!(topic = name, "the topic was created");
        let started = Instant::now();
        loop {
            match self.find(name).await? {
                Some(found) if found.partitions.iter().all(|(_, has_leader, _)| *has_leader) => return Ok(found),
                _ if started.elapsed() < self.settings.timeout => tokio::time::sleep(LOOK_EVERY).await,
                _ => return Err(self.faults.of_code(&doing, RDKafkaErrorCode::OperationTimedOut, None)),
            }
        }
    }

    async fn facts(&self, name: &str) -> Result<TopicFacts, Unavailable> {
        let options = AdminOptions::new().request_timeout(Some(self.settings.timeout));
        let described = self.admin.describe_configs(&[ResourceSpecifier::Topic(name)], &options).await;
        let doing = format!("asking for the settings of the topic {name}");
        match described.map_err(|error| self.faults.of(&doing, &error))?.pop() {
            Some(Ok(resource)) => Ok(TopicFacts::of(&resource)),
            // Without the right to read them it does without.
            Some(Err(RDKafkaErrorCode::TopicAuthorizationFailed)) | None => Ok(TopicFacts::default()),
            Some(Err(code)) => Err(self.faults.of_code(&doing, code, None)),
        }
    }

    /// Checks that the topic can take records now.
    fn check(&self, name: &str, found: &Found, facts: &TopicFacts) -> Result<(), Unavailable> {
        if let Some((partition, ..)) = found.partitions.iter().find(|(_, has_leader, _)| !has_leader) {
            let what = format!("partition {partition} of the topic {name} has no leader");
            return Err(self.faults.wrong(what, "start the brokers that have its replicas"));
        }
        let min = facts.min_insync.unwrap_or(1);
        if let Some((partition, _, in_sync)) = found.partitions.iter().find(|(_, _, in_sync)| *in_sync < min) {
            let what = format!(
                "too few replicas are in sync: partition {partition} of the topic {name} has {in_sync}, and its \
                 min.insync.replicas is {min}"
            );
            return Err(self
                .faults
                .wrong(what, "start the missing brokers, or lower min.insync.replicas of the topic"));
        }
        Ok(())
    }
}

impl TopicFacts {
    fn of(resource: &ConfigResource) -> Self {
        let text = |name: &str| resource.get(name).and_then(|entry| entry.value.clone());
        let number = |name: &str| text(name).and_then(|text| text.parse().ok());
        Self {
            batch_bytes_max: number("max.message.bytes"),
            min_insync: number("min.insync.replicas"),
            cleanup: text("cleanup.policy"),
        }
    }
}
