//! Commits whose outcome is unknown to the core: reopening the log shows what counts.

use afferent_host::stop;
use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::*;
use crate::intake::{self, Health, Intake, Outbox, WriterError};
use crate::supervise::Supervisor;

#[test]
fn after_an_unknown_outcome_the_log_is_reopened_and_shows_what_counts() {
    for is_durable in [false, true] {
        let engine = MemoryEngine::default();
        let mut agent = Agent::new("press", Stream::Samples, 1);
        let mut core = greeted(&engine, &agent);
        let batch = agent.samples(3);
        assert_eq!(give(&mut core, &agent, &batch).accepted, 1);
        engine.ends_unknown(Some(is_durable));
        assert!(core.commit(&clock(1)).unwrap_err().is_unknown() && core.is_lost());
        let mut core = start(&engine);
        let answers = greet(&mut core, &agent, 0, &clock(2)).unwrap();
        assert_eq!(welcomed_end(&answers), Some(if is_durable { 3 } else { 0 }));
        let again = give(&mut core, &agent, &batch);
        assert_eq!((again.accepted, again.duplicates), if is_durable { (0, 1) } else { (1, 0) });
        assert_eq!(acked_end(&core.commit(&clock(2)).unwrap()), Some(3));
        assert_eq!(logged(&core).iter().filter(|batch| batch.0 == agent.name).count(), 1, "once, either way");
    }
}

#[test]
#[should_panic(expected = "after a commit of unknown outcome the log is reopened")]
fn a_core_whose_commit_ended_unknown_takes_nothing_more() {
    let engine = MemoryEngine::default();
    let mut agent = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&engine, &agent);
    let batch = agent.samples(3);
    give(&mut core, &agent, &batch);
    engine.ends_unknown(Some(false));
    core.commit(&clock(1)).unwrap_err();
    give(&mut core, &agent, &batch);
}

#[test]
fn the_writer_ends_after_an_unknown_outcome_and_tries_nothing_again() {
    for is_unknown in [false, true] {
        let engine = MemoryEngine::default();
        let core = start(&engine);
        let runtime = Runtime::new().unwrap();
        let _inside = runtime.enter();
        let (intake, incoming) = Intake::new();
        let (asked, _) = mpsc::channel(1);
        let (switch, stopping) = stop::channel();
        let supervisor = Supervisor::new(Arc::new(Health::default()), stopping);
        if is_unknown {
            engine.ends_unknown(Some(true));
        }
        let outbox = Outbox::Endpoint(Arc::default());
        let (writer, _views) = intake::spawn(core, incoming, outbox, asked, &supervisor).unwrap();
        switch.stop();
        // Its last commit logs that it has stopped.
        drop(intake);
        let ended = runtime.block_on(writer.joined());
        assert_eq!(matches!(ended, Err(WriterError::Unknown(_))), is_unknown, "{ended:?}");
    }
}
