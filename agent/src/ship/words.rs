//! Explains errors of a connection to people: the text of the library, what it means in practice, and what to do.

use std::error::Error;
use std::fmt::Write;

/// Pieces of library errors, and what each means. The first match counts.
const MEANINGS: [(&str, &str); 18] = [
    ("oundary", "the other side speaks TLS here: write mqtts:// in `ship.url`"),
    ("InvalidContentType", "the other side does not speak TLS here: write mqtt:// in `ship.url`, or name its TLS port"),
    ("corrupt message", "the other side does not speak TLS here: write mqtt:// in `ship.url`, or name its TLS port"),
    (
        "UnknownIssuer",
        "its certificate comes from an authority that this agent does not know: name it in `ship.ca_file`",
    ),
    ("CaUsedAsEndEntity", "it presents a CA certificate: the server needs a certificate that the CA has signed"),
    ("NotValidForName", "its certificate is not for the name in `ship.url`: use a name that the certificate contains"),
    (
        "not valid for name",
        "its certificate is not for the name in `ship.url`: use a name that the certificate contains",
    ),
    (
        "alert: CertificateExpired",
        "this agent's certificate has expired: renew `ship.cert_file`, or correct the clocks",
    ),
    ("alert: BadCertificate", "it rejects this agent's certificate: check `ship.cert_file` and its client CA"),
    ("expired", "a certificate has expired, or this machine's clock is wrong"),
    ("not valid yet", "a certificate is not valid yet, or this machine's clock is wrong"),
    ("CertificateRequired", "it requires a certificate of the agent: set `ship.cert_file` and `ship.key_file`"),
    ("UnknownCA", "it does not know the authority of this agent's certificate: check its client CA"),
    ("BadUserNamePassword", "it rejects user name or password: check `ship.username` and `ship.password`"),
    ("NotAuthorized", "it denies access to this agent: check `ship.username`, `ship.password` or its access rules"),
    ("Connection refused (os", "no program listens there: is it running, and is the port in `ship.url` right?"),
    ("failed to lookup address", "there is no such host: check `ship.url` and this machine's name service"),
    ("Timeout", "no answer in time: check host and port in `ship.url`, and the firewalls between"),
];

/// The text of the error and its causes, each once, and what it means.
pub fn words(error: &(dyn Error + 'static)) -> String {
    let mut text = once(error);
    let details = format!("{error:?}");
    let means = |(said, _): &&(&str, &str)| text.contains(said) || details.contains(said);
    if let Some((_, meaning)) = MEANINGS.iter().find(means) {
        let _ = write!(text, "; {meaning}");
    }
    text
}

/// The text of an error and its causes, without causes that the text already contains.
pub fn once(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{path}: {source}")]
    struct Outer {
        path: &'static str,
        source: std::io::Error,
    }

    #[test]
    fn a_cause_is_said_once() {
        let source = || std::io::Error::other("no space");
        assert_eq!(once(&Outer { path: "ring", source: source() }), "ring: no space");
        let chained = format!("{:#}", anyhow::Error::new(Outer { path: "ring", source: source() }));
        assert_eq!(chained, "ring: no space: no space", "the control: a plain chain says it twice");
    }

    #[test]
    fn what_libraries_say_is_explained() {
        for (said, meant) in [
            ("Mqtt state: Promised boundary crossed, contains 21 bytes", "mqtts://"),
            ("received corrupt message of type InvalidContentType", "mqtt://"),
            ("invalid peer certificate: UnknownIssuer", "ship.ca_file"),
            ("invalid peer certificate: certificate expired: verification time 1", "expired"),
            ("received fatal alert: CertificateExpired", "renew `ship.cert_file`"),
            ("Connection refused, return code: `BadUserNamePassword`", "ship.password"),
            ("I/O: Connection refused (os error 111)", "no program listens"),
        ] {
            let text = words(&std::io::Error::other(said));
            assert!(text.starts_with(said) && text.contains(meant), "{text}");
        }
        assert_eq!(words(&std::io::Error::other("out of luck")), "out of luck");
    }
}
