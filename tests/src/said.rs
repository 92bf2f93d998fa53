//! Signed messages of the session, made by hand.

use afferent_protocol::batch::ClockReading;
use afferent_protocol::ids::{SourceId, Timestamp};
use afferent_protocol::session::Control;
use afferent_protocol::session::signed::{Down, Instance, Nonce, Place, Up, UpContent};
use afferent_protocol::sign::Identity;

/// What the agent of this name says over a connection with this nonce.
pub fn up(source: &SourceId, identity: &Identity, nonce: Nonce, answer: Nonce, control: Control) -> Vec<u8> {
    up_with(source, identity, nonce, answer, UpContent::Control(control))
}

/// [`up`], with whatever content.
pub fn up_with(source: &SourceId, identity: &Identity, nonce: Nonce, answer: Nonce, content: UpContent) -> Vec<u8> {
    up_formerly(source, &[], identity, nonce, answer, content)
}

/// [`up_with`], of an agent that says it had these names before.
pub fn up_formerly(
    source: &SourceId,
    former: &[SourceId],
    identity: &Identity,
    nonce: Nonce,
    answer: Nonce,
    content: UpContent,
) -> Vec<u8> {
    let up = Up {
        log_id: [0; 16],
        nonce,
        answer,
        key: identity.public_key(),
        instance: Instance([7; 16]),
        clock: ClockReading::default(),
        former: former.to_vec(),
        content,
    };
    up.sign(source, identity)
}

/// What a collector with this key, whose log is at this place, says to the agent of this name, over a connection with
/// this nonce.
pub fn down(source: &SourceId, identity: &Identity, nonce: Nonce, place: Place, control: Control) -> Vec<u8> {
    let down = Down {
        nonce,
        answer: Nonce::NONE,
        key: identity.public_key(),
        place,
        time: Timestamp::default(),
        is_proved: true,
        endorsements: Vec::new(),
        attestation: None,
        content: control,
    };
    down.sign(source, identity)
}

/// What the collector's message says, whoever has signed it.
pub fn heard(message: &[u8]) -> Option<Control> {
    Down::read(message).ok().map(|down| down.claim().content.clone())
}

/// What the agent's message says, whoever has signed it.
pub fn said(message: &[u8]) -> Option<Control> {
    match &Up::read(message).ok()?.claim().content {
        UpContent::Control(control) => Some(control.clone()),
        UpContent::State { .. } => None,
    }
}
