//! Finds dead letters in the log, to send their events again.

use std::ops::{ControlFlow, Range};

use afferent_protocol::event::Body;
use afferent_protocol::ids::{Offset, SourceId};

use super::dead::DeadLetter;
use crate::kinds::DEAD_LETTER;
use crate::log::events::{Item, Walk};
use crate::log::records::Decoder;
use crate::log::{Kinds, ReadLog, ReadLogError, Wanted};

/// A dead letter in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FoundDeadLetter {
    /// Its own offset.
    pub at: Offset,
    /// The offset of the event that it is about.
    pub target: Offset,
}

/// The first dead letter of a forward among these offsets. Blocks.
pub(super) fn next_dead_letter(
    log: &dyn ReadLog,
    forward: &SourceId,
    among: Range<Offset>,
) -> Result<Option<FoundDeadLetter>, ReadLogError> {
    let own = log.collector_name();
    let partition = log.partition().get();
    let wanted = Wanted { kinds: Kinds::of_type(DEAD_LETTER), ..crate::subscribe::Filter::default().wanted() };
    let (mut decoder, mut scratch, mut found) = (Decoder::default(), Vec::new(), None);
    let start = among.start;
    let _ = Walk::over(log, among.clone()).wanting(&wanted).run(&mut scratch, &mut |part| {
        let is_own = matches!(&part, crate::log::events::WalkItem::Entry(entry) if own == Some(entry.header().source));
        if !is_own {
            return ControlFlow::Continue(());
        }
        part.each(&mut decoder, |item| {
            let Item::Event(event) = item else { return ControlFlow::Continue(()) };
            let Body::Derived(derived) = &event.record.event.body else { return ControlFlow::Continue(()) };
            let at = event.address.offset;
            if derived.kind != DEAD_LETTER || !(start..among.end).contains(&at) {
                return ControlFlow::Continue(());
            }
            let Some((letter, target)) = DeadLetter::read(derived.json) else { return ControlFlow::Continue(()) };
            if letter.forward != forward.as_str() || letter.partition != partition {
                return ControlFlow::Continue(());
            }
            found = Some(FoundDeadLetter { at, target });
            ControlFlow::Break(())
        });
        if found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found)
}
