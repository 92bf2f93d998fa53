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
            let words = "the other side closed the connection during the TLS handshake; does it speak TLS on this port, and \
                         believe our certificate?";
            format!("{words} ({error})")
        }
        None => error.to_string(),
    }
}

/// An error of TLS.
pub fn of(error: &Error) -> String {
    let words = match error {
        Error::InvalidMessage(_) => "the other side does not speak TLS: one of both has mqtt:// and the other mqtts://",
        Error::NoCertificatesPresented => "the other side shows no certificate, and `client_ca` asks for one",
        Error::InvalidCertificate(error) => return certificate(error),
        Error::AlertReceived(alert) => return alert_text(*alert),
        Error::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon) => {
            "both sides have no kind of signature in common; use a certificate with an ECDSA P-256 or RSA 2048 key"
        }
        Error::PeerIncompatible(_) => {
            "both sides have no version or cipher of TLS in common; TLS 1.2 and 1.3 are spoken here"
        }
        Error::InconsistentKeys(_) => "the private key is not that of the certificate",
        _ => return error.to_string(),
    };
    format!("{words} ({error})")
}

/// What is wrong with the certificate of the other side.
fn certificate(error: &CertificateError) -> String {
    let words = match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the certificate of the other side has expired; renew it"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the certificate of the other side is not valid yet; compare the clocks of both machines"
        }
        CertificateError::UnknownIssuer => "the certificate of the other side is of no CA that is believed here",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate of the other side is for another name than the one that was connected to"
        }
        CertificateError::Revoked => "the certificate of the other side was revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "the certificate of the other side is not for this use (extended key usage)"
        }
        CertificateError::BadSignature => "the certificate of the other side was not signed by the CA that it names",
        _ => "the certificate of the other side is not valid",
    };
    format!("{words} ({error:?})")
}

/// What the other side says is wrong with us.
fn alert_text(alert: AlertDescription) -> String {
    let words = match alert {
        AlertDescription::UnknownCA => "the other side does not know the CA of our certificate; give it that CA's file",
        AlertDescription::CertificateExpired => {
            "the other side says that our certificate has expired; compare the clocks, renew it"
        }
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "the other side does not accept our certificate",
        AlertDescription::CertificateRequired => "the other side asks for a client certificate",
        AlertDescription::ProtocolVersion => {
            "the other side speaks no version of TLS that is spoken here (1.2 and 1.3)"
        }
        AlertDescription::HandshakeFailure => "the other side finds no cipher in common",
        _ => "the other side refuses the TLS handshake",
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
            (Error::NoCertificatesPresented, "shows no certificate"),
            (Error::InvalidCertificate(CertificateError::Expired), "has expired; renew it"),
            (Error::InvalidCertificate(CertificateError::UnknownIssuer), "of no CA that is believed here"),
            (Error::AlertReceived(AlertDescription::UnknownCA), "does not know the CA of our certificate"),
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
