//! Promise 2 with real processes and default settings: half a minute without a line, fifty thousand events meanwhile, and
//! the agent killed in the middle of it.

use std::time::{Duration, Instant};

use afferent_tests::process::{Ledger, Rig, line, wait_for};

const OUTAGE: Duration = Duration::from_secs(30);
const EVENTS: u64 = 50_000;

/// Sends the lines `first` up to `end` and waits until all of them are accepted.
fn produce(rig: &Rig, ledger: &mut Ledger, first: u64, end: u64) {
    let mut producer = rig.producer();
    ledger.send(first..end);
    let text: String = (first..end).map(line).collect();
    let mut writer = producer.writer().expect("a second handle");
    std::thread::scope(|scope| {
        scope.spawn(move || std::io::Write::write_all(&mut writer, text.as_bytes()).expect("the agent reads"));
        producer.wait_accepted(end - first).expect("the agent answers");
    });
    ledger.accept(first..end);
}

#[test]
fn fifty_thousand_events_of_an_outage_arrive_once_and_in_order_although_the_agent_was_killed() {
    let rig = Rig::new("outage");
    let collector = rig.start_collector();
    let agent = rig.start_agent();
    let mut ledger = Ledger::default();
    produce(&rig, &mut ledger, 1, 1001);
    wait_for("the first events arrive", || rig.log_end().filter(|end| *end >= 1001));
    collector.kill();
    let down = Instant::now();
    produce(&rig, &mut ledger, 1001, 1001 + EVENTS / 2);
    agent.kill();
    let _agent = rig.start_agent();
    produce(&rig, &mut ledger, 1001 + EVENTS / 2, 1001 + EVENTS);
    wait_for("half a minute has passed", || (down.elapsed() >= OUTAGE).then_some(()));
    let _collector = rig.start_collector();
    wait_for("everything is in the log", || rig.log_end().filter(|end| *end > 1000 + EVENTS));
    wait_for("everything accepted is in the log", || (ledger.missing(&rig.events()) == 0).then_some(()));
    ledger.check(&rig.events());
}
