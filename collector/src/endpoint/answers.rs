//! Answers to clients, with their codes in both versions.

use mqtt_protocol_core::mqtt::result_code::{ConnectReasonCode, ConnectReturnCode, PubackReasonCode};

use crate::refused::RefusalKind;

/// Why a client may not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ConnectRefusal {
    /// No such user, or a wrong password.
    #[error("the user name or password is wrong")]
    Login,
    /// A certificate without a name that an agent can have.
    #[error("the client certificate's subject must have exactly one common name, which must be an agent's name")]
    Certificate,
    /// A last will on a topic that is not its own.
    #[error("the last will's topic is not the client's own state topic")]
    Will,
    /// The limit of connections is reached.
    #[error("the collector has too many connections")]
    TooMany,
}

impl ConnectRefusal {
    pub const fn kind(self) -> RefusalKind {
        match self {
            Self::Login => RefusalKind::Login,
            Self::Certificate => RefusalKind::Certificate,
            Self::Will => RefusalKind::Will,
            Self::TooMany => RefusalKind::TooManyConnections,
        }
    }

    pub fn reason_code(self) -> ConnectReasonCode {
        match self {
            Self::Login => ConnectReasonCode::BadUserNameOrPassword,
            Self::Certificate | Self::Will => ConnectReasonCode::NotAuthorized,
            Self::TooMany => ConnectReasonCode::QuotaExceeded,
        }
    }

    pub fn return_code(self) -> ConnectReturnCode {
        match self {
            Self::Login => ConnectReturnCode::BadUserNameOrPassword,
            Self::Certificate | Self::Will => ConnectReturnCode::NotAuthorized,
            Self::TooMany => ConnectReturnCode::ServerUnavailable,
        }
    }
}

/// The answer to a message with quality of service 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PublishAnswer {
    /// It is durable.
    Taken,
    /// It is not on a topic of the client's, or not under the key that the client's name is held to.
    NotAuthorized,
    /// It is on a topic that does not exist.
    TopicInvalid,
    /// Admission refused some of it.
    PayloadInvalid,
    /// It is refused for now: too many new names come.
    QuotaExceeded,
}

impl PublishAnswer {
    pub fn reason_code(self) -> PubackReasonCode {
        match self {
            Self::Taken => PubackReasonCode::Success,
            Self::NotAuthorized => PubackReasonCode::NotAuthorized,
            Self::TopicInvalid => PubackReasonCode::TopicNameInvalid,
            Self::PayloadInvalid => PubackReasonCode::PayloadFormatInvalid,
            Self::QuotaExceeded => PubackReasonCode::QuotaExceeded,
        }
    }
}

/// The answer to a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grant {
    Granted,
    NotAuthorized,
}

/// Why the server ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Farewell {
    TakenOver,
    Stopping,
    SlowReader,
    KeepAlive,
    NotAuthorized,
    QosNotSupported,
    TooManyFilters,
    ProtocolError,
}
