//! Certificates and keys for TLS, from PEM files; and the client's side of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Why files make no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not a PEM file of the expected kind.
    #[error("{}: {error}; it must be a PEM file with {expected}", .path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What the file must hold.
        expected: &'static str,
        /// What is wrong.
        error: pem::Error,
    },
    /// A file of authorities holds a certificate that is not an authority's.
    #[error("{}: {error}; it must hold the certificates of authorities (CA)", .path.display())]
    Authority {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// Certificate and key do not belong together.
    #[error("certificate {} and key {} do not belong together: {error}", .certificate.display(), .key.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
}

/// The certificates of a PEM file, at least one.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |error| TlsError::File { path: path.to_owned(), expected: "certificates", error };
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    if found.is_empty() { Err(failed(pem::Error::NoItemsFound)) } else { Ok(found) }
}

/// The private key of a PEM file.
pub fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let failed = |error| TlsError::File { path: path.to_owned(), expected: "a private key", error };
    PrivateKeyDer::from_pem_file(path).map_err(failed)
}

/// The authorities of a PEM file, all of which must be usable.
pub fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let refused = |error: rustls::Error| TlsError::Authority { path: path.to_owned(), error: error.to_string() };
        roots.add(certificate).map_err(refused)?;
    }
    Ok(roots)
}

/// A client that believes these authorities, and shows the certificate of two files, a chain and its key, if it has
/// one.
pub fn client(roots: RootCertStore, own: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the suites of the default versions")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let (chain, secret) = (certificates(certificate)?, private_key(key)?);
            let mismatch =
                |error| TlsError::Mismatch { certificate: certificate.to_owned(), key: key.to_owned(), error };
            builder.with_client_auth_cert(chain, secret).map_err(mismatch)?
        }
    };
    Ok(Arc::new(config))
}
