//! TLS of the endpoint: certificate, key and the CA of client certificates, from files.
//!
//! No session is resumed: a resumed one would let a client in whose certificate has expired since it was looked at.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use afferent_protocol::ids::SourceId;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;

/// `id-at-commonName` (RFC 4519).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Where the files are, all of them PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, with those that lead to its CA.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The CA that client certificates must be of; clients need none without it.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is no PEM of what it should be.
    #[error("{}: {error}; it must be a PEM file with {expected}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        error: rustls::pki_types::pem::Error,
    },
    /// The files do not make a server together.
    #[error("certificate {} and key {} do not go together: {error}", certificate.display(), key.display())]
    Mismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        error: rustls::Error,
    },
    /// A certificate that nobody believes today.
    #[error("{}: the certificate is valid from {from} to {until}, and not today; renew it, or set the clock", path.display())]
    NotToday {
        /// The file.
        path: PathBuf,
        /// From when on.
        from: String,
        /// Until when.
        until: String,
    },
    /// The client CA's file holds nothing that can be one.
    #[error("{}: {error}; it must hold the certificate of the CA that signs client certificates", path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
}

/// TLS, read from files that go together and are valid today.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// The certificates of the client CA.
    client_ca: Option<Vec<CertificateDer<'static>>>,
}

impl Tls {
    /// Reads the files.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let client_ca = files.client_ca.as_deref().map(certificates).transpose()?;
        Ok(Self { config: server_config(files)?, client_ca })
    }

    /// Whether clients must show a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Whether client certificates are believed that the other believes.
    pub(super) fn has_client_ca_of(&self, other: &Self) -> bool {
        self.client_ca == other.client_ca
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// Refuses certificates of a file that are not valid at a time.
pub(crate) fn check_validity(
    path: &Path,
    certificates: &[CertificateDer<'_>],
    now: SystemTime,
) -> Result<(), TlsError> {
    for certificate in certificates {
        // What cannot be read is refused by who uses it.
        let Ok(certificate) = x509_cert::Certificate::from_der(certificate) else { continue };
        let validity = &certificate.tbs_certificate.validity;
        if now < validity.not_before.to_system_time() || now > validity.not_after.to_system_time() {
            let (from, until) = (validity.not_before.to_string(), validity.not_after.to_string());
            return Err(TlsError::NotToday { path: path.to_owned(), from, until });
        }
    }
    Ok(())
}

/// How long a client's certificate is valid from now on.
pub(super) fn valid_for(certificate: &CertificateDer<'_>) -> Option<Duration> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let until = certificate.tbs_certificate.validity.not_after.to_system_time();
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The certificates of a PEM file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let error = |error| TlsError::File { path: path.to_owned(), expected: "certificates", error };
    let found: Vec<_> = CertificateDer::pem_file_iter(path).map_err(error)?.collect::<Result<_, _>>().map_err(error)?;
    if found.is_empty() { Err(error(rustls::pki_types::pem::Error::NoItemsFound)) } else { Ok(found) }
}

/// The private key of a PEM file.
pub(crate) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|error| TlsError::File {
        path: path.to_owned(),
        expected: "a private key",
        error,
    })
}

/// The CAs of a PEM file.
pub(crate) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::ClientCa { path: path.to_owned(), error: error.to_string() })?;
    }
    Ok(roots)
}

fn server_config(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("the provider has the suites of the default versions");
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(path)?), provider)
                .build()
                .map_err(|error| TlsError::ClientCa { path: path.clone(), error: error.to_string() })?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = certificates(&files.certificate)?;
    check_validity(&files.certificate, &chain, SystemTime::now())?;
    let config = builder.with_single_cert(chain, private_key(&files.key)?);
    let mut config = config.map_err(|error| TlsError::Mismatch {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        error,
    })?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// The agent's name in a client certificate: the one common name of its subject.
pub(super) fn common_name(certificate: &CertificateDer<'_>) -> Option<SourceId> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let subject = &certificate.tbs_certificate.subject;
    let mut names = subject.0.iter().flat_map(|rdn| rdn.0.iter()).filter(|attribute| attribute.oid == COMMON_NAME);
    let (name, none) = (names.next()?, names.next());
    // UTF-8 and printable strings are the same bytes for the characters that a name can have.
    let text = std::str::from_utf8(name.value.value()).ok()?;
    if none.is_some() { None } else { SourceId::new(text).ok() }
}
