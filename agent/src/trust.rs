//! Which collectors an agent trusts.
//!
//! The configuration names their keys (`ship.collector_keys`). Where it names none, the first collector that answers is
//! trusted from then on, if allowed: on this machine, or with `ship.trust_first`. The learned keys are in the *pin*, a
//! file of the data directory. A trusted key may endorse others: a successor is pinned too, a colleague is trusted
//! whenever it shows the endorsement.

use std::fmt::Write;
use std::net::IpAddr;

use afferent_host::key::parse_public;
use afferent_protocol::endorsement::{ENDORSEMENT_LEN, Endorsement, Role};
use afferent_protocol::session::signed::{Down, LogId};
use afferent_protocol::sign::PublicKey;

use crate::limits::PINS_MAX;

/// The settings of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustSettings {
    /// The trusted keys.
    pub keys: Vec<PublicKey>,
    /// Whether the first collector that answers is trusted if no key is named.
    pub trust_first: bool,
}

/// A key that an agent has learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The key.
    pub key: PublicKey,
    /// The key that has named this one as its successor; `None` for the key of the first contact.
    pub by: Option<PublicKey>,
}

/// Whether a message counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It counts; these successors are to be pinned.
    Trusted(Vec<Pin>),
    /// It counts once this key is pinned, durably.
    First(Pin),
    /// It does not count. This is the key to name if the collector is the right one.
    Stranger(PublicKey),
}

/// The keys that an agent trusts; see the module.
#[derive(Debug, Default)]
pub struct Trust {
    settings: TrustSettings,
    pins: Vec<Pin>,
    trusted: Vec<PublicKey>,
    /// The endorsements that were checked last, and for which key and log.
    checked: Option<(PublicKey, LogId, Vec<[u8; ENDORSEMENT_LEN]>)>,
}

impl Trust {
    /// Trusts the keys of the settings and of the pin.
    pub fn new(pins: Vec<Pin>) -> Self {
        let mut trust = Self { pins, ..Self::default() };
        trust.derive();
        trust
    }

    /// Applies new settings.
    pub fn set(&mut self, settings: TrustSettings) {
        self.settings = settings;
        self.derive();
    }

    /// The keys in the pin.
    pub fn pins(&self) -> &[Pin] {
        &self.pins
    }

    /// Applies the new content of the pin.
    pub fn pinned(&mut self, pins: Vec<Pin>) {
        self.pins = pins;
        self.derive();
    }

    /// Whether any collector is trusted.
    pub fn trusts_anyone(&self) -> bool {
        !self.trusted.is_empty()
    }

    /// Keys of the configuration, or of the first contact where it names none, and their successors.
    fn derive(&mut self) {
        self.checked = None;
        self.trusted.clone_from(&self.settings.keys);
        if self.trusted.is_empty() {
            self.trusted = self.pins.iter().filter(|pin| pin.by.is_none()).map(|pin| pin.key).collect();
        }
        // A successor stands behind who has named it.
        for pin in &self.pins {
            if pin.by.is_some_and(|by| self.trusted.contains(&by)) && !self.trusted.contains(&pin.key) {
                self.trusted.push(pin.key);
            }
        }
    }

    /// Judges a message whose signature, by the key that it names, was checked.
    pub fn judge(&mut self, down: &Down) -> Judgement {
        if self.trusted.contains(&down.key) {
            return Judgement::Trusted(Vec::new());
        }
        let is_checked = |(key, log_id, endorsements): &(PublicKey, LogId, Vec<_>)| {
            (*key, *log_id) == (down.key, down.place.log_id) && *endorsements == down.endorsements
        };
        if self.checked.as_ref().is_some_and(is_checked) {
            return Judgement::Trusted(Vec::new());
        }
        if down.trusted_by(&self.trusted).is_some() {
            self.checked = Some((down.key, down.place.log_id, down.endorsements.clone()));
            return Judgement::Trusted(self.successors(down));
        }
        let key = head(down);
        if self.settings.trust_first && !self.trusts_anyone() && self.pins.is_empty() {
            Judgement::First(Pin { key, by: None })
        } else {
            Judgement::Stranger(key)
        }
    }

    /// Whether a key is trusted, or has signed this message, which is.
    pub fn knows(&self, key: &PublicKey, message: &Down) -> bool {
        *key == message.key || self.trusted.contains(key)
    }

    /// The successors of trusted keys among what a trusted message endorses.
    fn successors(&self, down: &Down) -> Vec<Pin> {
        let mut known = self.trusted.clone();
        let mut pins = Vec::new();
        for endorsement in down.endorsements.iter().filter_map(|bytes| Endorsement::read(bytes)) {
            let is_new = known.contains(&endorsement.by) && !known.contains(&endorsement.key);
            if is_new && endorsement.role == Role::Successor && self.pins.len() + pins.len() < PINS_MAX {
                known.push(endorsement.key);
                pins.push(Pin { key: endorsement.key, by: Some(endorsement.by) });
            }
        }
        pins
    }
}

/// The log's key: the one that has signed, or the one that it works for.
fn head(down: &Down) -> PublicKey {
    let mut key = down.key;
    for bytes in down.endorsements.iter().rev() {
        match Endorsement::read(bytes) {
            Some(word) if (word.key, word.log_id, word.role) == (key, down.place.log_id, Role::Colleague) => {
                key = word.by
            }
            _ => break,
        }
    }
    key
}

/// The line of a configuration that makes an agent trust this key.
pub fn line_to_add(key: &PublicKey) -> String {
    format!("`collector_keys = [\"{key}\"]` under [ship] in the agent's configuration")
}

/// Whether only programs on this machine can be at the other end.
pub fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The text of the pin.
pub fn write_pins(pins: &[Pin]) -> String {
    let mut text =
        "# Keys of collectors that this agent has learned. `ship.collector_keys` goes before them.\n".to_owned();
    for pin in pins {
        let _ = match &pin.by {
            None => writeln!(text, "{}", pin.key),
            Some(by) => writeln!(text, "{} by {by}", pin.key),
        };
    }
    text
}

/// Parses the text of a pin; `None` when it is not one.
pub fn read_pins(text: &str) -> Option<Vec<Pin>> {
    let mut pins = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (key, by) = match line.split_once(" by ") {
            None => (parse_public(line)?, None),
            Some((key, by)) => (parse_public(key)?, Some(parse_public(by)?)),
        };
        pins.push(Pin { key, by });
    }
    (!pins.is_empty() && pins.len() <= PINS_MAX).then_some(pins)
}

#[cfg(test)]
mod tests;
