//! Batches in any order, with repetitions, failures and restarts in between: each is in the log once and in order.

use super::*;

/// The agents of the ordeal and their batches.
struct Plant {
    agents: Vec<Agent>,
    /// All batches of each agent, in order, with their end.
    batches: Vec<Vec<(u64, Vec<u8>)>>,
}

impl Plant {
    fn new(lanes: usize, batches: usize) -> Self {
        let mut agents: Vec<_> = (0..lanes)
            .map(|index| {
                let stream = if index % 2 == 0 { Stream::Samples } else { Stream::Critical };
                Agent::new(&format!("press-{}", index / 2), stream, 1 + index as u64)
            })
            .collect();
        let made = agents.iter_mut().map(|agent| {
            let one = |size: usize| {
                let bytes = agent.samples(1 + size as u64 % 3);
                (agent.next, bytes)
            };
            (0..batches).map(one).collect()
        });
        let batches = made.collect();
        Self { agents, batches }
    }
}

/// Passes batches in any order, with repetitions, failures and restarts in between; then all that are missing, in
/// order.
fn ordeal<E: TestEngine>(seed: u64, steps: &[(u8, u8, u8)]) -> Result<(), TestCaseError> {
    let plant = Plant::new(4, 8);
    let mut disk = E::empty(seed);
    let mut core = start(&disk);
    let mut acked: BTreeMap<(SourceId, Stream), u64> = BTreeMap::new();
    let greet_all = |core: &mut Core<E::Log>| {
        plant.agents.iter().for_each(|agent| drop(greet(core, agent, 0, &clock(0)).unwrap()));
    };
    greet_all(&mut core);
    let mut shown = SourceViews::default();
    let check = |core: &Core<E::Log>, acked: &BTreeMap<(SourceId, Stream), u64>| -> Result<(), TestCaseError> {
        for agent in &plant.agents {
            let mine =
                |batch: &&(SourceId, Stream, u64, u64, u64)| batch.0 == agent.name && batch.1 == agent.lane.stream;
            let batches = logged(core);
            let mut end = 0;
            for batch in batches.iter().filter(mine) {
                prop_assert_eq!(batch.3, end, "each once, in order");
                end = batch.4;
            }
            let known = acked.get(&(agent.name, agent.lane.stream)).copied().unwrap_or(0);
            prop_assert!(end >= known, "{} was acked up to {}, and {} is there", agent.name, known, end);
        }
        Ok(())
    };
    for (lane, index, fate) in steps {
        let lane = *lane as usize % plant.agents.len();
        let (_, batch) = &plant.batches[lane][*index as usize % 8];
        give(&mut core, &plant.agents[lane], batch);
        prop_assert!(shows_all(&shown, &mut core), "what is published of changes is what all sources look like");
        if fate % 3 != 0 {
            continue;
        }
        disk.fails_in((fate % 4 == 0).then(|| u64::from(fate / 16) % 4));
        let is_unknown = fate % 7 == 0 && disk.ends_unknown(Some(fate % 2 == 0));
        let committed = core.commit(&clock(2));
        disk.ends_unknown(None);
        disk.fails_in(None);
        if core.is_lost() {
            prop_assert!(is_unknown, "nothing else ends unknown");
            (core, shown) = (start(&disk), SourceViews::default());
            greet_all(&mut core);
        }
        if let Ok(answers) = committed {
            for Answer { agent, control, .. } in answers {
                let Control::Ack(lanes) = control else { continue };
                for resume in lanes {
                    let known = acked.entry((agent, resume.lane.stream)).or_default();
                    prop_assert!(*known <= resume.end.get(), "acks do not go back");
                    *known = resume.end.get();
                }
            }
        }
        if fate % 5 == 0 {
            let lanes = |core: &Core<E::Log>| -> Vec<_> {
                let views = core.sources().views().into_iter().filter(|view| view.source != source("collector"));
                views.map(|view| (view.source, view.key, logged_lanes(&view))).collect()
            };
            let before = (!core.is_pending()).then(|| lanes(&core));
            disk = disk.after_power_cut();
            (core, shown) = (start(&disk), SourceViews::default());
            if let Some(before) = before {
                prop_assert_eq!(lanes(&core), before, "a restart rebuilds the sources as they were");
            }
            greet_all(&mut core);
        }
        check(&core, &acked)?;
        prop_assert!(shows_all(&shown, &mut core), "what is published of changes is what all sources look like");
    }
    for (agent, batches) in plant.agents.iter().zip(&plant.batches) {
        greet(&mut core, agent, 0, &clock(3)).unwrap();
        batches.iter().for_each(|(_, batch)| drop(give(&mut core, agent, batch)));
        core.commit(&clock(3)).unwrap();
        acked.insert((agent.name, agent.lane.stream), agent.next);
    }
    check(&core, &acked)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_order_with_repetitions_failures_and_restarts_gives_each_batch_once_in_order(
        seed in any::<u64>(),
        steps in prop::collection::vec(any::<(u8, u8, u8)>(), 1..60),
    ) {
        ordeal::<SimDisk>(seed, &steps)?;
        ordeal::<MemoryEngine>(seed, &steps)?;
    }
}
