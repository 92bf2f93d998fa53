//! A certificate authority of a plant, made for one test.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::Folder;

/// Signs certificates; all files are PEM.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    folder: PathBuf,
    /// Its own certificate's file.
    pub ca: PathBuf,
}

/// Files of a certificate and its private key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one, which keeps its files under this name.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn new(folder: &Folder, name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let ca = folder.join(&format!("{name}.pem"));
        let pem = params.self_signed(&key).expect("it can sign itself").pem();
        std::fs::write(&ca, pem).expect("the folder can be written");
        Self { issuer: Issuer::new(params, key), folder: folder.join(name), ca }
    }

    /// A certificate for this common name; it is good for a server on 127.0.0.1 too.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn issue(&self, common_name: &str) -> Certificate {
        self.issue_for(common_name, 1975..4096)
    }

    /// The same, valid in these years.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn issue_for(&self, common_name: &str, years: std::ops::Range<i32>) -> Certificate {
        self.issue_with(common_name, |params| {
            params.not_before = rcgen::date_time_ymd(years.start, 1, 1);
            params.not_after = rcgen::date_time_ymd(years.end, 1, 1);
        })
    }

    /// The same, valid for so long from now on; a certificate's times have whole seconds.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn issue_briefly(&self, common_name: &str, valid_for: Duration) -> Certificate {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is after 1970");
        self.issue_with(common_name, |params| {
            params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs((now + valid_for).as_secs());
        })
    }

    fn issue_with(&self, common_name: &str, set: impl FnOnce(&mut CertificateParams)) -> Certificate {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address is a valid name");
        params.distinguished_name.push(DnType::CommonName, common_name);
        set(&mut params);
        let signed = params.signed_by(&key, &self.issuer).expect("the authority can sign");
        std::fs::create_dir_all(&self.folder).expect("the folder can be written");
        let files = Certificate {
            cert: self.folder.join(format!("{common_name}.pem")),
            key: self.folder.join(format!("{common_name}.key")),
        };
        std::fs::write(&files.cert, signed.pem()).expect("the folder can be written");
        std::fs::write(&files.key, key.serialize_pem()).expect("the folder can be written");
        files
    }
}
