//! The only place that names the MQTT crate: one connection, from its attempt to its end.
//!
//! Every connection has a client of its own with a clean session: nothing of an older one, neither
//! queue nor packet id, can reach into it.

mod tls;

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, LastWill, MqttOptions,
    NetworkOptions, Packet, PublishOptions, PublishResult, QoS, StateError, SubscribeFilter,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Config, Identity, Lost, last_will};
use crate::store::{EventId, Row};

/// Longest packet taken from the broker, bytes.
const INCOMING_BYTES_MAX: usize = 64 << 10;

/// Longest packet sent, bytes: the longest row and its topic.
const OUTGOING_BYTES_MAX: usize = 512 << 10;

/// Messages under way beside the rows: states, status, answers.
const OTHERS_MAX: u16 = 64;

/// What happened on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The broker took us in.
    Connected,
    /// The broker acknowledged a row.
    Acked(EventId),
    /// A message came in on a topic we subscribed to.
    Came {
        /// Its topic.
        topic: String,
        /// Its payload.
        payload: Vec<u8>,
        /// Whether the broker kept it from before.
        is_retained: bool,
    },
    /// The attempt failed or the connection ended: nothing more will happen on it.
    Lost(Lost),
}

/// A message that is not a row of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Topic.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// Whether the broker is to keep it for those who come later.
    pub is_retained: bool,
    /// QoS 1 rather than 0.
    pub is_sure: bool,
}

/// One connection; ends when dropped.
pub struct Link {
    client: AsyncClient,
    generation: u64,
    to: mpsc::Sender<(u64, Happening)>,
    task: JoinHandle<()>,
}

impl Link {
    /// Begins an attempt; what happens goes to `to` with `generation`. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Lost::Setup`] if a certificate, key or password file cannot be read.
    pub fn open(
        config: &Config,
        identity: &Identity,
        generation: u64,
        to: mpsc::Sender<(u64, Happening)>,
    ) -> Result<Self, Lost> {
        let options = options(config, identity)?;
        let capacity = usize::from(config.in_flight_max + OTHERS_MAX);
        let (client, mut events) = AsyncClient::builder(options).capacity(capacity).build();
        let mut network = NetworkOptions::new();
        network.set_connection_timeout(u64::from(config.connect_timeout_s));
        network.set_tcp_nodelay(true);
        events.set_network_options(network);
        let host = format!("{}:{}", config.host, config.port);
        let task = tokio::spawn(drive(events, generation, host, to.clone()));
        Ok(Self { client, generation, to, task })
    }

    /// Subscribes with QoS 1; whether the client took it.
    pub fn subscribe(&self, filters: &[String]) -> bool {
        let filters = filters
            .iter()
            .map(|filter| SubscribeFilter { path: filter.clone(), qos: QoS::AtLeastOnce });
        self.client.try_subscribe_many(filters.collect::<Vec<_>>()).is_ok()
    }

    /// Sends a row with QoS 1; its acknowledgement comes as [`Happening::Acked`]. Whether the client
    /// took it.
    pub fn publish_row(&self, row: &Row) -> bool {
        let options = PublishOptions::at_least_once();
        let topic = row.topic.as_str();
        let Ok(notice) = self.client.try_publish_tracked(topic, row.payload.clone(), options)
        else {
            return false;
        };
        let (id, generation, to) = (row.id, self.generation, self.to.clone());
        tokio::spawn(async move {
            if let Ok(PublishResult::Qos1(_)) = notice.wait_async().await {
                // A driver that is gone needs no news.
                drop(to.send((generation, Happening::Acked(id))).await);
            }
        });
        true
    }

    /// Sends a message; whether the client took it.
    pub fn publish(&self, message: &Message) -> bool {
        let qos = if message.is_sure { QoS::AtLeastOnce } else { QoS::AtMostOnce };
        let options = PublishOptions::new(qos).retain(message.is_retained);
        self.client.try_publish(message.topic.as_str(), message.payload.clone(), options).is_ok()
    }

    /// Sends a last message and takes leave properly, within `limit`.
    pub async fn close(mut self, last: Message, limit: Duration) {
        if self.publish(&last) && self.client.try_disconnect().is_ok() {
            // Whether it went out in time or not: the broker has our last will.
            drop(tokio::time::timeout(limit, &mut self.task).await);
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn drive(
    mut events: EventLoop,
    generation: u64,
    host: String,
    to: mpsc::Sender<(u64, Happening)>,
) {
    let mut is_up = false;
    loop {
        let happening = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(_))) => {
                is_up = true;
                Happening::Connected
            }
            Ok(Event::Incoming(Packet::Publish(publish))) => Happening::Came {
                topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                payload: publish.payload.to_vec(),
                is_retained: publish.retain,
            },
            Ok(_) => continue,
            Err(error) => Happening::Lost(lost(&error, is_up, &host)),
        };
        let is_over = matches!(happening, Happening::Lost(_));
        if to.send((generation, happening)).await.is_err() || is_over {
            return;
        }
    }
}

