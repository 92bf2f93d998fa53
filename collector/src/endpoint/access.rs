//! The identity of a client, and whether a topic is its own: one comparison.

use std::net::SocketAddr;

use afferent_protocol::ids::SourceId;
use afferent_protocol::sign::sha256;

use super::answers::ConnectRefusal;

/// A user that may log in; the user name is the agent's name.
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

/// How clients authenticate.
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
    /// Whether clients need not authenticate.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self, Self::Open)
    }

    /// Whether this access is strict enough for a listener on `address`.
    pub fn is_enough_for(&self, address: &SocketAddr) -> bool {
        !matches!(self, Self::Open) || address.ip().is_loopback()
    }

    /// Whether a client that was admitted as `agent` by the access `before` would be admitted as `agent` by this one
    /// too, with the same credentials; `same_ca`: whether client certificates are of the same CA.
    pub(super) fn keeps(&self, before: &Self, agent: &SourceId, same_ca: bool) -> bool {
        match (self, before) {
            (Self::Open, Self::Open) => true,
            (Self::Certificates, Self::Certificates) => same_ca,
            (Self::Users(users), Self::Users(before)) => {
                let of =
                    |users: &[User]| users.iter().find(|user| user.name == *agent).map(|user| user.password_sha256);
                of(users).is_some() && of(users) == of(before)
            }
            _ => false,
        }
    }

    /// The identity of a client; `None` where its first topic will decide it.
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
                // The comparison is of digests: the time that it takes reveals nothing about the password.
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
    fn a_client_whose_password_changed_or_is_gone_is_disconnected() {
        let users = |users: &[(&str, &str)]| {
            Access::Users(users.iter().map(|(user, password)| User::new(name(user), password.as_bytes())).collect())
        };
        let before = users(&[("press-88", "one"), ("press-89", "two"), ("press-90", "three")]);
        let after = users(&[("press-88", "one"), ("press-89", "2")]);
        let kept = ["press-88", "press-89", "press-90"].map(|agent| after.keeps(&before, &name(agent), false));
        assert_eq!(kept, [true, false, false]);
        assert!(!after.keeps(&Access::Open, &name("press-88"), true), "nobody had to show anything");
        assert!(Access::Open.keeps(&Access::Open, &name("press-88"), false));
        let by_certificate = |same_ca| Access::Certificates.keeps(&Access::Certificates, &name("press-88"), same_ca);
        assert_eq!([true, false].map(by_certificate), [true, false]);
    }

    #[test]
    fn without_authentication_only_this_machine_may_come() {
        assert!(Access::Open.is_enough_for(&"127.0.0.1:1883".parse().unwrap()));
        assert!(Access::Open.is_enough_for(&"[::1]:1883".parse().unwrap()));
        assert!(!Access::Open.is_enough_for(&"0.0.0.0:1883".parse().unwrap()));
        assert!(Access::Users(Vec::new()).is_enough_for(&"0.0.0.0:1883".parse().unwrap()));
    }
}
