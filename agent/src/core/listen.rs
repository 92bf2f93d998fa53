//! What comes in over the transport: what counts of it, and what is kept of that.
//!
//! A message counts when a trusted key has signed it, about this agent, over the nonce of the open connection.
//! Everything else is counted by cause, reported now and then, and changes nothing.

use afferent_host::disk::Disk;
use afferent_protocol::session::Control;
use afferent_protocol::session::signed::{Down, LogId, Nonce, Place};
use afferent_protocol::sign::PublicKey;

use super::{AgentCore, Now};
use crate::keep::{AttestationBytes, Keepsake};
use crate::limits::{AGAIN_MAX, ATTESTATIONS_MAX, RECEIPT_MS, REPORT_MS};
use crate::trust::{Judgement, Pin, line_to_add};

/// Messages that did not count, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored {
    /// They were not messages of the session, or were damaged.
    pub undecodable: u64,
    /// They had no signature of a trusted key, or were about a different agent.
    pub untrusted: u64,
    /// They answered an earlier connection, or were of a different term of the log than the one that has welcomed.
    pub stale: u64,
}

/// Why a message does not count.
#[derive(Debug)]
enum Refused {
    Undecodable,
    Stale,
    /// The key that it names has not signed it, or not about this agent.
    Forged,
    Stranger(PublicKey),
    /// It counts once its key is pinned.
    Waits,
}

/// What is kept beside the ring log.
#[derive(Debug, Default)]
pub(super) struct Memory {
    receipt: Option<(Place, Vec<u8>)>,
    /// The receipt that is to be shown to the collector, as it was when that welcomed: an ack that comes first must not
    /// take its place.
    shows: Option<Vec<u8>>,
    /// The log and term that it was shown to over this connection.
    pub is_shown_at: Option<(LogId, u64)>,
    attestations: Vec<AttestationBytes>,
    /// The files to be written, and since when a receipt waits.
    writes_attestations: bool,
    receipt_due_ms: Option<u64>,
    kept_at: Option<(LogId, u64)>,
    /// Pins to be written, and the message that waits for the first of them.
    pins: Option<Vec<Pin>>,
    waiting: Vec<u8>,
    reported_at_ms: Option<u64>,
}

impl Memory {
    pub fn take(&mut self, receipt: Option<Vec<u8>>, attestations: Vec<AttestationBytes>) {
        self.attestations = attestations;
        self.receipt = receipt.and_then(|bytes| Some((Down::read(&bytes).ok()?.claim().place, bytes)));
    }

    /// The log of the newest receipt.
    pub fn log_id(&self) -> Option<LogId> {
        self.receipt.as_ref().map(|(place, _)| place.log_id)
    }

    /// Returns the receipt once, when it must be shown.
    pub fn show(&mut self) -> Option<Vec<u8>> {
        self.shows.take()
    }

    /// A collector's log is at `place`: it sees the receipt when the receipt is of a different log or term, or further.
    fn compare(&mut self, place: &Place) {
        let Some((known, bytes)) = &self.receipt else { return };
        let here = (place.log_id, place.term);
        let fits = (known.log_id, known.partition, known.term) == (place.log_id, place.partition, place.term)
            && known.offset <= place.offset;
        if !fits && self.is_shown_at != Some(here) {
            (self.shows, self.is_shown_at) = (Some(bytes.clone()), Some(here));
        }
    }

    /// Keeps an ack, unless a newer one is kept.
    fn acked(&mut self, place: Place, message: &[u8], now: &Now) {
        let here = (place.log_id, place.term);
        match &mut self.receipt {
            Some((known, _)) if (known.log_id, known.term) == here && known.offset > place.offset => return,
            Some((known, bytes)) => {
                *known = place;
                bytes.clear();
                bytes.extend_from_slice(message);
            }
            None => self.receipt = Some((place, message.to_vec())),
        }
        // The first of a term at once, the others now and then.
        let due_ms = if self.kept_at == Some(here) { now.ms + RECEIPT_MS } else { now.ms };
        self.kept_at = Some(here);
        self.receipt_due_ms = Some(self.receipt_due_ms.map_or(due_ms, |known| known.min(due_ms)));
    }

    fn attested(&mut self, bytes: &AttestationBytes) {
        if self.attestations.last() == Some(bytes) {
            return;
        }
        if self.attestations.len() == ATTESTATIONS_MAX {
            self.attestations.remove(0);
        }
        self.attestations.push(*bytes);
        self.writes_attestations = true;
    }
}

impl<D: Disk> AgentCore<D> {
    /// A message came in. Its nonce identifies the name that it answers.
    pub fn receive(&mut self, message: &[u8], now: &Now) {
        let nonce = Down::read(message).map_or(Nonce::NONE, |said| said.claim().nonce);
        match self.others.iter().position(|other| other.nonce == nonce && nonce != Nonce::NONE) {
            Some(at) => self.speaking(at, |core| core.receive_as(message, now)),
            None => self.receive_as(message, now),
        }
    }

    fn receive_as(&mut self, message: &[u8], now: &Now) {
        match self.judge(message) {
            Ok(down) => self.heard(&down, message, now),
            Err(refused) => self.ignore(&refused, now),
        }
    }

    fn judge(&mut self, message: &[u8]) -> Result<Down, Refused> {
        let said = Down::read(message).map_err(|_| Refused::Undecodable)?;
        if said.claim().nonce != self.current.nonce || self.current.nonce == Nonce::NONE {
            return Err(Refused::Stale);
        }
        let down = said.verify_own_key(&self.current.name).ok_or(Refused::Forged)?;
        match self.trust.judge(&down) {
            Judgement::Trusted(successors) => {
                self.pin(successors);
                Ok(down)
            }
            Judgement::First(pin) => {
                self.memory.waiting = message.to_vec();
                self.pin(vec![pin]);
                Err(Refused::Waits)
            }
            Judgement::Stranger(key) => Err(Refused::Stranger(key)),
        }
    }