fn options(config: &Config, identity: &Identity) -> Result<MqttOptions, Lost> {
    let id = match config.client_id.as_str() {
        "" => format!("auscult-{}-{}", identity.site, identity.gateway),
        id => id.to_owned(),
    };
    let mut options = MqttOptions::new(id, (config.host.as_str(), config.port));
    options
        .set_clean_session(true)
        .set_keep_alive(config.keep_alive_s)
        .set_max_packet_size(INCOMING_BYTES_MAX, OUTGOING_BYTES_MAX)
        .set_inflight(config.in_flight_max + OTHERS_MAX)
        .set_last_will(LastWill::new(
            identity.status_topic(),
            last_will(identity, "the connection was lost without a word"),
            QoS::AtLeastOnce,
            true,
        ));
    if !config.username.is_empty() {
        match &config.password_file {
            Some(path) => {
                let password = read("mqtt.password_file", path)?;
                let password = password.trim_ascii_end().to_vec();
                options.set_credentials(config.username.clone(), password);
            }
            None => {
                options.set_username(config.username.clone());
            }
        }
    }
    if let Some(ca_file) = &config.ca_file {
        options.set_transport(tls::transport(config, ca_file)?);
    }
    Ok(options)
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, Lost> {
    std::fs::read(path).map_err(|error| Lost::Setup(format!("{key} {}: {error}", path.display())))
}

fn lost(error: &ConnectionError, is_up: bool, host: &str) -> Lost {
    let text = chain(error);
    if let Some(why) = certificate(&text, host) {
        return Lost::Certificate(why);
    }
    match error {
        ConnectionError::ConnectionRefused(code) => refused(*code, host),
        ConnectionError::MqttState(StateError::Deserialization(error))
            if format!("{error:?}").contains("PayloadSizeLimitExceeded") =>
        {
            let why = "a message of over 64 KiB came in on a command topic";
            Lost::TooLong(format!("{why}; commands are not taken for a while"))
        }
        ConnectionError::Tls(_) => Lost::Setup(format!("TLS with {host}: {text}")),
        ConnectionError::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            Lost::Unreachable(format!("no broker listens at {host}"))
        }
        ConnectionError::NetworkTimeout => {
            Lost::Unreachable(format!("{host} does not answer in time"))
        }
        _ if is_up => Lost::Closed(format!("the connection to {host} ended: {text}")),
        _ => Lost::Unreachable(format!("{host}: {text}")),
    }
}

fn refused(code: ConnectReturnCode, host: &str) -> Lost {
    let what = match code {
        ConnectReturnCode::BadUserNamePassword => "user name or password are wrong",
        ConnectReturnCode::NotAuthorized => "we are not allowed to connect",
        ConnectReturnCode::BadClientId => "mqtt.client_id is not accepted",
        ConnectReturnCode::RefusedProtocolVersion => "it does not speak MQTT 3.1.1",
        _ => return Lost::Unreachable(format!("the broker at {host} is not ready")),
    };
    Lost::Refused(format!("the broker at {host} refuses us: {what}"))
}

/// A certificate's trouble in a person's words, as rustls names it.
fn certificate(text: &str, host: &str) -> Option<String> {
    if let Some((_, reason)) = text.split_once("invalid peer certificate: ") {
        let known = [
            ("UnknownIssuer", "it is not signed by the authority in mqtt.ca_file"),
            ("BadSignature", "it is not signed by the authority in mqtt.ca_file"),
            ("Expired", "it has expired (or our clock is wrong)"),
            ("certificate expired", "it has expired (or our clock is wrong)"),
            ("NotValidYet", "it is not valid yet (or our clock is wrong)"),
            ("not valid yet", "it is not valid yet (or our clock is wrong)"),
            ("NotValidForName", "it is for another host name than mqtt.host"),
            ("not valid for name", "it is for another host name than mqtt.host"),
            ("Revoked", "it was revoked"),
            ("UnknownRevocationStatus", "mqtt.crl_file is not of the authority that signed it"),
        ];
        let why =
            known.iter().find(|(word, _)| reason.contains(word)).map_or(reason, |(_, why)| why);
        return Some(format!("the certificate of the broker at {host} is refused: {why}"));
    }
    if text.contains("invalid certificate revocation list") {
        let why = "mqtt.crl_file is not of the authority that signed it";
        return Some(format!("the certificate of the broker at {host} is refused: {why}"));
    }
    let (_, alert) = text.split_once("received fatal alert: ")?;
    let known = [
        ("UnknownCA", "it does not know the authority that signed it"),
        ("CertificateRequired", "it wants one: set mqtt.cert_file and mqtt.key_file"),
        ("CertificateExpired", "it has expired"),
        ("CertificateRevoked", "it was revoked"),
    ];
    let why = known.iter().find(|(word, _)| alert.contains(word)).map_or(alert, |(_, why)| why);
    Some(format!("the broker at {host} refuses our certificate (mqtt.cert_file): {why}"))
}

/// An error and what caused it, each once.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            text = format!("{text}: {part}");
        }
        cause = error.source();
    }
    text
}
