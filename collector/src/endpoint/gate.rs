//! Who may come in, and how they prove it: replaced as a whole while the collector runs.

use std::sync::{Arc, PoisonError, RwLock};

use super::access::Access;
use super::registry::Registry;
use super::tls::Tls;
use super::{BindError, EndpointSettings};

/// The entry of an endpoint, as it is now.
#[derive(Debug)]
pub struct Gate {
    now: RwLock<Arc<Entry>>,
    registry: Arc<Registry>,
}

/// How clients come in.
#[derive(Debug)]
pub(super) struct Entry {
    pub access: Access,
    pub tls: Option<Arc<Tls>>,
}

impl Gate {
    pub(super) fn new(settings: &EndpointSettings, registry: Arc<Registry>) -> Self {
        let entry = Entry { access: settings.access.clone(), tls: settings.tls.clone() };
        Self { now: RwLock::new(Arc::new(entry)), registry }
    }

    /// Takes users and certificates of other settings, for connections from now on; connections of those who would not
    /// come in any more, or not by what they have shown, are ended. Gives how many were.
    ///
    /// # Errors
    /// When anybody could come in with them: then those of before stay.
    pub fn replace(&self, settings: &EndpointSettings) -> Result<usize, BindError> {
        settings.check()?;
        let fresh = Arc::new(Entry { access: settings.access.clone(), tls: settings.tls.clone() });
        let before = std::mem::replace(&mut *self.now.write().unwrap_or_else(PoisonError::into_inner), fresh.clone());
        let same_ca = || match (&before.tls, &fresh.tls) {
            (Some(before), Some(fresh)) => before.has_client_ca_of(fresh),
            _ => false,
        };
        let same_ca = same_ca();
        Ok(self.registry.end_all_but(|agent| fresh.access.keeps(&before.access, agent, same_ca)))
    }

    /// How clients come in now.
    pub(super) fn current(&self) -> Arc<Entry> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}
