//! Messages that are not the collector's, and such as were repeated.

use super::*;

/// Three batches under way, and what acks all of them.
fn under_way() -> (AgentCore<SimDisk>, Collector, Resume) {
    let mut core = start(&SimDisk::of_seed(1));
    (0..3).for_each(|mark| commit(&mut core, Stream::Critical, mark));
    let resume = resume_of(&mut core, Stream::Critical, 3);
    let collector = connect(&mut core, &[]);
    assert_eq!(sent(&mut core, 0).0.len(), 3);
    (core, collector, resume)
}

#[test]
fn only_the_collectors_ack_about_this_agent_over_this_connection_lets_go() {
    let (mut core, collector, resume) = under_way();
    let mut flipped = collector.acks(resume);
    *flipped.last_mut().unwrap() ^= 1;
    let stranger = Collector { key: Identity::from_seed(&[8; 32]), ..collector.clone() };
    let mut borrowed = stranger.down(Control::Ack([resume].into_iter().collect()));
    borrowed.endorsements.push([0; 146]);
    let forged = [
        Control::Ack([resume].into_iter().collect()).encode().to_vec(),
        b"offline".to_vec(),
        Vec::new(),
        flipped,
        stranger.acks(resume),
        borrowed.sign(&who("press-1").source, &stranger.key),
        Collector { source: "press-2", ..collector.clone() }.acks(resume),
        Collector { nonce: Nonce([7; 16]), ..collector.clone() }.acks(resume),
        Collector { nonce: Nonce::NONE, ..collector.clone() }.acks(resume),
    ];
    for message in &forged {
        core.receive(message, &now(1));
        assert_eq!(sent(&mut core, 1).0, []);
        assert_eq!(held_first(&core, Stream::Critical), Sequence::ZERO);
    }
    assert_eq!(core.ignored(), Ignored { undecodable: 4, untrusted: 3, stale: 2 });
    assert_eq!(core.stranger(), None, "a collector that is believed has answered");
    // The control.
    core.receive(&collector.acks(resume), &now(1));
    sent(&mut core, 1);
    assert_eq!(held_first(&core, Stream::Critical), Sequence::new(3));
}

#[test]
fn an_ack_with_a_wrong_check_makes_the_agent_say_hello_and_lose_nothing() {
    let (mut core, collector, mut resume) = under_way();
    resume.check = Some(Check(7));
    core.receive(&collector.acks(resume), &now(1));
    let (messages, _) = messages(&mut core, 1);
    assert!(messages.len() == 1 && hello_of(&messages[0]).is_some());
    assert_eq!(held_first(&core, Stream::Critical), Sequence::ZERO);
    assert_eq!(core.resealed(), 0);
}

#[test]
fn an_ack_of_another_term_lets_go_of_nothing_until_its_log_has_welcomed() {
    let (mut core, collector, resume) = under_way();
    let restarted = Collector { place: Place { term: 6, ..collector.place }, ..collector };
    core.receive(&restarted.acks(resume), &now(5_000));
    let (messages, _) = messages(&mut core, 5_000);
    assert_eq!(held_first(&core, Stream::Critical), Sequence::ZERO);
    let hello = messages.iter().find_map(|message| hello_of(message)).expect("it asks who that is");
    core.receive(&restarted.welcomes(&hello, &[]), &now(5_000));
    sent(&mut core, 5_000);
    core.receive(&restarted.acks(resume), &now(5_000));
    sent(&mut core, 5_000);
    assert_eq!(held_first(&core, Stream::Critical), Sequence::new(3));
}

#[test]
fn a_hello_is_repeated_once_over_every_answer_while_batches_flow() {
    let mut core = start(&SimDisk::of_seed(1));
    commit(&mut core, Stream::Critical, 1);
    let hello = greet(&mut core);
    let mut collector = Collector { is_proved: false, ..Collector::default() };
    core.receive(&collector.welcomes(&hello, &[]), &now(0));
    let (first, _) = messages(&mut core, 0);
    assert_eq!(said(&first[0]).answer, collector.answer);
    assert!(!is_signed(&first[1]), "and then the batch");
    let repeated = hello_of(&first[0]).unwrap();
    core.receive(&collector.welcomes(&repeated, &[]), &now(0));
    assert_eq!(messages(&mut core, 0).0.len(), 0, "the same answer is no news");
    collector.answer = Nonce([5; 16]);
    core.receive(&collector.welcomes(&repeated, &[]), &now(0));
    let (again, _) = messages(&mut core, 0);
    assert!(again.len() == 1 && said(&again[0]).answer == collector.answer);
}

#[test]
fn a_welcome_of_a_session_before_is_no_news() {
    let (mut core, collector, mut resume) = under_way();
    resume.check = Some(Check(7));
    let hello = Hello { session: 0, lanes: heapless::Vec::new() };
    core.receive(&collector.welcomes(&hello, &[resume]), &now(0));
    assert_eq!((sent(&mut core, 0).0.len(), core.ignored().stale), (0, 1));
}

#[test]
fn what_the_collector_asks_for_once_more_is_sent_once_although_it_was_acked() {
    let (mut core, collector, resume) = under_way();
    let range = SequenceRange { first: Sequence::new(1), end: Sequence::new(2) };
    for _ in 0..100 {
        core.receive(&collector.says(Control::Again { lane: resume.lane, range }), &now(1));
    }
    let (messages, _) = messages(&mut core, 1);
    let ranges: Vec<_> =
        messages.iter().flat_map(|message| split(message)).map(|b| b.unwrap().header().range()).collect();
    assert_eq!(ranges, [range]);
    // What nobody has is no reason to stop.
    let range = SequenceRange { first: Sequence::new(50), end: Sequence::new(60) };
    core.receive(&collector.says(Control::Again { lane: resume.lane, range }), &now(1));
    assert_eq!(sent(&mut core, 1).0, []);
}
