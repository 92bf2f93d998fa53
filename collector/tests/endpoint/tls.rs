//! Certificates: the common name is the agent's name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use afferent_collector::endpoint::{Access, Tls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Packet, PubAckReason};
use rumqttc::v5::{AsyncClient, Event, MqttOptions};
use rumqttc::{TlsConfiguration, Transport};

use crate::fake::{Plant, settings};
use crate::raw::up;

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "plant");
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key, as PEM.
    fn issue(&self, common_name: &str, host: Option<&str>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(host.map(str::to_owned).into_iter().collect::<Vec<_>>()).unwrap();
        params.distinguished_name.push(DnType::CommonName, common_name);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

async fn plant(directory: &Path, authority: &Authority) -> Plant {
    let (certificate, key) = authority.issue("collector", Some("localhost"));
    let files = TlsFiles {
        certificate: directory.join("server.pem"),
        key: directory.join("server.key"),
        client_ca: Some(directory.join("ca.pem")),
    };
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
    std::fs::write(directory.join("ca.pem"), &authority.pem).unwrap();
    let mut settings = settings(Access::Certificates);
    settings.tls = Some(Arc::new(Tls::load(&files).unwrap()));
    Plant::start(settings).await
}

/// Publishes as `agent`; gives the reason of the PUBACK, or nothing when the connection fails.
async fn publish(
    plant: &Plant,
    authority: &Authority,
    login: Option<(String, String)>,
    agent: &str,
) -> Option<PubAckReason> {
    let mut options = MqttOptions::new("any", "localhost", plant.address.port());
    options.set_keep_alive(Duration::from_secs(30));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = TlsConfiguration::Simple {
        ca: authority.pem.clone().into_bytes(),
        alpn: None,
        client_auth: login.map(|(certificate, key)| (certificate.into_bytes(), key.into_bytes())),
    };
    options.set_transport(Transport::tls_with_config(tls));
    let (client, mut events) = AsyncClient::new(options, 10);
    client.publish(up(agent), QoS::AtLeastOnce, false, "x").await.unwrap();
    loop {
        let event = tokio::time::timeout(Duration::from_secs(60), events.poll()).await.expect("an answer or an end");
        match event {
            Ok(Event::Incoming(Packet::PubAck(ack))) => return Some(ack.reason),
            Ok(_) => {}
            Err(_) => return None,
        }
    }
}

#[tokio::test]
async fn a_certificate_says_who_the_client_is() {
    let directory = tempfile::tempdir().unwrap();
    let (authority, stranger) = (Authority::new(), Authority::new());
    let plant = plant(directory.path(), &authority).await;
    let press = || Some(authority.issue("press-88", None));
    assert_eq!(publish(&plant, &authority, press(), "press-88").await, Some(PubAckReason::Success));
    assert_eq!(publish(&plant, &authority, press(), "press-89").await, Some(PubAckReason::NotAuthorized));
    assert_eq!(publish(&plant, &authority, None, "press-88").await, None, "without a certificate");
    let forged = Some(stranger.issue("press-88", None));
    assert_eq!(publish(&plant, &authority, forged, "press-88").await, None, "of another CA");
    let nameless = Some(authority.issue("not an agent's name", None));
    assert_eq!(publish(&plant, &authority, nameless, "press-88").await, None, "no agent's name");
    assert_eq!(plant.stop().await.received.len(), 1);
}

#[tokio::test]
async fn files_that_do_not_go_together_or_are_of_another_day_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let (certificate, key) = authority.issue("collector", Some("localhost"));
    let files =
        TlsFiles { certificate: directory.path().join("s.pem"), key: directory.path().join("s.key"), client_ca: None };
    std::fs::write(&files.certificate, certificate).unwrap();
    std::fs::write(&files.key, key).unwrap();
    assert!(!Tls::load(&files).unwrap().asks_for_certificates());
    let refused = |certificate: &str| {
        std::fs::write(&files.certificate, certificate).unwrap();
        Tls::load(&files).unwrap_err().to_string()
    };
    let (other, _) = authority.issue("collector", Some("localhost"));
    assert!(refused(&other).contains("do not belong together"));
    assert!(refused("no certificate").contains("s.pem"));
    for (from, until) in [(2001, 2002), (2998, 2999)] {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (rcgen::date_time_ymd(from, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        let key = KeyPair::generate().unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        let why = refused(&params.signed_by(&key, &authority.issuer).unwrap().pem());
        assert!(why.contains("not today") && why.contains(&until.to_string()), "{why}");
    }
}
