//! Agents under names that their connections are not tied to.

use afferent_protocol::piece::PieceHead;
use afferent_protocol::session::signed::{Down, Instance, Up, UpContent};
use afferent_protocol::session::{Held, Hello, Lane};

use super::*;
use crate::core::MessageConnection;

fn over(number: u64, name: &str) -> Option<MessageConnection> {
    Some(MessageConnection { number, peer: None, name: Some(source(name)), is_vouched: false })
}

/// Says hello over a connection and proves the key; returns the outcome, and the message that proved it.
fn prove_over(core: &mut TestCore, agent: &Agent, connection: Option<MessageConnection>) -> (Received, Vec<u8>) {
    core.receive(agent.name, &agent.hello(0), connection, &clock(1));
    let answers = core.commit(&clock(1)).unwrap();
    let welcomed = |answer: &&Answer| answer.agent == agent.name && matches!(answer.control, Control::Welcome(_));
    let welcome = answers.iter().find(welcomed).expect("a hello is answered");
    assert_eq!(welcome.connection, connection.map(|connection| connection.number));
    let proof = agent.hello_over(0, Down::read(&welcome.message).unwrap().claim().answer);
    let received = core.receive(agent.name, &proof, connection, &clock(1));
    core.commit(&clock(1)).unwrap();
    (received, proof)
}

fn piece_of(batch: &[u8], lane: Lane) -> Vec<u8> {
    let head = PieceHead { crc: [batch[4], batch[5], batch[6], batch[7]], lane, len: batch.len(), at: 0 };
    [&head.encode()[..], &batch[..50]].concat()
}

#[test]
fn only_who_has_the_key_of_a_name_is_heard_as_a_guest_under_it_and_what_is_refused_is_the_guests() {
    let disk = SimDisk::of_seed(1);
    let mut press = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&disk, &press);
    let before = view(&core, "press");
    let mut thief = Agent::new("press", Stream::Samples, 1);
    thief.identity = identity(200);
    let stolen = thief.samples(1);
    let of_thief = over(7, "thief");
    let unknown = Agent::new("lathe", Stream::Samples, 1);
    for (agent, message) in [
        (&press, thief.hello(0)),
        (&press, stolen.clone()),
        (&press, piece_of(&stolen, thief.lane)),
        (&unknown, unknown.hello(0)),
    ] {
        let received = core.receive(agent.name, &message, of_thief, &clock(2));
        assert_eq!((refused(&received), received.proved), (Some(Reason::OtherKey), None));
    }
    // The agent's own batches, repeated by it, are refused as well.
    let genuine = press.samples(3);
    assert_eq!(refused(&core.receive(press.name, &genuine, of_thief, &clock(2))), Some(Reason::OtherKey));
    core.commit(&clock(2)).unwrap();
    assert_eq!(view(&core, "press"), before);
    assert_eq!(view(&core, "thief").refused, [("other-key", 5)]);
    assert!(core.sources().view(&unknown.name).is_none(), "it has made up a source");
    assert_eq!(own_events(&core).last().map(String::as_str), Some("refused thief"));
    // The control: the agent that had the name before is accepted over a connection that is tied to a different one.
    press.run = 2;
    let renamed = over(8, "press-new");
    core.receive(press.name, &press.hello(0), renamed, &clock(2));
    core.commit(&clock(2)).unwrap();
    assert_eq!(refused(&core.receive(press.name, &genuine, renamed, &clock(2))), Some(Reason::NoHello), "it is asked");
    assert!(prove_over(&mut core, &press, renamed).0.proved.is_some());
    assert_eq!(core.receive(press.name, &genuine, renamed, &clock(2)).accepted, 1);
    // And a different key over a connection of the name's own is reported under the name.
    core.receive(press.name, &thief.hello(0), over(9, "press"), &clock(3));
    assert_eq!(view(&core, "press").other_key, Some(thief.identity.public_key()));
}

