//! The alert event, `auscult.alert/1`: one event in the life of one alarm.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Number, bytes, cut};
use crate::publish::Identity;
use crate::store::{Class, NewRow, Rank, alert_id, event_id};
use crate::types::{Alert, Event, Fault, Life, ModelId, Refusal, Severity};

/// Evidence lines published of a fault, at the most.
const EVIDENCE_MAX: usize = 16;

/// One event in the life of one alarm.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "auscult.alert/1")]
struct Payload<'a> {
    /// Always `auscult.alert/1`.
    schema: &'static str,
    /// Unique per event, the same when sent again: drop what you have seen.
    id: String,
    /// The same through one alert's life.
    alert: String,
    /// `raised`, `worsened`, `improved`, `returned`, `acknowledged`, `shelved`, `unshelved`, `cleared`.
    event: &'static str,
    /// ISA-18.2 state after the event.
    state: &'static str,
    /// `low`, `medium`, `high`.
    priority: &'static str,
    site: &'a str,
    gateway: &'a str,
    asset: &'a str,
    sensor: &'a str,
    /// Source time, RFC 3339 UTC with milliseconds.
    ts: String,
    /// The same in milliseconds since 1970.
    ts_ms: i64,
    /// `synchronised`, `free_running`, `implausible`, `recording`.
    clock: &'static str,
    /// Episode of trouble on this asset and kind, counted from 1.
    episode: u64,
    /// Event within that life, counted from 1.
    transition: u32,
    /// `anomaly`, `severity`, `fault`, `trend`, `sensor`.
    what: &'static str,
    /// The surest fault, or null while none is named.
    fault: Option<FaultPart<'a>>,
    score: ScorePart,
    /// By the standard, or null with `severity_reason`.
    severity: Option<SeverityPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    severity_reason: Option<&'static str>,
    outlook: OutlookPart,
    /// One sentence a fitter understands.
    message: &'a str,
    /// What to do and how urgent.
    action: &'a str,
    /// Operating regime, counted from 0; null where none fits.
    regime: Option<u16>,
    speed_rpm: Number,
    #[serde(skip_serializing_if = "Option::is_none")]
    speed_reason: Option<&'static str>,
    /// Flags of the sensor's data; empty is good.
    quality: Vec<&'static str>,
    /// Id of the saved recording, or null.
    clip: Option<&'a str>,
    /// The model that had a say, or null.
    model: Option<ModelPart<'a>>,
    /// Digest of the configuration in force.
    config: String,
    /// The samples that were the last straw.
    samples: SamplesPart,
    /// Who did it and why, for an operator's events; null otherwise.
    by: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
struct FaultPart<'a> {
    /// What machines read: `outer_race`.
    code: &'static str,
    /// What people read: `bearing outer race`.
    name: &'static str,
    /// 0-1.
    confidence: Number,
    evidence: Vec<EvidencePart<'a>>,
}

#[derive(Serialize, JsonSchema)]
struct EvidencePart<'a> {
    feature: &'a str,
    value: Number,
    unit: &'static str,
    /// What a healthy machine or the theory has, same unit.
    expected: Number,
    /// Order of shaft speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Number>,
}

