//! MQTT 5 packets over a stream: TCP, or TLS on it.
//!
//! The packets' bytes are rumqttc's matter; when they go out is decided here, so that the line is never given more than
//! it takes (see `pace`).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Connect, ConnectProperties, ConnectReturnCode, LastWill, Login, Packet,
};
use rumqttc::v5::mqttbytes::{Error as MqttError, QoS};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;

use super::dial::dial;
use crate::limits::{MQTT_INCOMING_BYTES_MAX, MQTT_READ_BYTES};

/// Why there is no connection, or none any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// The connection cannot be made, or has failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The host's name is not valid in a certificate.
    #[error("{0:?} is not a valid host name for a certificate")]
    Name(String),
    /// The other side has closed the connection.
    #[error("the other side has closed the connection")]
    Closed,
    /// The other side sends something else than MQTT 5.
    #[error("the other side does not speak MQTT 5: {0}")]
    Mqtt(#[from] MqttError),
    /// The broker refuses the connection.
    #[error("the broker refused the connection: {0:?}")]
    Refused(ConnectReturnCode),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection on which packets go both ways.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    incoming: BytesMut,
    outgoing: BytesMut,
    is_flushed: bool,
}

/// How a client introduces itself.
pub(super) struct Introduction {
    pub client_id: String,
    pub keep_alive_s: u16,
    pub will: LastWill,
    pub login: Option<(String, String)>,
}

impl Wire {
    /// Connects and sends CONNECT; returns the limits of the other side.
    pub async fn connect(
        host: &str,
        port: u16,
        tls: Option<Arc<ClientConfig>>,
        introduction: Introduction,
    ) -> Result<(Self, ConnAckProperties), WireError> {
        let socket = dial(host, port).await?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(socket),
            Some(config) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|_| WireError::Name(host.to_owned()))?;
                Box::new(TlsConnector::from(config).connect(name, socket).await?)
            }
        };
        let mut wire = Self { stream, incoming: BytesMut::new(), outgoing: BytesMut::new(), is_flushed: true };
        let Introduction { client_id, keep_alive_s, will, login } = introduction;
        let mut properties = ConnectProperties::new();
        properties.max_packet_size = Some(MQTT_INCOMING_BYTES_MAX);
        let connect = Connect { keep_alive: keep_alive_s, client_id, clean_start: true, properties: Some(properties) };
        let login = login.map(|(user, password)| Login::new(user, password));
        wire.send(&Packet::Connect(connect, Some(will), login))?;
        match wire.packet().await? {
            Packet::ConnAck(ConnAck { code: ConnectReturnCode::Success, properties, .. }) => {
                Ok((wire, properties.unwrap_or_else(no_properties)))
            }
            Packet::ConnAck(ConnAck { code, .. }) => Err(WireError::Refused(code)),
            _ => Err(MqttError::InvalidProtocol.into()),
        }
    }

    /// Puts a packet where [`Wire::packet`] sends it from.
    pub fn send(&mut self, packet: &Packet) -> Result<(), WireError> {
        packet.write(&mut self.outgoing, None)?;
        Ok(())
    }

    /// Waits for the next packet, and meanwhile sends the outgoing bytes. May be dropped and called again.
    pub async fn packet(&mut self) -> Result<Packet, WireError> {
        poll_fn(|context| self.poll(context)).await
    }

    /// Sends the outgoing bytes. May be dropped and called again.
    pub async fn flush(&mut self) -> Result<(), WireError> {
        poll_fn(|context| match self.poll_send(context) {
            Ok(()) if self.outgoing.is_empty() && self.is_flushed => Poll::Ready(Ok(())),
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        })
        .await
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Result<(), WireError> {
        while !self.outgoing.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.outgoing) {
                Poll::Ready(Ok(0)) => return Err(WireError::Closed),
                Poll::Ready(Ok(written)) => self.outgoing.advance(written),
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Pending => break,
            }
            self.is_flushed = false;
        }
        if !self.is_flushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(context)
        {
            flushed?;
            self.is_flushed = true;
        }
        Ok(())
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Packet, WireError>> {
        let sent = self.poll_send(context);
        loop {
            match Packet::read(&mut self.incoming, Some(MQTT_INCOMING_BYTES_MAX)) {
                Ok(packet) => return Poll::Ready(Ok(packet)),
                Err(MqttError::InsufficientBytes(_)) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
            // A peer that cannot be written to may have sent the reason before.
            let mut bytes = [0; MQTT_READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
                Poll::Ready(read) => read?,
                Poll::Pending => return sent.map_or_else(|error| Poll::Ready(Err(error)), |()| Poll::Pending),
            }
            if buffer.filled().is_empty() {
                return Poll::Ready(Err(WireError::Closed));
            }
            self.incoming.extend_from_slice(buffer.filled());
        }
    }
}

/// A message of quality of service 1, as a packet.
pub(super) fn publish(topic: &str, id: u16, payload: Vec<u8>, retain: bool) -> Packet {
    let mut publish = rumqttc::v5::mqttbytes::v5::Publish::new(topic, QoS::AtLeastOnce, payload, None);
    (publish.pkid, publish.retain) = (id, retain);
    Packet::Publish(publish)
}

fn no_properties() -> ConnAckProperties {
    ConnAckProperties {
        session_expiry_interval: None,
        receive_max: None,
        max_qos: None,
        retain_available: None,
        max_packet_size: None,
        assigned_client_identifier: None,
        topic_alias_max: None,
        reason_string: None,
        user_properties: Vec::new(),
        wildcard_subscription_available: None,
        subscription_identifiers_available: None,
        shared_subscription_available: None,
        server_keep_alive: None,
        response_information: None,
        server_reference: None,
        authentication_method: None,
        authentication_data: None,
    }
}