    /// Stores these keys in the pin.
    fn pin(&mut self, new: Vec<Pin>) {
        if !new.is_empty() {
            self.memory.pins = Some(self.trust.pins().iter().copied().chain(new).collect());
        }
    }

    /// The pin is on disk, as [`Keepsake::Pins`] asked for: its keys are believed.
    pub fn pinned(&mut self, pins: Vec<Pin>, now: &Now) {
        for pin in pins.iter().filter(|pin| !self.trust.pins().contains(pin)) {
            match &pin.by {
                None => tracing::warn!(
                    "first contact: from now on this agent trusts the collector with the key {}. Compare it with the \
                     key that the collector shows, and add: {}",
                    pin.key,
                    line_to_add(&pin.key)
                ),
                Some(by) => {
                    tracing::warn!("the collector's key {by} names {} as its successor, which is trusted now", pin.key)
                }
            }
        }
        self.trust.pinned(pins);
        let waiting = std::mem::take(&mut self.memory.waiting);
        if !waiting.is_empty() {
            self.receive(&waiting, now);
        }
    }

    /// A message that counts.
    fn heard(&mut self, down: &Down, message: &[u8], now: &Now) {
        self.stranger = None;
        if down.attested().is_some_and(|said| said.log_id == down.place.log_id && self.trust.knows(&said.key, down))
            && let Some(bytes) = &down.attestation
        {
            self.memory.attested(bytes);
        }
        match &down.content {
            Control::Welcome(welcome) if self.current.sender.is_answered_by(welcome) => {
                let is_new = std::mem::replace(&mut self.current.answer, down.answer) != down.answer;
                if !self.current.sender.is_streaming() {
                    self.current.at = Some(down.place);
                } else if !self.is_at(&down.place) {
                    // Its knowledge of the lanes was about a different log, or an earlier state of it.
                    self.current.sender.doubt();
                }
                if self.is_itself() {
                    self.memory.compare(&down.place);
                }
                self.current.sender.control(now.ms, &down.content);
                if is_new && !down.is_proved {
                    self.current.sender.request_hello();
                }
            }
            // One that is repeated changes nothing.
            Control::Welcome(_) => self.ignored.stale += 1,
            _ if !self.is_at(&down.place) => {
                self.ignored.stale += 1;
                self.current.sender.doubt();
            }
            Control::Again { lane, range } => {
                if self.current.again.len() < AGAIN_MAX && !self.current.again.contains(&(*lane, *range)) {
                    self.current.again.push_back((*lane, *range));
                }
            }
            content => {
                if self.is_itself() && matches!(content, Control::Ack(_)) {
                    self.memory.acked(down.place, message, now);
                }
                self.current.sender.control(now.ms, content);
            }
        }
    }

    /// Whether a place is in the log and term that has welcomed.
    fn is_at(&self, place: &Place) -> bool {
        let of = |place: &Place| (place.log_id, place.partition, place.term);
        self.current.at.as_ref().is_some_and(|at| of(at) == of(place))
    }

    fn ignore(&mut self, refused: &Refused, now: &Now) {
        let mut reports = true;
        match refused {
            Refused::Waits => return,
            Refused::Undecodable => self.ignored.undecodable += 1,
            Refused::Stale => {
                // What was on its way to the connection before is nothing to talk about.
                self.ignored.stale += 1;
                reports = false;
            }
            Refused::Forged => self.ignored.untrusted += 1,
            Refused::Stranger(key) => {
                self.ignored.untrusted += 1;
                if !self.current.sender.is_streaming() {
                    self.stranger = Some(*key);
                    self.stranger_answers = true;
                }
            }
        }
        let is_due = self.memory.reported_at_ms.is_none_or(|at_ms| now.ms >= at_ms + REPORT_MS);
        if reports && is_due {
            self.memory.reported_at_ms = Some(now.ms);
            self.report(refused);
        }
    }

    fn report(&self, refused: &Refused) {
        let Ignored { undecodable, untrusted, .. } = self.ignored;
        let so_far = format_args!("so far {undecodable} were not messages and {untrusted} had no trusted signature");
        match refused {
            Refused::Stranger(key) if !self.trust.trusts_anyone() => tracing::warn!(
                "a collector answers with the key {key}, but this agent trusts none yet: nothing is shipped. If it is \
                 your collector's key, add: {}",
                line_to_add(key)
            ),
            Refused::Stranger(key) => tracing::warn!(
                "the agent ignored a control message: it was signed with the key {key}, which is not trusted; \
                 {so_far}. If your collector has that key now, add: {}",
                line_to_add(key)
            ),
            _ => tracing::warn!(
                "the agent ignored a message on its topic from an unknown sender; {so_far}. The broker's access \
                 rules define who may publish there"
            ),
        }
    }

    /// The next file to be stored beside the ring log; `all` includes files that are not due yet.
    pub fn keepsake(&mut self, now: &Now, all: bool) -> Option<Keepsake> {
        let memory = &mut self.memory;
        if let Some(pins) = memory.pins.take() {
            return Some(Keepsake::Pins(pins));
        }
        if std::mem::take(&mut memory.writes_attestations) {
            return Some(Keepsake::Attestations(memory.attestations.clone()));
        }
        memory.receipt_due_ms.filter(|due_ms| all || *due_ms <= now.ms)?;
        memory.receipt_due_ms = None;
        memory.receipt.as_ref().map(|(_, bytes)| Keepsake::Receipt(bytes.clone()))
    }
}
