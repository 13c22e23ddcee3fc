//! What stands now: the machine's state, the instrument's status, the features.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::alert::severity_parts;
use super::{Number, bytes, cut};
use crate::publish::Identity;
use crate::types::{Features, Finding, Ne107, OpenAlert, Outlook, SensorKind, Stamp};

/// How full a queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Queue {
    /// Which.
    pub name: &'static str,
    /// Items in it.
    pub depth: u64,
    /// Items it can hold.
    pub max: u64,
}

/// How often something happened since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Counter {
    /// What.
    pub name: &'static str,
    /// How often.
    pub n: u64,
}

/// The instrument's own state; never the machine's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// NAMUR NE 107 word.
    pub ne107: Ne107,
    /// Why, one sentence each; empty when good.
    pub reasons: Vec<String>,
    /// When.
    pub at: Stamp,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Whether alerts outlive a power cut right now.
    pub durable: bool,
    /// How full the queues are.
    pub queues: Vec<Queue>,
    /// What was counted.
    pub counters: Vec<Counter>,
}

impl Status {
    /// Whether it says anything but numbers that an earlier one did not.
    pub fn is_news_after(&self, earlier: &Self) -> bool {
        (self.ne107, self.durable) != (earlier.ne107, earlier.durable)
            || self.reasons != earlier.reasons
    }
}

/// Payload of `{base}/status`.
pub fn status(identity: &Identity, status: &Status) -> Vec<u8> {
    let counters: Map<_, _> =
        status.counters.iter().map(|counter| (counter.name.into(), counter.n.into())).collect();
    bytes(&json!({
        "schema": "auscult.status/1",
        "online": true,
        "ne107": status.ne107.name(),
        "reasons": status.reasons.iter().map(|reason| cut(reason)).collect::<Vec<_>>(),
        "site": identity.site,
        "gateway": identity.gateway,
        "ts": status.at.to_string(),
        "ts_ms": status.at.as_ms(),
        "clock": identity.clock.name(),
        "uptime_s": status.uptime_s,
        "durable": status.durable,
        "versions": {"auscult": env!("CARGO_PKG_VERSION"), "config": identity.config.to_string()},
        "queues": status.queues,
        "counters": counters,
    }))
}

/// Payload the broker publishes on `{base}/status` when the box is gone without a word, and the box
/// itself when it stops.
pub fn last_will(identity: &Identity, reason: &str) -> Vec<u8> {
    bytes(&json!({
        "schema": "auscult.status/1",
        "online": false,
        "reasons": [reason],
        "site": identity.site,
        "gateway": identity.gateway,
    }))
}

/// Payload of `{base}/{asset}/state`.
pub fn state(
    identity: &Identity,
    finding: &Finding,
    outlook: &Outlook,
    open: &[OpenAlert],
) -> Vec<u8> {
    let (velocity, zone, reason) = severity_parts(&finding.severity);
    let severity_reason = zone.is_none().then_some(reason.unwrap_or("no zone applies"));
    let number = |value: f64| json!(Number::from(value));
    let life = outlook.life.ok().map(|life| {
        json!({"p10": number(life.p10_h), "p50": number(life.p50_h), "p90": number(life.p90_h)})
    });
    bytes(&json!({
        "schema": "auscult.state/1",
        "site": identity.site,
        "gateway": identity.gateway,
        "asset": &*finding.origin.asset,
        "sensor": &*finding.origin.sensor,
        "ts": finding.start.to_string(),
        "ts_ms": finding.start.as_ms(),
        "clock": identity.clock.name(),
        "state": finding.state.name(),
        "health": number(f64::from(finding.health)),
        "severity": {
            "velocity_rms_mm_s": Number::from(velocity), "zone": zone,
            "standard": &*finding.severity.standard, "reason": severity_reason,
        },
        "score": number(finding.score.value),
        "threshold": number(finding.score.threshold),
        "p_value": number(finding.score.p_value),
        "learned": number(f64::from(finding.score.learned)),
        "learning_reason": finding.score.settling_db.map(settling),
        "regime": finding.score.regime,
        "speed_rpm": Number::from(finding.speed_hz.map(|hz| hz * 60.0)),
        "fault": finding.faults.first().map(|fault| fault.code.code()),
        "open_alerts": open.iter().map(open_alert).collect::<Vec<_>>(),
        "life_left_h": life,
        "life_reason": outlook.life.err().map(crate::types::Refusal::reason),
        "quality": finding.quality.names().collect::<Vec<_>>(),
    }))
}

/// Why learning takes longer than ordered.
fn settling(db: f32) -> String {
    let way = if db < 0.0 { "fell" } else { "rose" };
    format!("the machine settles: its levels {way} by {:.1} dB while they were learned", db.abs())
}

fn open_alert(open: &OpenAlert) -> Value {
    json!({
        "what": open.what.name(),
        "state": open.state.name(),
        "priority": open.priority.name(),
        "episode": open.episode,
        "since": open.since.to_string(),
    })
}

/// Payload of `{base}/{asset}/features`: each axis's numbers with their units.
pub fn features(identity: &Identity, features: &Features) -> Vec<u8> {
    let kind = match features.kind {
        SensorKind::Vibration => "vibration",
        SensorKind::Sound => "sound",
    };
    bytes(&json!({
        "schema": "auscult.features/1",
        "site": identity.site,
        "gateway": identity.gateway,
        "asset": &*features.origin.asset,
        "sensor": &*features.origin.sensor,
        "ts": features.start.to_string(),
        "ts_ms": features.start.as_ms(),
        "clock": identity.clock.name(),
        "kind": kind,
        "span_s": Number::from(features.span.as_secs()),
        "quality": features.quality.names().collect::<Vec<_>>(),
        "speed_rpm": Number::from(features.speed.map(|speed| speed.hz * 60.0)),
        "axes": features.axes.iter().map(|axis| axis_values(features, axis)).collect::<Vec<_>>(),
    }))
}

fn axis_values(features: &Features, axis: &crate::types::Axis) -> Value {
    let unit = features.unit.name();
    let numbers = &axis.indicators;
    let mut values = Map::new();
    let mut put = |name: &str, value: Option<f64>, unit: &str| {
        if let Some(value) = value {
            values.insert(name.into(), json!({"value": Number::from(value), "unit": unit}));
        }
    };
    for (name, value, unit) in [
        ("rms", numbers.rms, unit),
        ("peak_true", numbers.peak_true, unit),
        ("peak_to_peak", numbers.peak_to_peak, unit),
        ("crest_factor", numbers.crest_factor, "1"),
        ("kurtosis", numbers.kurtosis, "1"),
        ("skewness", numbers.skewness, "1"),
    ] {
        put(name, Some(f64::from(value)), unit);
    }
    put("level_dba", numbers.level_dba.map(f64::from), "dB(A)");
    let velocity = axis.record.as_ref().and_then(|record| record.velocity_rms_mm_s);
    put("velocity_rms", velocity, "mm/s");
    json!({"quality": axis.quality.names().collect::<Vec<_>>(), "values": values})
}