#[derive(Serialize, JsonSchema)]
struct ScorePart {
    value: Number,
    threshold: Number,
    p_value: Number,
    /// The budget in force; null while the data learned cannot support one.
    false_alarms_per_year: Number,
    /// Why a number is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
struct SeverityPart<'a> {
    /// Worst axis, mm/s.
    velocity_rms_mm_s: Number,
    /// `A` to `D`, or null with `reason`.
    zone: Option<&'static str>,
    standard: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
struct OutlookPart {
    /// Remaining life in hours, or null with `reason`.
    life_left_h: Option<LifePart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
struct LifePart {
    p10: Number,
    p50: Number,
    p90: Number,
}

#[derive(Serialize, JsonSchema)]
struct ModelPart<'a> {
    name: &'a str,
    digest: String,
}

#[derive(Serialize, JsonSchema)]
struct SamplesPart {
    /// Number of the first sample (per channel) since the source began.
    first: u64,
    /// How many.
    n: u64,
}

/// The payload of one alert event; the same alert gives the same bytes.
pub fn alert(identity: &Identity, alert: &Alert) -> Vec<u8> {
    let (severity, severity_reason) = severity(&alert.severity);
    let speed_rpm = Number::from(alert.speed_rpm);
    bytes(&Payload {
        schema: "auscult.alert/1",
        id: event_id(&identity.gateway, identity.epoch, alert).to_string(),
        alert: alert_id(&identity.gateway, identity.epoch, alert).to_string(),
        event: alert.event.name(),
        state: alert.state.name(),
        priority: alert.priority.name(),
        site: &identity.site,
        gateway: &identity.gateway,
        asset: &alert.origin.asset,
        sensor: &alert.origin.sensor,
        ts: alert.start.to_string(),
        ts_ms: alert.start.as_ms(),
        clock: identity.clock.name(),
        episode: alert.episode,
        transition: alert.transition,
        what: alert.what.name(),
        fault: alert.fault.as_ref().map(fault),
        score: score(alert),
        severity,
        severity_reason,
        outlook: outlook(&alert.life),
        message: cut(&alert.message),
        action: cut(&alert.action),
        regime: alert.regime,
        speed_rpm,
        speed_reason: speed_rpm.or_reason("the speed is not known"),
        quality: alert.quality.names().collect(),
        clip: alert.clip.as_deref(),
        model: alert
            .origin
            .model
            .as_ref()
            .map(|ModelId { name, digest }| ModelPart { name, digest: digest.to_string() }),
        config: identity.config.to_string(),
        samples: SamplesPart { first: alert.origin.first_sample, n: alert.origin.n_samples },
        by: alert.by.as_deref().map(cut),
    })
}

/// One alert event as a row of the outbox.
pub fn alert_row(identity: &Identity, noun: &Alert) -> NewRow {
    NewRow {
        id: event_id(&identity.gateway, identity.epoch, noun),
        life: alert_id(&identity.gateway, identity.epoch, noun),
        class: Class::Alert,
        rank: match noun.event {
            Event::Raised | Event::Returned | Event::Cleared => Rank::Landmark,
            Event::Worsened => Rank::Worst,
            _ => Rank::Update,
        },
        at: noun.start,
        topic: identity.topic(&noun.origin.asset, "alert"),
        payload: alert(identity, noun),
    }
}

/// JSON Schema of the payload.
#[allow(clippy::missing_panics_doc, reason = "a schema is always JSON")]
pub fn alert_schema() -> String {
    let schema = schemars::schema_for!(Payload<'static>);
    serde_json::to_string_pretty(&schema).expect("a schema is JSON") + "\n"
}

fn fault(fault: &Fault) -> FaultPart<'_> {
    let evidence = fault.evidence.iter().take(EVIDENCE_MAX);
    FaultPart {
        code: fault.code.code(),
        name: fault.code.name(),
        confidence: f64::from(fault.confidence).into(),
        evidence: evidence
            .map(|line| EvidencePart {
                feature: cut(&line.feature),
                value: line.value.into(),
                unit: line.unit,
                expected: line.expected.into(),
                order: line.order.map(Number::from),
            })
            .collect(),
    }
}

fn score(alert: &Alert) -> ScorePart {
    let value = Number::from(alert.score_value);
    let budget = Number::from(alert.false_alarms_per_year);
    ScorePart {
        value,
        threshold: alert.score_threshold.into(),
        p_value: alert.p_value.into(),
        false_alarms_per_year: budget,
        reason: value
            .or_reason("nothing was scored")
            .or(budget.or_reason("too little was learned to promise a false-alarm rate")),
    }
}

pub(super) fn severity_parts(
    severity: &Severity,
) -> (Option<f64>, Option<&'static str>, Option<&'static str>) {
    (
        severity.velocity_rms_mm_s.filter(|value| value.is_finite()),
        severity.zone.map(crate::types::Zone::letter),
        severity.reason,
    )
}

fn severity(noun: &Severity) -> (Option<SeverityPart<'_>>, Option<&'static str>) {
    let (velocity, zone, reason) = severity_parts(noun);
    if velocity.is_none() && zone.is_none() {
        return (None, Some(reason.unwrap_or("no velocity was measured")));
    }
    let reason = if zone.is_none() { reason.or(Some("no zone applies")) } else { None };
    let velocity_rms_mm_s = velocity.into();
    (Some(SeverityPart { velocity_rms_mm_s, zone, standard: &noun.standard, reason }), None)
}

fn outlook(life: &Result<Life, Refusal>) -> OutlookPart {
    match life {
        Ok(Life { p10_h, p50_h, p90_h }) => OutlookPart {
            life_left_h: Some(LifePart {
                p10: (*p10_h).into(),
                p50: (*p50_h).into(),
                p90: (*p90_h).into(),
            }),
            reason: None,
        },
        Err(refusal) => OutlookPart { life_left_h: None, reason: Some(refusal.reason()) },
    }
}
