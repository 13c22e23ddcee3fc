//! Whether the broker of a configuration takes us in, and how long its certificates hold.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tokio::sync::mpsc;

use super::doctor::Finding;
use crate::config::Config;
use crate::publish::{self, ClockQuality, Happening, Identity, Link, Lost, Message};

/// Seconds before its end in which a certificate should be renewed: 30 days.
const RENEW_S: &str = "2592000";
/// How long the farewell may take.
const LEAVE: Duration = Duration::from_secs(1);

/// What is to say of the table `mqtt`.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let Some(mqtt) = config.mqtt.as_ref().filter(|mqtt| mqtt.enabled) else {
        let fix = "add the table [mqtt] with host = \"...\"; until then alerts are only kept";
        return vec![Finding::note("broker", "none configured", fix)];
    };
    let mut all = vec![reach(config, mqtt)];
    let files = [("mqtt.ca_file", &mqtt.ca_file), ("mqtt.cert_file", &mqtt.cert_file)];
    all.extend(files.iter().filter_map(|(key, path)| certificate(key, path.as_deref()?)));
    if mqtt.ca_file.is_none() && !["localhost", "127.0.0.1", "::1"].contains(&mqtt.host.as_str()) {
        let fix = "set mqtt.ca_file and port 8883; anyone on the way can read and forge";
        all.push(Finding::note("encryption", "none", fix));
    }
    all
}

/// Connects under a name of its own, so that a running auscult is not disturbed, and leaves.
fn reach(config: &Config, mqtt: &publish::Config) -> Finding {
    let name = |it: &str| format!("{}-doctor", it.chars().take(57).collect::<String>());
    let own = config.identity(ClockQuality::default());
    let client_id = match mqtt.client_id.as_str() {
        "" => format!("auscult-{}-{}-doctor", own.site, own.gateway),
        id => format!("{id}-doctor"),
    };
    let identity = Identity { gateway: name(&own.gateway), ..own };
    let mqtt = publish::Config { client_id, ..mqtt.clone() };
    let host = format!("{}:{}", mqtt.host, mqtt.port);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(why) => {
            return Finding::bad(
                "broker",
                why.to_string(),
                "is the system out of file descriptors?",
            );
        }
    };
    match runtime.block_on(meet(&mqtt, &identity)) {
        Ok(()) if mqtt.ca_file.is_some() => Finding::good("broker", format!("{host}, TLS")),
        Ok(()) => Finding::good("broker", format!("{host}, not encrypted")),
        Err(lost) => {
            let fix = match &lost {
                Lost::Unreachable(_) | Lost::Closed(_) => {
                    "systemctl status mosquitto; nc -vz HOST PORT"
                }
                Lost::Certificate(_) => "openssl s_client -connect HOST:PORT -CAfile CA; date",
                Lost::Refused(_) => "check mqtt.username, mqtt.password_file and the broker's log",
                Lost::Setup(_) => {
                    "does HOST:PORT speak TLS? 8883 by custom; without, no mqtt.ca_file"
                }
                Lost::TooLong(_) => "see mqtt in docs/configure.md",
            };
            let fix =
                fix.replace("HOST:PORT", &host).replace("HOST PORT", &host.replacen(':', " ", 1));
            let ca = mqtt.ca_file.as_deref().unwrap_or(Path::new("CA")).display().to_string();
            Finding::bad("broker", lost.why(), &fix.replace("CAfile CA", &format!("CAfile {ca}")))
        }
    }
}

async fn meet(mqtt: &publish::Config, identity: &Identity) -> Result<(), Lost> {
    let (to, mut news) = mpsc::channel(8);
    let link = Link::open(mqtt, identity, 0, to)?;
    let patience = Duration::from_secs(u64::from(mqtt.connect_timeout_s) + 1);
    let silent = || Lost::Unreachable(format!("{}:{} does not answer", mqtt.host, mqtt.port));
    let met = tokio::time::timeout(patience, news.recv()).await.map_err(|_| silent())?;
    if let Happening::Lost(lost) = met.ok_or_else(silent)?.1 {
        return Err(lost);
    }
    let topic = format!("{}/doctor", identity.base());
    let last = Message { topic, payload: b"{}".to_vec(), is_retained: false, is_sure: false };
    link.close(last, LEAVE).await;
    Ok(())
}

/// How long a certificate holds, where openssl is there to tell.
fn certificate(key: &str, path: &Path) -> Option<Finding> {
    let ask = |args: &[&str]| {
        Command::new("openssl").args(["x509", "-noout", "-in"]).arg(path).args(args).output().ok()
    };
    let told = ask(&["-enddate"])?;
    if !told.status.success() {
        let why = String::from_utf8_lossy(&told.stderr).lines().next().unwrap_or("").to_owned();
        return Some(Finding::bad(key, format!("{}: {why}", path.display()), "copy it again"));
    }
    let text = String::from_utf8_lossy(&told.stdout).trim().replace("notAfter=", "");
    let lives_on =
        |seconds: &str| ask(&["-checkend", seconds]).is_some_and(|it| it.status.success());
    let found = format!("{} holds until {text}", path.display());
    Some(if !lives_on("0") {
        Finding::bad(key, format!("{} ended {text}", path.display()), "renew it")
    } else if !lives_on(RENEW_S) {
        Finding::note(key, found, "renew it within these 30 days")
    } else {
        Finding::good(key, found)
    })
}
