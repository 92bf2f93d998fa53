//! Access and TLS of the endpoint: replaced as a whole while the collector runs.

use std::sync::{Arc, PoisonError, RwLock};

use super::access::Access;
use super::registry::Registry;
use super::tls::Tls;
use super::{BindError, EndpointSettings};

/// The entry of an endpoint, as it is now.
#[derive(Debug)]
pub struct Gate {
    now: RwLock<Arc<AccessRules>>,
    registry: Arc<Registry>,
}

/// The access rules and TLS settings that new clients meet.
#[derive(Debug)]
pub(super) struct AccessRules {
    pub access: Access,
    pub tls: Option<Arc<Tls>>,
}

impl Gate {
    pub(super) fn new(settings: &EndpointSettings, registry: Arc<Registry>) -> Self {
        let entry = AccessRules { access: settings.access.clone(), tls: settings.tls.clone() };
        Self { now: RwLock::new(Arc::new(entry)), registry }
    }

    /// Takes the users and certificates of new settings, for connections from now on; ends the connections that the new
    /// settings would not admit, or not by the same credentials. Returns how many.
    ///
    /// # Errors
    /// When these settings would let clients of other machines in without a login: then the former ones stay.
    pub fn replace(&self, settings: &EndpointSettings) -> Result<usize, BindError> {
        settings.check()?;
        let fresh = Arc::new(AccessRules { access: settings.access.clone(), tls: settings.tls.clone() });
        let before = std::mem::replace(&mut *self.now.write().unwrap_or_else(PoisonError::into_inner), fresh.clone());
        let same_ca = || match (&before.tls, &fresh.tls) {
            (Some(before), Some(fresh)) => before.has_client_ca_of(fresh),
            _ => false,
        };
        let same_ca = same_ca();
        Ok(self.registry.end_all_but(|agent| fresh.access.keeps(&before.access, agent, same_ca)))
    }

    /// The present entry.
    pub(super) fn current(&self) -> Arc<AccessRules> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}
