//! Where the broker is and how patient to be with it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whose word it takes for an alert to leave the disk.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum AckLevel {
    /// The broker's: enough for plain consumers, but a broker that crashes may lose what it took.
    #[default]
    Broker,
    /// The fleet manager's, by `{base}/command/received` naming the ids after its own durable insert.
    Fleet,
}

/// The MQTT 3.1.1 broker that alerts go to.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether to publish at all; without, alerts gather in the outbox up to its limit.
    pub enabled: bool,
    /// Name or address of the broker.
    pub host: String,
    /// TCP port; 1883 plain, 8883 with TLS by custom.
    pub port: u16,
    /// Client id; empty means `auscult-{site}-{gateway}`. No two clients of a broker may share one.
    pub client_id: String,
    /// User name; empty means none.
    pub username: String,
    /// File that holds the password (one line); readable by auscult alone.
    pub password_file: Option<PathBuf>,
    /// PEM file of the authority that signed the broker's certificate; set means TLS.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificates that this authority has revoked; the broker's must not be there.
    pub crl_file: Option<PathBuf>,
    /// PEM file of our own certificate, for brokers that ask for one; needs `key_file`.
    pub cert_file: Option<PathBuf>,
    /// PEM file (PKCS#8) of its key.
    pub key_file: Option<PathBuf>,
    /// Longest silence before a ping, seconds, 5-600.
    pub keep_alive_s: u16,
    /// Longest wait for the TCP, TLS and MQTT handshakes together, seconds, 1-120.
    pub connect_timeout_s: u16,
    /// Longest wait for an acknowledgement before the connection is given up, seconds, 2-300.
    pub ack_timeout_s: u16,
    /// Alerts under way at once, 1-256.
    pub in_flight_max: u16,
    /// Whose word it takes for an alert to leave the disk.
    pub ack_level: AckLevel,
    /// Wait before alerts the fleet manager has not confirmed are sent again, seconds, 1-3600; it
    /// doubles each time, up to 15 minutes.
    pub resend_s: u16,
    /// Longest wait between two attempts to connect, seconds, 1-600; at most half a second before the
    /// first, 4 seconds in the first minute without a broker.
    pub retry_max_s: u16,
    /// Pace of the features, seconds; 0 means none.
    pub features_every_s: f64,
    /// Pace of the box's own status when nothing changes, seconds, at least 1.
    pub status_every_s: f64,
    /// Commands taken per minute; more are refused.
    pub commands_per_min: u32,
    /// Whether commands are taken at all.
    pub commands_enabled: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            enabled: true,
            host: "localhost".into(),
            port: 1883,
            client_id: String::new(),
            username: String::new(),
            password_file: None,
            ca_file: None,
            crl_file: None,
            cert_file: None,
            key_file: None,
            keep_alive_s: 20,
            connect_timeout_s: 10,
            ack_timeout_s: 15,
            in_flight_max: 32,
            ack_level: AckLevel::Broker,
            resend_s: 60,
            retry_max_s: 30,
            features_every_s: 10.0,
            status_every_s: 60.0,
            commands_per_min: 60,
            commands_enabled: true,
        }
    }
}

/// What a configuration may have wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("mqtt.{key}: {why}")]
pub struct Error {
    /// The key.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub why: String,
}

impl Config {
    /// Checks every value; files are looked at when a connection is made, since they may be rotated.
    ///
    /// # Errors
    /// If a value makes no sense.
    pub fn check(&self) -> Result<(), Error> {
        let within = |key, value: u16, least, most| {
            if (least..=most).contains(&value) {
                return Ok(());
            }
            Err(Error { key, why: format!("{value} must be {least} to {most}") })
        };
        within("keep_alive_s", self.keep_alive_s, 5, 600)?;
        within("connect_timeout_s", self.connect_timeout_s, 1, 120)?;
        within("ack_timeout_s", self.ack_timeout_s, 2, 300)?;
        within("in_flight_max", self.in_flight_max, 1, 256)?;
        within("resend_s", self.resend_s, 1, 3600)?;
        within("retry_max_s", self.retry_max_s, 1, 600)?;
        within("port", self.port, 1, u16::MAX)?;
        let refuse = |key, why: &str| Err(Error { key, why: why.into() });
        if self.enabled && self.host.is_empty() {
            return refuse("host", "a broker is needed, for example \"broker.plant.local\"");
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return refuse("cert_file", "cert_file and key_file go together");
        }
        if self.ca_file.is_none() && (self.cert_file.is_some() || self.crl_file.is_some()) {
            return refuse("ca_file", "certificates need TLS: set ca_file too");
        }
        if self.password_file.is_some() && self.username.is_empty() {
            return refuse("username", "a password needs a user name");
        }
        if !(self.features_every_s >= 0.0 && self.features_every_s.is_finite()) {
            return refuse("features_every_s", "must be 0 (none) or a number of seconds");
        }
        if !(self.status_every_s >= 1.0 && self.status_every_s.is_finite()) {
            return refuse("status_every_s", "must be at least 1 second");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_named_by_their_key() {
        let check = |change: fn(&mut Config), key: Option<&str>| {
            let mut config = Config::default();
            change(&mut config);
            assert_eq!(config.check().err().map(|error| error.key), key);
        };
        check(|_| {}, None);
        check(|config| config.keep_alive_s = 0, Some("keep_alive_s"));
        check(|config| config.host.clear(), Some("host"));
        check(|config| config.cert_file = Some("a".into()), Some("cert_file"));
        check(|config| config.crl_file = Some("a".into()), Some("ca_file"));
        check(|config| config.password_file = Some("a".into()), Some("username"));
        check(|config| config.features_every_s = f64::NAN, Some("features_every_s"));
    }
}
