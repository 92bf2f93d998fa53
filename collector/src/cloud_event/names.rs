//! The names of the protocol's enums for people and JSON.

use afferent_protocol::event::{
    AlarmTransition, LossReason, MachineState, PreviousStop, Quality, ResealReason, Severity,
};

/// `good`, `uncertain`, `bad`.
pub const fn quality(quality: Quality) -> &'static str {
    match quality {
        Quality::Good => "good",
        Quality::Uncertain => "uncertain",
        Quality::Bad => "bad",
    }
}

/// `debug`, `info`, `warning`, `error`, `fatal`.
pub const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Debug => "debug",
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
        Severity::Fatal => "fatal",
    }
}

/// `not_available`, `out_of_service`, `not_executing`, `executing`.
pub const fn machine_state(state: MachineState) -> &'static str {
    match state {
        MachineState::NotAvailable => "not_available",
        MachineState::OutOfService => "out_of_service",
        MachineState::NotExecuting => "not_executing",
        MachineState::Executing => "executing",
    }
}

/// `raised`, `cleared`, `acknowledged`, `shelved`, `unshelved`.
pub const fn alarm_transition(transition: AlarmTransition) -> &'static str {
    match transition {
        AlarmTransition::Raised => "raised",
        AlarmTransition::Cleared => "cleared",
        AlarmTransition::Acknowledged => "acknowledged",
        AlarmTransition::Shelved => "shelved",
        AlarmTransition::Unshelved => "unshelved",
    }
}

/// `evicted`, `corrupt`, `torn_tail`, `device_full`, `refused`, `vanished`, `vanished_at_least`.
pub const fn loss_reason(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Evicted => "evicted",
        LossReason::Corrupt => "corrupt",
        LossReason::TornTail => "torn_tail",
        LossReason::DeviceFull => "device_full",
        LossReason::Refused => "refused",
        LossReason::Vanished => "vanished",
        LossReason::VanishedAtLeast => "vanished_at_least",
    }
}

/// `none`, `clean`, `crash`, `power_loss`.
pub const fn previous_stop(stop: PreviousStop) -> &'static str {
    match stop {
        PreviousStop::None => "none",
        PreviousStop::Clean => "clean",
        PreviousStop::Crash => "crash",
        PreviousStop::PowerLoss => "power_loss",
    }
}

/// `diverged`, `other_key`.
pub const fn reseal_reason(reason: ResealReason) -> &'static str {
    match reason {
        ResealReason::Diverged => "diverged",
        ResealReason::OtherKey => "other_key",
    }
}
