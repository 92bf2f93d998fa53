//! `check --connect`: tries the way to the broker once, and prints the answer of each hop.

use std::net::SocketAddr;
use std::time::Duration;

use afferent_protocol::topic::{STATE_FILTER, UP_FILTER};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, SubscribeReasonCode};
use rumqttc::v5::{AsyncClient, Event};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{BrokerSettings, connection_error_text, options};
use crate::limits::BROKER_HANDSHAKE_S_MAX;

/// Time limit of each hop.
const HOP_TIME: Duration = Duration::from_secs(BROKER_HANDSHAKE_S_MAX);

/// Resolves, connects, logs in and subscribes; passes the answer of each hop to `say`.
///
/// # Errors
/// The first hop that fails, in words; the probe ends there.
pub async fn probe(settings: &BrokerSettings, mut say: impl FnMut(&str)) -> Result<(), String> {
    let (host, port) = (settings.url.host.as_str(), settings.url.port);
    let found = timeout(HOP_TIME, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| format!("name: {host} was not resolved in time; check the name server"))?;
    let found: Vec<SocketAddr> = found.map_err(|error| format!("name: {host} cannot be resolved: {error}"))?.collect();
    let texts: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
    say(&format!("name: {host} is {}", texts.join(", ")));
    let mut reached = None;
    for address in found {
        match timeout(HOP_TIME, TcpStream::connect(address)).await {
            Ok(Ok(_)) => {
                reached = Some(address);
                break;
            }
            Ok(Err(error)) => say(&format!("TCP: {address}: {error}")),
            Err(_) => say(&format!("TCP: {address} does not answer")),
        }
    }
    let address = reached.ok_or_else(|| format!("TCP: no connection to {}", settings.url))?;
    say(&format!("TCP: {address} accepts connections"));
    join(settings, &mut say).await
}

/// Logs in and subscribes, with a client id of its own: a running collector is not pushed out.
async fn join(settings: &BrokerSettings, say: &mut impl FnMut(&str)) -> Result<(), String> {
    let client_id = format!("afferent-check-{:08x}", getrandom::u32().unwrap_or_default());
    let settings = BrokerSettings { client_id, ..settings.clone() };
    let options = options(&settings).map_err(|error| error.to_string())?;
    let (client, mut events) = AsyncClient::new(options, 10);
    loop {
        let event =
            timeout(HOP_TIME, events.poll()).await.map_err(|_| "MQTT: the broker does not answer".to_owned())?;
        match event.map_err(|error| format!("{}: {}", settings.url, connection_error_text(&error)))? {
            Event::Incoming(Packet::ConnAck(_)) => {
                let tls = if settings.url.tls { ", by TLS" } else { "" };
                say(&format!("MQTT: the broker admits this collector{tls}"));
                let filters = [UP_FILTER, STATE_FILTER].map(|filter| Filter::new(filter, QoS::AtLeastOnce));
                client.try_subscribe_many(filters).map_err(|error| error.to_string())?;
            }
            Event::Incoming(Packet::SubAck(suback)) => {
                let refused = |code: &&SubscribeReasonCode| !matches!(code, SubscribeReasonCode::Success(_));
                return match suback.return_codes.iter().find(refused) {
                    Some(code) => Err(format!(
                        "MQTT: the broker rejects the subscription to {UP_FILTER} and {STATE_FILTER}: {code:?}; check \
                         its access rules"
                    )),
                    None => {
                        say("MQTT: the broker accepts the subscription to the agents' topics");
                        let _ = client.try_disconnect();
                        Ok(())
                    }
                };
            }
            _ => {}
        }
    }
}
