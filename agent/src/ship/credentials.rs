//! What is read from files and the environment again before each connection: login, certificates, CA.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ClientConfig;

use super::ShipSettings;
use crate::trouble::Troubles;

/// The agent's login and TLS configuration.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// User name and password.
    pub login: Option<(String, String)>,
    /// `Some` for `mqtts://`.
    pub tls: Option<Arc<ClientConfig>>,
    /// A hash over all of them: it differs when something has changed.
    pub stamp: [u8; 32],
}

type Read = dyn Fn() -> Result<Credentials, String> + Send + Sync;

/// Reads credentials, and keeps the last ones in case the files cannot be read. Clones share the kept ones.
#[derive(Clone)]
pub struct Refresh {
    read: Arc<Read>,
    kept: Arc<Mutex<Kept>>,
    is_secure: bool,
    troubles: Troubles,
}

#[derive(Default)]
struct Kept {
    last: Option<Credentials>,
    /// The stamp of those that have led nowhere.
    rejected: Option<[u8; 32]>,
}

const TROUBLE: &str = "credentials";

impl Refresh {
    /// By `read`; `is_secure` for `mqtts://`.
    pub fn new(
        is_secure: bool,
        troubles: Troubles,
        read: impl Fn() -> Result<Credentials, String> + Send + Sync + 'static,
    ) -> Self {
        Self { read: Arc::new(read), kept: Arc::default(), is_secure, troubles }
    }

    /// Whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// Takes what has been read.
    pub fn keep(&self, credentials: Credentials) {
        *self.kept() = Kept { last: Some(credentials), rejected: None };
    }

    /// Reads them, without keeping them.
    pub fn read(&self) -> Result<Credentials, String> {
        (self.read)()
    }

    /// The stamp of those in use.
    pub fn stamp(&self) -> Option<[u8; 32]> {
        self.kept().last.as_ref().map(|last| last.stamp)
    }

    /// Those with this stamp lead nowhere: the ones before are used, until there are others.
    pub fn reject(&self, stamp: Option<[u8; 32]>) {
        self.kept().rejected = stamp;
    }

    fn current(&self) -> Result<Credentials, String> {
        let read = self.read();
        let mut kept = self.kept();
        match (read, &kept.last) {
            (Ok(read), Some(last)) if kept.rejected == Some(read.stamp) => Ok(last.clone()),
            (Ok(read), _) => {
                self.troubles.ends(TROUBLE);
                kept.last = Some(read.clone());
                Ok(read)
            }
            (Err(reason), Some(last)) => {
                self.troubles.begins(TROUBLE, format!("{reason}; those before are used as long as they are good"));
                Ok(last.clone())
            }
            (Err(reason), None) => Err(reason),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShipSettings {
    /// These with the credentials as they are now. It reads files.
    pub(super) fn refreshed(mut self) -> Result<Self, String> {
        if let Some(refresh) = &self.refresh {
            let Credentials { login, tls, .. } = refresh.current()?;
            (self.login, self.tls) = (login, tls);
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(password: &str) -> Credentials {
        let stamp = afferent_protocol::sign::sha256(password.as_bytes());
        Credentials { login: Some(("a".into(), password.into())), tls: None, stamp }
    }

    #[test]
    fn what_has_changed_is_used_and_what_cannot_be_read_is_not() {
        let file = Arc::new(Mutex::new(Err("no such file".to_owned())));
        let (read, troubles) = (file.clone(), Troubles::default());
        let refresh = Refresh::new(false, troubles.clone(), move || read.lock().unwrap().clone());
        let used = || refresh.current().map(|now| now.login.unwrap().1);
        assert_eq!(used(), Err("no such file".into()), "there are none before");
        for password in ["one", "two"] {
            *file.lock().unwrap() = Ok(credentials(password));
            assert_eq!(used().as_deref(), Ok(password));
        }
        *file.lock().unwrap() = Err("no such file".to_owned());
        assert_eq!((used().as_deref(), troubles.texts().len()), (Ok("two"), 1));
        *file.lock().unwrap() = Ok(credentials("three"));
        refresh.reject(Some(credentials("three").stamp));
        assert_eq!(used().as_deref(), Ok("two"), "what leads nowhere is not taken");
        *file.lock().unwrap() = Ok(credentials("four"));
        assert_eq!((used().as_deref(), troubles.texts().len()), (Ok("four"), 0));
    }
}
