//! TLS for `mqtts://`: the collector's certificate is checked, and the agent may have one of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
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
    /// A file cannot be read, or is not PEM.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: rustls::pki_types::pem::Error,
    },
    /// A file has no certificate in it.
    #[error("{0}: there is no certificate in it (PEM, `-----BEGIN CERTIFICATE-----`)")]
    Empty(PathBuf),
    /// None of the files is there in which systems keep the certificates that they trust.
    #[error("this system has no certificates that it trusts ({}); name yours in `ship.ca_file`", SYSTEM_BUNDLES.join(", "))]
    NoSystemBundle,
    /// Certificate and key do not belong together.
    #[error("{} and {} are not of one certificate and its private key ({error})", .cert.display(), .key.display())]
    Own {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
    /// A certificate is of a kind that is not supported.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

impl TlsFiles {
    /// Reads them.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.ca {
            Some(ca) => certificates(ca)?.into_iter().try_for_each(|certificate| roots.add(certificate))?,
            None => {
                let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.exists());
                // A bundle of the system may hold some that rustls does not take; the others do.
                roots.add_parsable_certificates(certificates(bundle.ok_or(TlsError::NoSystemBundle)?)?);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let config = match &self.own {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                let secret =
                    PrivateKeyDer::from_pem_file(key).map_err(|error| TlsError::File { path: key.clone(), error })?;
                let own = |error| TlsError::Own { cert: chain.clone(), key: key.clone(), error };
                config.with_client_auth_cert(certificates(chain)?, secret).map_err(own)?
            }
        };
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |error| TlsError::File { path: path.into(), error };
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(file)?.collect::<Result<_, _>>().map_err(file)?;
    if certificates.is_empty() { Err(TlsError::Empty(path.into())) } else { Ok(certificates) }
}
