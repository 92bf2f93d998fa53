//! TLS for `mqtts://`: the collector's certificate is checked, and the agent may have one of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use afferent_host::tls;
use rustls::{ClientConfig, RootCertStore};

/// The files, all PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificates of the authorities that may have signed the other side's certificate; the system's when not given.
    pub ca: Option<PathBuf>,
    /// The agent's own certificate chain and its private key.
    pub own: Option<(PathBuf, PathBuf)>,
}

/// Where Debian, Fedora and Alpine keep the certificates that they trust.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error(transparent)]
    Files(#[from] tls::TlsError),
    /// None of the usual files of trusted certificates exists.
    #[error(
        "this system has no file of trusted certificates ({}); name one in `ship.ca_file`",
        SYSTEM_BUNDLES.join(", ")
    )]
    NoSystemBundle,
}

impl TlsFiles {
    /// Reads them.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let roots = match &self.ca {
            Some(ca) => tls::authorities(ca)?,
            None => {
                let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists());
                let mut roots = RootCertStore::empty();
                // A bundle of the system may hold some that rustls does not take; the others do.
                roots.add_parsable_certificates(tls::certificates(bundle.ok_or(TlsError::NoSystemBundle)?)?);
                roots
            }
        };
        let own = self.own.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        Ok(tls::client(roots, own)?)
    }
}
