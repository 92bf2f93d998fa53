//! Statements of the collector, its operators and agents about sources: terms, keys, names, ends.

use afferent_protocol::endorsement::{ENDORSEMENT_LEN, Endorsement};
use afferent_protocol::event::LifeCycle;
use afferent_protocol::ids::{Offset, SourceId, Timestamp};
use afferent_protocol::limits::ENDORSEMENTS_MAX;
use afferent_protocol::sign::PublicKey;

use super::Sources;
use super::view::{ConflictView, RetiredView, RolledBackView};
use crate::core::Notice;
use crate::limits::{ALIASES_MAX, ENDORSEMENTS_KEPT, ROLLED_BACK_EVENTS_MAX};

impl Sources {
    /// Takes a life-cycle event of this source; statements about other sources count from the collector alone.
    pub(super) fn learn_statement(&mut self, by: SourceId, time: Timestamp, statement: &LifeCycle<'_>) {
        if let LifeCycle::RingReplaced { .. } = statement
            && let Some(source) = self.get_or_add(by)
        {
            source.ring_replaced(time);
        }
        if by != self.own {
            return;
        }
        match *statement {
            LifeCycle::TermBegun { partition, term, first, .. } if partition == self.terms.partition().get() => {
                self.terms.add_term(term, first);
            }
            LifeCycle::Attested { attestation } => {
                self.unattested.attested(attestation);
                // A log that has lost the event with which a term began still has it in an attestation.
                if let Some(newest) = self.unattested.newest().filter(|newest| !self.terms.has(newest.term)) {
                    self.terms.add_term(newest.term, newest.end);
                }
            }
            LifeCycle::RolledBack { source, term, until, end, time } => {
                self.with_named(source, |source| source.rolled_back = Some(RolledBackView { term, until, end, time }));
            }
            LifeCycle::Retired { source, who, why } => {
                let retired = RetiredView { time, who: who.to_owned(), why: why.to_owned() };
                self.with_named(source, |source| source.retired = Some(retired));
            }
            LifeCycle::KeyReplaced { source, key, who } => {
                if let Ok(named) = SourceId::new(source) {
                    let _ = self.pin(named, PublicKey(key));
                }
                // An operator's decision ends the conflict.
                self.with_named(source, |source| {
                    (source.conflict, source.other_key) = (None, None);
                    source.replaced_by = Some(who.to_owned());
                });
            }
            LifeCycle::Conflict { source, boots, addresses } => {
                let conflict = ConflictView { time, boots, addresses: addresses.to_owned() };
                self.with_named(source, |source| source.conflict = Some(conflict));
            }
            LifeCycle::KeyEndorsed { endorsement } => {
                if let Ok(endorsement) = endorsement.try_into() {
                    self.endorsed(endorsement);
                }
            }
            LifeCycle::Alias { source, former } => {
                if let Ok(former) = SourceId::new(former) {
                    self.with_named(former.as_str(), |former| former.is_former = true);
                    self.with_named(source, |source| {
                        if source.aliases.len() < ALIASES_MAX {
                            source.aliases.insert(former);
                        }
                    });
                }
            }
            LifeCycle::Forgotten { source } => {
                if let Ok(name) = SourceId::new(source) {
                    self.forget(&name);
                }
            }
            _ => {}
        }
    }

    fn with_named(&mut self, name: &str, change: impl FnOnce(&mut super::Source)) {
        let Ok(name) = SourceId::new(name) else { return };
        if let Some(source) = self.get_or_add(name) {
            change(source);
            self.heard_of(name);
        }
    }

    fn endorsed(&mut self, endorsement: [u8; ENDORSEMENT_LEN]) {
        if !self.endorsements.contains(&endorsement) && self.endorsements.len() < ENDORSEMENTS_KEPT {
            self.endorsements.push(endorsement);
        }
    }

    /// Whether the log has this endorsement.
    pub(crate) fn knows(&self, endorsement: &[u8; ENDORSEMENT_LEN]) -> bool {
        self.endorsements.contains(endorsement)
    }

