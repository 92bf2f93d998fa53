//! Whether an amendment of an event would change a model.

use afferent_protocol::ids::Offset;

use super::super::amendment::Action;
use super::super::{Amendable, BuiltIn};
use super::Models;

impl Models {
    /// Whether the running models accept this action about the event at this offset. [`Amendable::Yes`] from models
    /// that have not reached that event yet. Blocks.
    pub fn amendable(&self, of: Offset, action: Action) -> Amendable {
        let mut definitions = self.definitions().iter();
        let Some(alarms) = definitions.find(|definition| matches!(definition.of, BuiltIn::Alarms(_))) else {
            return Amendable::Yes;
        };
        let live = self.live();
        match live.member(&alarms.id) {
            Some(member) if member.failed.is_none() && of < live.next() => member.model.amendable(of, action),
            _ => Amendable::Yes,
        }
    }
}
