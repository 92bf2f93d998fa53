//! One partition: its log, its admission, the threads that serve it.

use std::path::Path;
use std::sync::Arc;

use afferent_host::clock::SystemClock;
use afferent_host::stop::Stop;
use afferent_protocol::attestation::Attestation;
use afferent_protocol::ids::{Epoch, Offset};
use tokio::sync::mpsc;

use super::engine::{self, ChosenLog};
use super::{JoinThread, RunError, system};
use crate::attesting;
use crate::config::Config;
use crate::core::{Core, OwnIdentity};
use crate::data_directory::DataDirectory;
use crate::indexing;
use crate::intake::{self, Health, Incoming, Outbox, WeakIntake, WriterThread, WriterViews};
use crate::limits::{QUESTIONS_MAX, RETENTION_EVERY};
use crate::log::{Emptying, Engine, OpenedLog, Opening, ReadLog, Trimming, UnifiedLog, Upkeep};
use crate::partitions::PartitionHandles;
use crate::posted::RedbIds;
use crate::questions;
use crate::retention;
use crate::sources::Sources;
use crate::supervise::Supervisor;
use crate::turns::Commits;

/// The parts that all partitions share.
pub(super) struct Surroundings<'a> {
    pub config: &'a Config,
    pub data: &'a Path,
    pub supervisor: &'a Supervisor,
    pub health: &'a Arc<Health>,
    pub stopping: &'a Stop,
}

/// The channels to and from a partition's writer.
pub(super) struct WriterChannels {
    pub incoming: mpsc::Receiver<Incoming>,
    pub outbox: Outbox,
    pub posts: WeakIntake,
    pub commits: Commits,
}

/// The threads to wait for at the end.
pub(super) struct RunningPartition {
    pub writer: WriterThread,
    pub attesting: Option<JoinThread>,
}

impl RunningPartition {
    /// Starts all threads of a partition.
    pub fn start(
        opened: OpenedPartition<impl UnifiedLog + Send + 'static>,
        ways: WriterChannels,
        around: &Surroundings<'_>,
    ) -> Result<(Self, PartitionHandles), RunError> {
        let OpenedPartition { core, reader, upkeep } = opened;
        let WriterChannels { incoming, outbox, posts, commits } = ways;
        let Surroundings { config, data, supervisor, health, stopping } = around;
        let Upkeep { mut indexing, trimming, emptying } = upkeep;
        let kept = RetentionStart::of(config, &core);
        let ids = RedbIds::open(&data.join("posted-ids.redb"), reader.clone_reader(), supervisor);
        let ids = Box::new(ids.map_err(system("a thread for the posted events"))?);
        let core = core.with_posted_ids(ids).with_new_names(config.names.new_max);
        let (asked, asking) = mpsc::channel(QUESTIONS_MAX);
        questions::spawn(reader.clone_reader(), asking, posts.clone(), supervisor)
            .map_err(system("a thread for agents' questions"))?;
        let (writer, views) =
            intake::spawn(core, incoming, outbox, asked, supervisor).map_err(system("a thread for the log"))?;
        indexing.yield_to(commits);
        indexing::spawn(indexing, views.durable.clone(), (*stopping).clone(), supervisor)
            .map_err(system("a thread for the log's indexes"))?;
        let attesting = start_attesting(config, &views, supervisor)?;
        let removing = Removing { log: reader.clone_reader(), trimming, emptying, intake: posts.clone() };
        let retention = kept.settings(config, removing, &views, health);
        retention::spawn(retention, (*stopping).clone(), supervisor).map_err(system("a thread for retention"))?;
        let WriterViews { durable, sources, .. } = views;
        Ok((Self { writer, attesting }, PartitionHandles { reader, durable, sources, intake: posts }))
    }
}

/// Admission over an open log, and its parts.
pub(super) struct OpenedPartition<L: UnifiedLog> {
    core: Core<L>,
    reader: Arc<dyn ReadLog>,
    upkeep: Upkeep,
}

impl OpenedPartition<ChosenLog> {
    /// Opens the log, which takes long, outside the async tasks.
    pub async fn of(config: &Config, data: &DataDirectory) -> Result<Self, RunError> {
        let identity = data.identity()?;
        let epoch = Epoch::new(getrandom::u64().map_err(system("random numbers"))?);
        let mut challenge = [0; 32];
        getrandom::fill(&mut challenge).map_err(system("random numbers"))?;
        let endorsements = data.endorsements()?;
        let own = OwnIdentity { source: config.name, identity, epoch, challenge, endorsements };
        let engine = engine::chosen(config, data.path());
        let opening = tokio::task::spawn_blocking(move || {
            let clock = SystemClock::new();
            let engine = engine()?;
            let mut sources = Sources::of_partition(own.source, engine.partition());
            let mut entropy = || getrandom::u64().expect("the system gave random numbers a moment ago");
            let now = clock.read().wall;
            let opening = Opening { own: own.source, identity: &own.identity, now, entropy: &mut entropy };
            let OpenedLog { log, recovery, reader, upkeep } = engine.open(opening, &mut sources)?;
            sources.find_unattested(&*reader);
            let core = Core::new(log, sources, own, &recovery, &clock.read());
            Ok(OpenedPartition { core, reader, upkeep })
        });
        opening.await.map_err(system("a task for opening the log"))?
    }
}

/// Retention's facts about the log as it was opened.
struct RetentionStart {
    attested: retention::AttestedLog,
    newest: Option<Attestation>,
    trimmed_until: Offset,
    emptied_until: Offset,
}

/// The parts that retention removes with.
struct Removing {
    log: Arc<dyn ReadLog>,
    trimming: Box<dyn Trimming>,
    emptying: Box<dyn Emptying>,
    intake: WeakIntake,
}

impl RetentionStart {
    fn of(config: &Config, core: &Core<impl UnifiedLog>) -> Self {
        Self {
            attested: retention::AttestedLog { own: config.name, here: core.place(), keys: core.keys_of_log() },
            newest: core.newest_attestation().and_then(|bytes| Attestation::read(&bytes)?.verify()),
            trimmed_until: core.sources().trimmed_until(),
            emptied_until: core.sources().emptied_until(),
        }
    }

    fn settings(
        self,
        config: &Config,
        removing: Removing,
        views: &WriterViews,
        health: &Arc<Health>,
    ) -> retention::Settings {
        let Self { attested, newest, trimmed_until, emptied_until } = self;
        let Removing { log, trimming, emptying, intake } = removing;
        retention::Settings {
            log,
            attested,
            newest,
            sources: views.sources.clone(),
            rules: config.retention(),
            every: RETENTION_EVERY,
            trimming,
            trimmed_until,
            emptying,
            emptied_until,
            intake,
            health: Arc::clone(health),
        }
    }
}

/// Starts to write attestations to the configured file, if there is one.
fn start_attesting(
    config: &Config,
    views: &WriterViews,
    supervisor: &Supervisor,
) -> Result<Option<JoinThread>, RunError> {
    let file = config.attest.file.clone();
    let started = file.map(|file| attesting::spawn(file, views.attested.clone(), supervisor));
    started.transpose().map_err(system("a thread for attestations"))
}
