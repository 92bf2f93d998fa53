//! Signatures of requests, after the Standard Webhooks specification (standardwebhooks.com, version 1):
//! `webhook-signature` is `v1,` and the base64 of HMAC-SHA-256 over `{id}.{timestamp}.{body}`. A secret is `whsec_` and
//! the base64 of 24 to 64 bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";

/// Signs requests.
#[derive(Clone)]
pub(super) struct Signer {
    key: Vec<u8>,
}

impl Signer {
    /// Reads a secret.
    ///
    /// # Errors
    /// When it has another form; the text does not hold the secret.
    pub fn new(secret: &str) -> Result<Self, String> {
        let key = secret.strip_prefix(PREFIX).and_then(|text| STANDARD.decode(text).ok());
        let key = key.filter(|key| (24..=64).contains(&key.len()));
        let wrong = "the secret is not one of Standard Webhooks: write `whsec_` and the base64 of 24 to 64 random bytes, \
                     as of: openssl rand -base64 32";
        key.map(|key| Self { key }).ok_or_else(|| wrong.to_owned())
    }

    /// The header `webhook-signature`; `timestamp` in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.update(format!("{id}.{timestamp}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_the_specifications_example() {
        // The example of the reference libraries of Standard Webhooks.
        let signer = Signer::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_of_another_form_is_refused_without_being_shown() {
        for secret in ["", "abc", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!!"] {
            let error = Signer::new(secret).err().unwrap();
            assert!(
                error.contains("openssl rand")
                    && (secret.len() < 4 || !error.contains(&secret[3..]) || secret == "whsec_"),
                "{error}"
            );
        }
    }
}
