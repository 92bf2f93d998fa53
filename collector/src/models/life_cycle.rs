//! The life cycle of an alarm after ISA-18.2 (IEC 62682), as a table.
//!
//! ```text
//!              raised                 acknowledged
//!   normal ─────────────▶ unacked ───────────────▶ acked
//!     ▲                   active                   active
//!     │                     │ cleared                │ cleared
//!     │   acknowledged      ▼                        │
//!     ├──────────────── unacked cleared              │
//!     └──────────────────────────────────────────────┘
//! ```
//!
//! Shelving is independent: a shelved alarm keeps changing, and is shown as shelved until it is unshelved or its time
//! is up.

use afferent_protocol::event::AlarmTransition;
use serde::{Deserialize, Serialize};

use AlarmTransition::{Acknowledged, Cleared, Raised};
use Stage::{AckedActive, Normal, UnackedActive, UnackedCleared};

/// The stage of an alarm's life cycle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// No alarm is active.
    #[default]
    Normal,
    /// Active, not acknowledged.
    UnackedActive,
    /// Active, acknowledged.
    AckedActive,
    /// Cleared, not acknowledged.
    UnackedCleared,
}

/// The transitions. Other pairs change nothing.
const TRANSITIONS: [(Stage, AlarmTransition, Stage); 6] = [
    (Normal, Raised, UnackedActive),
    (UnackedActive, Acknowledged, AckedActive),
    (UnackedActive, Cleared, UnackedCleared),
    (AckedActive, Cleared, Normal),
    (UnackedCleared, Acknowledged, Normal),
    // A new occurrence. A raise of an active alarm is not new.
    (UnackedCleared, Raised, UnackedActive),
];

impl Stage {
    /// The stage after a transition.
    pub fn after(self, transition: AlarmTransition) -> Self {
        let found = TRANSITIONS.iter().find(|(from, by, _)| *from == self && *by == transition);
        found.map_or(self, |(_, _, to)| *to)
    }

    /// The name that readers see.
    pub fn name(self) -> &'static str {
        match self {
            Normal => "normal",
            UnackedActive => "unacked_active",
            AckedActive => "acked_active",
            UnackedCleared => "unacked_cleared",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alarm_that_is_raised_is_seen_by_somebody_before_it_is_normal_again() {
        for way in [[Acknowledged, Cleared], [Cleared, Acknowledged]] {
            let end = way.into_iter().fold(Normal.after(Raised), Stage::after);
            assert_eq!(end, Normal);
        }
        assert_eq!(Normal.after(Raised).after(Cleared), UnackedCleared);
        assert_eq!(UnackedCleared.after(Raised), UnackedActive);
    }

    #[test]
    fn what_makes_no_sense_changes_nothing() {
        assert_eq!(Normal.after(Cleared), Normal);
        assert_eq!(Normal.after(Acknowledged), Normal);
        assert_eq!(AckedActive.after(Acknowledged), AckedActive);
        assert_eq!(AckedActive.after(Raised), AckedActive);
        assert_eq!(UnackedActive.after(Raised), UnackedActive);
        assert_eq!(UnackedCleared.after(Cleared), UnackedCleared);
    }
}