#[test]
fn a_proof_that_was_overheard_proves_nothing_over_another_connection() {
    let disk = SimDisk::of_seed(1);
    let mut press = Agent::new("press", Stream::Samples, 1);
    let mut core = start(&disk);
    let own = over(1, "press");
    prove_over(&mut core, &press, own);
    // A challenge is good for one run: a thief can only repeat the hello of a run that was known before.
    press.session += 1;
    let (received, proof) = prove_over(&mut core, &press, own);
    assert_eq!(received.proved, Some(Instance([1; 16])));
    for other in [over(2, "press"), over(3, "thief")] {
        let repeated = core.receive(press.name, &proof, other, &clock(1));
        assert_eq!((refused(&repeated), repeated.proved), (None, None), "it would end the agent's connection");
    }
    // The control: over its own connection the same hello counts.
    assert_eq!(core.receive(press.name, &proof, own, &clock(1)).proved, Some(Instance([1; 16])));
}

#[test]
fn only_a_sender_that_has_not_proved_itself_is_asked_for_a_hello() {
    let disk = SimDisk::of_seed(1);
    let mut press = Agent::new("press", Stream::Samples, 1);
    let mut core = start(&disk);
    prove_over(&mut core, &press, over(1, "press"));
    let batch = press.samples(3);
    let piece = piece_of(&batch, press.lane);
    let asked = |core: &mut TestCore, connection| {
        let received = core.receive(press.name, &piece, connection, &clock(1));
        let answers = core.commit(&clock(1)).unwrap();
        let nacks = answers.iter().filter(|answer| matches!(answer.control, Control::Nack { .. }));
        (refused(&received), nacks.map(|answer| answer.connection).collect::<Vec<_>>())
    };
    assert_eq!(asked(&mut core, over(2, "press")), (Some(Reason::NoHello), vec![]), "nobody has said anything there");
    let mut again = Agent::new("press", Stream::Samples, 1);
    again.run = 2;
    core.receive(press.name, &again.hello(0), over(2, "press"), &clock(1));
    core.commit(&clock(1)).unwrap();
    assert_eq!(asked(&mut core, over(2, "press")), (Some(Reason::NoHello), vec![Some(2)]), "it, and not the other");
    // The control: an agent with a proved key may send pieces.
    assert_eq!(asked(&mut core, over(1, "press")), (None, vec![]));
}

#[test]
fn that_it_had_another_name_counts_of_a_name_that_is_held_to_its_key() {
    let disk = SimDisk::of_seed(1);
    let press = Agent::new("press", Stream::Samples, 1);
    let mut core = greeted(&disk, &press);
    let formerly = |agent: &Agent, answer: Nonce| {
        let held = Held { lane: agent.lane, first: Sequence::ZERO, end: Sequence::ZERO };
        let hello = Control::Hello(Hello { session: 1, lanes: [held].into_iter().collect() });
        let said = Up::read(&agent.hello_over(0, answer)).unwrap().verify_own_key(&agent.name).unwrap();
        let former = vec![press.name, source("lathe")];
        Up { former, content: UpContent::Control(hello), ..said }.sign(&agent.name, &agent.identity)
    };
    for (name, is_its_key) in [("thief", false), ("press-new", true)] {
        let mut agent = Agent::new(name, Stream::Samples, 5);
        if is_its_key {
            agent.identity = press.identity.clone();
        }
        core.receive(agent.name, &formerly(&agent, Nonce::NONE), None, &clock(1));
        let answers = core.commit(&clock(1)).unwrap();
        let welcome = answers.iter().find(|answer| answer.agent == agent.name).expect("a hello is answered");
        let answer = Down::read(&welcome.message).unwrap().claim().answer;
        assert!(core.receive(agent.name, &formerly(&agent, answer), None, &clock(1)).proved.is_some());
        core.commit(&clock(1)).unwrap();
        let expected = if is_its_key { vec![press.name] } else { Vec::new() };
        assert_eq!(view(&core, name).aliases, expected, "{name}");
        assert_eq!(view(&core, name).is_new, !is_its_key, "a name that is joined with another one stays");
    }
    assert!(!view(&core, "press").is_new);
    let aliases = own_events(&core).into_iter().filter(|event| event.contains("Alias")).count();
    assert_eq!(aliases, 1);
}