    /// The newest endorsements that lead from earlier keys to this key, oldest first.
    pub(crate) fn leading_to(&self, key: PublicKey) -> Vec<[u8; ENDORSEMENT_LEN]> {
        let mut chain = Vec::new();
        let mut wanted = key;
        // Each is used once, so that keys which endorse each other end the walk.
        for bytes in self.endorsements.iter().rev() {
            if chain.len() < ENDORSEMENTS_MAX
                && let Some(Endorsement { key, by, .. }) = Endorsement::read(bytes)
                && key == wanted
            {
                chain.push(*bytes);
                wanted = by;
            }
        }
        chain.reverse();
        chain
    }

    /// Applies an event that the collector is about to log.
    pub(crate) fn noted(&mut self, notice: &Notice, time: Timestamp) {
        let own = self.own;
        match notice {
            Notice::RolledBack { source, term, until, end, time } => {
                let (source, term, until) = (source.as_str(), *term, *until);
                self.learn_statement(
                    own,
                    *time,
                    &LifeCycle::RolledBack { source, term, until, end: *end, time: *time },
                );
            }
            Notice::Retired { source, who, why } => {
                self.learn_statement(own, time, &LifeCycle::Retired { source: source.as_str(), who, why });
            }
            Notice::KeyReplaced { source, key, who } => {
                self.learn_statement(own, time, &LifeCycle::KeyReplaced { source: source.as_str(), key: key.0, who });
            }
            Notice::KeyEndorsed { endorsement } => self.endorsed(*endorsement),
            Notice::Conflict { source, boots, addresses } => {
                let (source, boots) = (source.as_str(), *boots);
                self.learn_statement(own, time, &LifeCycle::Conflict { source, boots, addresses });
            }
            Notice::Alias { source, former } => {
                let (source, former) = (source.as_str(), former.as_str());
                self.learn_statement(own, time, &LifeCycle::Alias { source, former });
            }
            _ => {}
        }
    }

    /// Statements to re-log before the log's beginning is removed: retirements, names, endorsements.
    pub(crate) fn statements(&self) -> impl Iterator<Item = Notice> + use<> {
        let mut notices = Vec::new();
        for (name, source) in self.sources.iter() {
            if let Some(RetiredView { who, why, .. }) = source.retired.clone() {
                notices.push(Notice::Retired { source: *name, who, why });
            }
            if let Some(ConflictView { boots, addresses, .. }) = source.conflict.clone() {
                notices.push(Notice::Conflict { source: *name, boots, addresses });
            }
            // A source that has delivered needs only its key; without that event, the name of any other would not be
            // kept.
            if let (Some(who), Some(key)) = (&source.replaced_by, self.key(name))
                && !source.has_delivered()
            {
                notices.push(Notice::KeyReplaced { source: *name, key, who: who.clone() });
            }
            notices.extend(source.aliases.iter().map(|former| Notice::Alias { source: *name, former: *former }));
        }
        notices.extend(self.endorsements.iter().map(|endorsement| Notice::KeyEndorsed { endorsement: *endorsement }));
        notices.into_iter()
    }

    /// Whether an acknowledgement of this place adds to what the log records: it does for the first agents of a term,
    /// and for one with a larger end.
    pub(crate) fn is_rollback_new(&self, agent: SourceId, term: u64, end: Offset) -> bool {
        let told = |source: &super::Source| source.rolled_back.filter(|told| told.term == term);
        if self.get(&agent).and_then(told).is_some_and(|told| told.end >= end) {
            return false;
        }
        let of_term: Vec<_> = self.sources.iter().filter_map(|(_, source)| told(source)).collect();
        of_term.len() < ROLLED_BACK_EVENTS_MAX || of_term.iter().all(|told| told.end < end)
    }

    /// The keys that have signed for this log: the collector's own, the one that the log holds it to, and those from
    /// which endorsements lead to them.
    pub(crate) fn log_keys(&self, own: PublicKey) -> Vec<PublicKey> {
        let mut keys = vec![own];
        keys.extend(self.key(&self.own).filter(|key| *key != own));
        let endorsements: Vec<_> = self.endorsements.iter().filter_map(|bytes| Endorsement::read(bytes)).collect();
        let mut at = 0;
        while let Some(key) = keys.get(at).copied() {
            at += 1;
            let related = endorsements.iter().filter_map(|endorsement| match endorsement {
                Endorsement { key: to, by, .. } if *to == key => Some(*by),
                Endorsement { key: to, by, .. } if *by == key => Some(*to),
                _ => None,
            });
            let related: Vec<_> = related.filter(|related| !keys.contains(related)).collect();
            keys.extend(related);
        }
        keys
    }
}
