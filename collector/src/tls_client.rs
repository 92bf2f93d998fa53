//! TLS of the connections that the collector opens.

use std::path::Path;
use std::sync::Arc;

use afferent_host::tls::{self, TlsError};
use rustls::{ClientConfig, RootCertStore};

/// The authorities of a PEM file, or those of the system, as far as they can be read.
///
/// # Errors
/// When the file cannot be used.
pub fn authorities(ca: Option<&Path>) -> Result<RootCertStore, TlsError> {
    if let Some(file) = ca {
        return tls::authorities(file);
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(roots)
}

/// A client that believes these authorities, and shows the certificate of two files, a chain and its key, if it has one.
///
/// # Errors
/// When a file cannot be used, with its name.
pub fn config(ca: Option<&Path>, own: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, String> {
    authorities(ca).and_then(|roots| tls::client(roots, own)).map_err(|error| error.to_string())
}
