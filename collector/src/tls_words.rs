//! What goes wrong with TLS, in words for the person who set it up.

use rustls::{AlertDescription, CertificateError, Error, PeerIncompatible};

fn is_hangup(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// An error of a TLS handshake, which may be one of the connection under it.
pub fn of_io(error: &std::io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(tls) => of(tls),
        None if is_hangup(error) => {
            let words = "the other side closed the connection during the TLS handshake; does it speak TLS on this \
                         port, and trust our certificate?";
            format!("{words} ({error})")
        }
        None => error.to_string(),
    }
}

/// An error of TLS.
pub fn of(error: &Error) -> String {
    let words = match error {
        Error::InvalidMessage(_) => "the other side does not speak TLS: one side uses mqtt:// and the other mqtts://",
        Error::NoCertificatesPresented => "the other side sent no certificate, but `client_ca` requires one",
        Error::InvalidCertificate(error) => return certificate(error),
        Error::AlertReceived(alert) => return alert_text(*alert),
        Error::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon) => {
            "the two sides have no signature scheme in common; use a certificate with an ECDSA P-256 or RSA 2048 key"
        }
        Error::PeerIncompatible(_) => {
            "the two sides have no TLS version or cipher in common; this side supports TLS 1.2 and 1.3"
        }
        Error::InconsistentKeys(_) => "the private key does not belong to the certificate",
        _ => return error.to_string(),
    };
    format!("{words} ({error})")
}

/// What is wrong with the certificate of the other side.
fn certificate(error: &CertificateError) -> String {
    let words = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the other side's certificate has expired; renew it"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the other side's certificate is not valid yet; compare the clocks of both machines"
        }
        CertificateError::UnknownIssuer => "the other side's certificate is from a CA that this side does not trust",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the other side's certificate does not name the host that was connected to"
        }
        CertificateError::Revoked => "the other side's certificate was revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the other side's certificate is not for this use (extended key usage)"
        }
        CertificateError::BadSignature => "the other side's certificate was not signed by the CA that it names",
        _ => "the other side's certificate is not valid",
    };
    format!("{words} ({error:?})")
}

/// What the other side says is wrong with us.
fn alert_text(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::UnknownCA => {
            "the other side does not trust the CA of our certificate; give it that CA's certificate"
        }
        AlertDescription::CertificateExpired => {
            "the other side reports that our certificate has expired; renew it, or compare the clocks of both machines"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "the other side does not accept our certificate",
        AlertDescription::CertificateRequired => "the other side requires a client certificate",
        AlertDescription::ProtocolVersion => "the other side does not support TLS 1.2 or 1.3",
        AlertDescription::HandshakeFailure => "the other side found no common cipher",
        _ => "the other side rejected the TLS handshake",
    };
    format!("{words} ({alert:?})")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_tls_are_explained_with_what_to_do() {
        let cases = [
            (Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "does not speak TLS"),
            (Error::NoCertificatesPresented, "`client_ca` requires one"),
            (Error::InvalidCertificate(CertificateError::Expired), "has expired; renew it"),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "from a CA that this side does not trust"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "does not trust the CA of our certificate"),
        ];
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert!(of_io(&reset).contains("does it speak TLS"), "{}", of_io(&reset));
        for (error, words) in cases {
            let told = of_io(&std::io::Error::other(error.clone()));
            assert!(told.contains(words), "{told}");
            assert!(!error.to_string().contains(words), "the control: {error}");
        }
    }
}
