//! Names that the agent had before.

use super::*;

/// All messages until the core waits, with the name on whose topic they go.
fn named(core: &mut AgentCore<SimDisk>, ms: u64) -> Vec<(SourceId, Vec<u8>)> {
    let (mut messages, mut message) = (Vec::new(), Vec::new());
    while let Outgoing::Message(name) = core.poll(&now(ms), &mut message) {
        messages.push((name, message.clone()));
    }
    messages
}

fn hello_as(name: &str, message: &[u8]) -> (Up, Hello) {
    let up = Up::read(message).unwrap().verify_own_key(&who(name).source).expect("it is signed under that name");
    let UpContent::Control(Control::Hello(hello)) = up.content.clone() else { panic!("no hello") };
    (up, hello)
}

/// A core that was press-1 and is press-2, with an event under each name; the collector has welcomed press-2.
fn renamed(disk: &SimDisk) -> (AgentCore<SimDisk>, Vec<(SourceId, Vec<u8>)>) {
    let mut core = start(disk);
    commit(&mut core, Stream::Critical, 1);
    drop(core);
    let mut core = start_as(disk, "press-2");
    commit(&mut core, Stream::Critical, 2);
    assert_eq!(core.ring().held_under_former_names(), [(who("press-1").source, 1)]);
    core.link_up(NONCE);
    let first = named(&mut core, 0);
    assert_eq!(first.len(), 1, "the agent's own name comes first");
    let (up, hello) = hello_as("press-2", &first[0].1);
    assert_eq!(up.former, [who("press-1").source]);
    let collector = Collector { source: "press-2", ..Collector::default() };
    core.receive(&collector.welcomes(&hello, &[]), &now(0));
    let messages = named(&mut core, 1);
    (core, messages)
}

#[test]
fn what_is_held_under_a_former_name_is_shipped_under_it_in_a_session_of_its_own() {
    let former = who("press-1").source;
    let (mut core, messages) = renamed(&SimDisk::of_seed(1));
    let own: Vec<_> = messages.iter().filter(|(name, _)| *name != former).flat_map(|(_, sent)| split(sent)).collect();
    assert!(own.into_iter().map_while(Result::ok).all(|batch| batch.header().source == who("press-2").source));
    let (_, greeting) = messages.iter().find(|(name, _)| *name == former).expect("it says hello under the former name");
    let (up, hello) = hello_as("press-1", greeting);
    assert!(up.nonce != NONCE && up.former.is_empty());

    let collector = Collector { nonce: up.nonce, is_proved: false, ..Collector::default() };
    core.receive(&collector.welcomes(&hello, &[]), &now(2));
    let messages = named(&mut core, 3);
    assert!(messages.iter().all(|(name, _)| *name == former));
    let (proved, _) = hello_as("press-1", &messages[0].1);
    assert_eq!(proved.answer, collector.answer, "it proves itself before it sends");
    let batch = split(&messages[1].1).next().unwrap().unwrap();
    assert_eq!(batch.header().source, former, "its bytes are those that were accepted");
    let lane = Lane { stream: Stream::Critical, epoch: batch.header().epoch };
    let resume = Resume { lane, end: batch.header().end(), check: Some(Check::of(&batch.chain_hash())) };
    // The control: over the nonce of the agent's own name an ack of the other's lane releases nothing.
    core.receive(&Collector { source: "press-2", ..Collector::default() }.acks(resume), &now(4));
    named(&mut core, 5);
    assert_eq!(core.ring().held_under_former_names().len(), 1);
    core.receive(&collector.acks(resume), &now(6));
    named(&mut core, 7);
    assert!(core.ring().held_under_former_names().is_empty(), "it has arrived");
}

#[test]
fn a_former_name_that_a_broker_forbids_rests_and_what_it_holds_stays() {
    let former = who("press-1").source;
    let (mut core, _) = renamed(&SimDisk::of_seed(1));
    core.forbidden(former, &now(2));
    let later = named(&mut core, 30_000);
    assert!(later.iter().all(|(name, _)| *name != former), "it is not tried again over this connection");
    assert_eq!(core.ring().held_under_former_names(), [(former, 1)], "and what it holds stays");
}
