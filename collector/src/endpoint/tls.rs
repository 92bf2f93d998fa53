//! TLS of the endpoint: certificate, key and the CA of client certificates, from files.
//!
//! No session is resumed: a resumed one would admit a client whose certificate has expired since it was checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use afferent_host::tls::{self, authorities, certificates, private_key};
use afferent_protocol::ids::SourceId;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;

/// `id-at-commonName` (RFC 4519).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Paths of the files, all of them PEM.
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
    /// Files that cannot be used.
    #[error(transparent)]
    Files(#[from] tls::TlsError),
    /// A certificate that is not valid today.
    #[error(
        "{}: the certificate is valid from {from} to {until}, not today; renew it, or correct the clock",
        path.display()
    )]
    NotToday {
        /// The certificate's file.
        path: PathBuf,
        /// The beginning of its validity.
        from: String,
        /// The end of its validity.
        until: String,
    },
    /// The CA's file does not yield a verifier of client certificates.
    #[error(
        "{}: {error}; the file must contain the certificate of the CA that signs client certificates",
        path.display()
    )]
    ClientCa {
        /// The CA's file.
        path: PathBuf,
        /// The reason.
        error: String,
    },
}

/// TLS settings, read from files that match each other and are valid today.
#[derive(Debug)]
pub struct Tls {
    config: Arc<ServerConfig>,
    /// The certificates of the client CA.
    client_ca: Option<Vec<CertificateDer<'static>>>,
}

impl Tls {
    /// Reads and checks the files.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsError> {
        let client_ca = files.client_ca.as_deref().map(certificates).transpose()?;
        Ok(Self { config: server_config(files)?, client_ca })
    }

    /// Whether clients must present a certificate.
    pub fn asks_for_certificates(&self) -> bool {
        self.client_ca.is_some()
    }

    /// Whether both accept client certificates of the same CA.
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
        // Its user refuses a certificate that cannot be read.
        let Ok(certificate) = x509_cert::Certificate::from_der(certificate) else { continue };
        let validity = &certificate.tbs_certificate.validity;
        if now < validity.not_before.to_system_time() || now > validity.not_after.to_system_time() {
            let (from, until) = (validity.not_before.to_string(), validity.not_after.to_string());
            return Err(TlsError::NotToday { path: path.to_owned(), from, until });
        }
    }
    Ok(())
}

/// When a client's certificate expires: the second that it names is its last one (RFC 5280, section 4.1.2.5).
pub(super) fn valid_until(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    certificate.tbs_certificate.validity.not_after.to_system_time().checked_add(Duration::from_secs(1))
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
    let mut config = config.map_err(|error| tls::TlsError::Mismatch {
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

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use rustls::pki_types::UnixTime;
    use rustls::server::ServerSessionMemoryCache;
    use rustls::time_provider::TimeProvider;
    use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A clock that is two hours ahead.
    #[derive(Debug)]
    struct Later;

    impl TimeProvider for Later {
        fn current_time(&self) -> Option<UnixTime> {
            Some(UnixTime::since_unix_epoch(Duration::from_secs(UnixTime::now().as_secs()) + 2 * HOUR))
        }
    }

    /// An endpoint's TLS with a client CA, and a client whose certificate is valid for an hour.
    fn both_sides(folder: &Path) -> (ServerConfig, Arc<ClientConfig>) {
        let (key, mut params) = (KeyPair::generate().unwrap(), CertificateParams::new(Vec::new()).unwrap());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let issue = |name: &str, valid_for: Duration| {
            let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            let now = Duration::from_secs(UnixTime::now().as_secs());
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + (now + valid_for);
            let key = KeyPair::generate().unwrap();
            let signed = params.signed_by(&key, &issuer).unwrap().pem();
            std::fs::write(folder.join(format!("{name}.pem")), signed).unwrap();
            std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
        };
        std::fs::write(folder.join("ca.pem"), ca).unwrap();
        issue("server", 1000 * HOUR);
        issue("client", HOUR);
        let files = TlsFiles {
            certificate: folder.join("server.pem"),
            key: folder.join("server.key"),
            client_ca: Some(folder.join("ca.pem")),
        };
        let tls = Tls::load(&files).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(authorities(&folder.join("ca.pem")).unwrap())
            .with_client_auth_cert(
                certificates(&folder.join("client.pem")).unwrap(),
                private_key(&folder.join("client.key")).unwrap(),
            );
        ((*tls.config()).clone(), Arc::new(client.unwrap()))
    }

    /// A handshake in memory; returns its kind, or why the server refused it.
    fn handshake(server: &ServerConfig, client: &Arc<ClientConfig>) -> Result<HandshakeKind, rustls::Error> {
        let name = "localhost".try_into().unwrap();
        let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
        let mut server = ServerConnection::new(Arc::new(server.clone())).unwrap();
        for _ in 0..4 {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                server.read_tls(&mut rest).unwrap();
                server.process_new_packets()?;
            }
            bytes.clear();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                client.read_tls(&mut rest).unwrap();
                client.process_new_packets()?;
            }
        }
        Ok(server.handshake_kind().expect("it has come to its end"))
    }

    #[test]
    fn a_client_whose_certificate_has_expired_does_not_come_in_by_an_earlier_session() {
        let folder = tempfile::tempdir().unwrap();
        let (server, client) = both_sides(folder.path());
        let later = |server: &ServerConfig| {
            let mut later = server.clone();
            later.time_provider = Arc::new(Later);
            later
        };
        assert_eq!(handshake(&server, &client), Ok(HandshakeKind::Full));
        assert_eq!(handshake(&server, &client), Ok(HandshakeKind::Full), "each of them is looked at");
        let refused = handshake(&later(&server), &client).unwrap_err();
        assert!(crate::tls_words::of(&refused).contains("has expired"), "{refused}");

        // The control: with the usual resumption of sessions, the server admits the client.
        let mut usual = server.clone();
        (usual.session_storage, usual.send_tls13_tickets) = (ServerSessionMemoryCache::new(32), 2);
        assert_eq!(handshake(&usual, &client), Ok(HandshakeKind::Full));
        assert_eq!(handshake(&later(&usual), &client), Ok(HandshakeKind::Resumed));
    }
}
