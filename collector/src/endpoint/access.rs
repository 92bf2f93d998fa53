//! Who a client is, and whether a topic is its own: one comparison.

use std::net::SocketAddr;

use afferent_protocol::ids::SourceId;
use afferent_protocol::sign::sha256;

use super::answers::ConnectRefusal;

/// A user that may log in; its name is the agent's.
#[derive(Clone)]
pub struct User {
    name: SourceId,
    password_sha256: [u8; 32],
}

impl User {
    /// A user with this password.
    pub fn new(name: SourceId, password: &[u8]) -> Self {
        Self { name, password_sha256: sha256(password) }
    }
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({})", self.name)
    }
}

/// How clients prove who they are.
#[derive(Clone, Debug)]
pub enum Access {
    /// By a certificate of the client CA: the common name of its subject is the agent's name.
    Certificates,
    /// By user name and password.
    Users(Vec<User>),
    /// Not at all, on a loopback address only: the first topic that a connection uses ties it to that topic's agent.
    Open,
}

impl Access {
    /// Whether this is enough for a listener on `address`.
    pub fn is_enough_for(&self, address: &SocketAddr) -> bool {
        !matches!(self, Self::Open) || address.ip().is_loopback()
    }

    /// Who a client is; `None` is not known yet.
    pub(super) fn identify(
        &self,
        certificate: Option<SourceId>,
        user: Option<&str>,
        password: Option<&[u8]>,
    ) -> Result<Option<SourceId>, ConnectRefusal> {
        match self {
            Self::Certificates => certificate.map(Some).ok_or(ConnectRefusal::Certificate),
            Self::Users(users) => {
                let (user, given) = (user.unwrap_or_default(), sha256(password.unwrap_or_default()));
                // Digests are compared: how long that takes tells nothing about the password.
                let known = users.iter().find(|known| known.name.as_str() == user && known.password_sha256 == given);
                known.map(|known| Some(known.name)).ok_or(ConnectRefusal::Login)
            }
            Self::Open => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SourceId {
        SourceId::new(text).unwrap()
    }

    #[test]
    fn a_user_is_known_by_name_and_password_together() {
        let access = Access::Users(vec![User::new(name("press-88"), b"one"), User::new(name("press-89"), b"two")]);
        assert_eq!(access.identify(None, Some("press-89"), Some(b"two")), Ok(Some(name("press-89"))));
        for (user, password) in [
            (Some("press-89"), Some(&b"one"[..])),
            (Some("press-90"), Some(b"one")),
            (Some("press-88"), None),
            (None, Some(b"one")),
        ] {
            assert_eq!(access.identify(None, user, password), Err(ConnectRefusal::Login));
        }
    }

    #[test]
    fn a_certificate_beats_what_the_client_says_of_itself() {
        let identified = Access::Certificates.identify(Some(name("press-88")), Some("press-89"), Some(b"x"));
        assert_eq!(identified, Ok(Some(name("press-88"))));
        assert_eq!(Access::Certificates.identify(None, Some("press-89"), None), Err(ConnectRefusal::Certificate));
    }

    #[test]
    fn without_authentication_only_this_machine_may_come() {
        assert!(Access::Open.is_enough_for(&"127.0.0.1:1883".parse().unwrap()));
        assert!(Access::Open.is_enough_for(&"[::1]:1883".parse().unwrap()));
        assert!(!Access::Open.is_enough_for(&"0.0.0.0:1883".parse().unwrap()));
        assert!(Access::Users(Vec::new()).is_enough_for(&"0.0.0.0:1883".parse().unwrap()));
    }
}
