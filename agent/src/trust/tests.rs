use afferent_protocol::ids::Timestamp;
use afferent_protocol::session::Control;
use afferent_protocol::session::signed::{Nonce, Place};
use afferent_protocol::sign::Identity;

use super::*;

const LOG: LogId = [3; 16];

fn identity(seed: u8) -> Identity {
    Identity::from_seed(&[seed; 32])
}

fn key(seed: u8) -> PublicKey {
    identity(seed).public_key()
}

fn word(by: u8, key_of: u8, role: Role, log_id: LogId) -> [u8; ENDORSEMENT_LEN] {
    Endorsement { role, log_id, key: key(key_of), by: key(by) }.sign(&identity(by))
}

fn down(by: u8, endorsements: Vec<[u8; ENDORSEMENT_LEN]>) -> Down {
    let place = Place { log_id: LOG, ..Place::default() };
    let content = Control::Ack(heapless::Vec::new());
    let (nonce, answer, time) = (Nonce([1; 16]), Nonce::NONE, Timestamp::default());
    Down { nonce, answer, key: key(by), place, time, is_proved: true, endorsements, attestation: None, content }
}

fn with(keys: &[u8], trust_first: bool, pins: Vec<Pin>) -> Trust {
    let mut trust = Trust::new(pins);
    trust.set(TrustSettings { keys: keys.iter().map(|seed| key(*seed)).collect(), trust_first });
    trust
}

#[test]
fn a_first_contact_is_believed_only_where_it_may_be_and_once() {
    let first = Pin { key: key(1), by: None };
    assert_eq!(with(&[], true, vec![]).judge(&down(1, vec![])), Judgement::First(first));
    assert_eq!(with(&[], false, vec![]).judge(&down(1, vec![])), Judgement::Stranger(key(1)));
    let mut trust = with(&[], true, vec![first]);
    assert_eq!(trust.judge(&down(1, vec![])), Judgement::Trusted(vec![]));
    assert_eq!(trust.judge(&down(2, vec![])), Judgement::Stranger(key(2)));
    assert_eq!(with(&[5], true, vec![]).judge(&down(1, vec![])), Judgement::Stranger(key(1)));
}

#[test]
fn a_key_of_the_configuration_goes_before_what_was_learned() {
    let mut trust = with(&[5], true, vec![Pin { key: key(1), by: None }]);
    assert_eq!(trust.judge(&down(1, vec![])), Judgement::Stranger(key(1)));
    assert_eq!(trust.judge(&down(5, vec![])), Judgement::Trusted(vec![]));
    // The control: without it the pin counts.
    trust.set(TrustSettings::default());
    assert_eq!(trust.judge(&down(1, vec![])), Judgement::Trusted(vec![]));
}

#[test]
fn a_colleague_is_believed_as_long_as_it_shows_its_endorsement_for_this_log() {
    let mut trust = with(&[1], false, vec![]);
    let shown = vec![word(1, 2, Role::Colleague, LOG)];
    assert_eq!(trust.judge(&down(2, shown.clone())), Judgement::Trusted(vec![]));
    assert_eq!(trust.judge(&down(2, shown)), Judgement::Trusted(vec![]), "known by now");
    assert_eq!(trust.judge(&down(2, vec![])), Judgement::Stranger(key(2)));
    assert_eq!(trust.judge(&down(2, vec![word(1, 2, Role::Colleague, [4; 16])])), Judgement::Stranger(key(2)));
    // Its own word makes nobody trusted.
    let own = down(3, vec![word(3, 3, Role::Colleague, LOG)]);
    assert_eq!(trust.judge(&own), Judgement::Stranger(key(3)));
    // A first contact with a colleague pins the log's key.
    let first = with(&[], true, vec![]).judge(&down(2, vec![word(1, 2, Role::Colleague, LOG)]));
    assert_eq!(first, Judgement::First(Pin { key: key(1), by: None }));
}

#[test]
fn a_successor_is_pinned_and_then_needs_no_endorsement() {
    let mut trust = with(&[1], false, vec![]);
    let shown = vec![word(1, 2, Role::Successor, LOG), word(2, 3, Role::Successor, LOG)];
    let pins = vec![Pin { key: key(2), by: Some(key(1)) }, Pin { key: key(3), by: Some(key(2)) }];
    assert_eq!(trust.judge(&down(3, shown)), Judgement::Trusted(pins.clone()));
    assert_eq!(trust.judge(&down(3, vec![])), Judgement::Stranger(key(3)), "not pinned yet");
    trust.pinned(pins.clone());
    assert_eq!(trust.judge(&down(3, vec![])), Judgement::Trusted(vec![]));
    // Whom a key has named that is not trusted any more is not either.
    trust.set(TrustSettings { keys: vec![key(9)], trust_first: false });
    assert_eq!(trust.judge(&down(3, vec![])), Judgement::Stranger(key(3)));
}

#[test]
fn pins_are_read_as_they_were_written() {
    let pins = vec![Pin { key: key(1), by: None }, Pin { key: key(2), by: Some(key(1)) }];
    assert_eq!(read_pins(&write_pins(&pins)), Some(pins));
    assert!(line_to_add(&key(1)).contains(&key(1).to_string()));
}

#[test]
fn only_this_machine_is_loopback() {
    for (host, is) in
        [("127.0.0.1", true), ("127.8.0.1", true), ("::1", true), ("localhost", true), ("LocalHost", true)]
            .into_iter()
            .chain([
                ("10.0.0.1", false),
                ("localhost.example", false),
                ("", false),
                ("0.0.0.0", false),
                ("broker", false),
            ])
    {
        assert_eq!(is_loopback(host), is, "{host}");
    }
}
