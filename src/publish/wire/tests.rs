//! Tests of the payloads: every field of the contract, and never a NaN.

use serde_json::Value;

use super::*;
use crate::publish::{ClockQuality, Identity};
use crate::store::Epoch;
use crate::types::{
    AlarmState, Alert, Digest, Event, Evidence, Fault, FaultCode, Life, ModelId, Origin, Priority,
    Quality, Refusal, Severity, Stamp, What, Zone,
};

fn identity() -> Identity {
    Identity {
        site: "works".into(),
        gateway: "box-1".into(),
        epoch: Epoch([7; 16]),
        config: Digest([1; 32]),
        clock: ClockQuality::Synchronised,
    }
}

fn full() -> Alert {
    Alert {
        origin: Origin {
            first_sample: 48_000,
            n_samples: 16_000,
            model: Some(ModelId { name: "vibration-1".into(), digest: Digest([2; 32]) }),
            ..Origin::new("fan", "de")
        },
        start: Stamp::from_ms(1_769_860_800_123),
        episode: 3,
        transition: 2,
        event: Event::Worsened,
        state: AlarmState::Unacknowledged,
        priority: Priority::High,
        what: What::Fault,
        fault: Some(Fault {
            code: FaultCode::OuterRace,
            confidence: 0.87,
            evidence: vec![Evidence {
                feature: "envelope line at 1 x BPFO".into(),
                value: 107.36,
                unit: "Hz",
                expected: Some(107.3),
                order: Some(3.585),
            }],
        }),
        score_value: 12.3456789,
        score_threshold: 4.0,
        p_value: 1.25e-9,
        false_alarms_per_year: Some(1.0),
        severity: Severity {
            velocity_rms_mm_s: Some(4.6),
            zone: Some(Zone::C),
            standard: "ISO 20816-3:2022 group 2 rigid".into(),
            reason: None,
        },
        life: Ok(Life { p10_h: 20.0, p50_h: 55.0, p90_h: 140.0 }),
        message: "Outer race fault on the drive end of fan.".into(),
        action: "Change the bearing within two days.".into(),
        regime: Some(1),
        speed_rpm: Some(1797.0),
        quality: Quality::CLIPPED.with(Quality::HUM),
        clip: Some("fan-de-1".into()),
        by: None,
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn an_alert_has_every_field_of_the_contract() {
    let text = String::from_utf8(alert(&identity(), &full())).unwrap();
    let expect = concat!(
        r#"{"schema":"auscult.alert/1","id":"ID","alert":"LIFE","event":"worsened","#,
        r#""state":"unacknowledged","priority":"high","site":"works","gateway":"box-1","#,
        r#""asset":"fan","sensor":"de","ts":"2026-01-31T12:00:00.123Z","ts_ms":1769860800123,"#,
        r#""clock":"synchronised","episode":3,"transition":2,"what":"fault","#,
        r#""fault":{"code":"outer_race","name":"bearing outer race","confidence":0.87,"#,
        r#""evidence":[{"feature":"envelope line at 1 x BPFO","value":107.36,"unit":"Hz","#,
        r#""expected":107.3,"order":3.585}]},"score":{"value":12.3457,"threshold":4.0,"#,
        r#""p_value":1.25e-9,"false_alarms_per_year":1.0},"severity":{"velocity_rms_mm_s":4.6,"#,
        r#""zone":"C","standard":"ISO 20816-3:2022 group 2 rigid"},"outlook":{"life_left_h":"#,
        r#"{"p10":20.0,"p50":55.0,"p90":140.0}},"message":"Outer race fault on the drive end of "#,
        r#"fan.","action":"Change the bearing within two days.","regime":1,"speed_rpm":1797.0,"#,
        r#""quality":["clipped","hum"],"clip":"fan-de-1","model":{"name":"vibration-1","digest":"#,
        r#""0202020202020202"},"config":"0101010101010101","samples":{"first":48000,"n":16000},"#,
        r#""by":null}"#
    );
    let value = json(text.as_bytes());
    let (id, life) = (value["id"].as_str().unwrap(), value["alert"].as_str().unwrap());
    assert!(id.len() == 32 && life.len() == 32 && id != life);
    assert_eq!(text, expect.replace("ID", id).replace("LIFE", life));
}

#[test]
fn what_is_missing_is_null_with_a_reason() {
    let poor = Alert {
        fault: None,
        score_value: f64::NAN,
        score_threshold: f64::INFINITY,
        false_alarms_per_year: None,
        severity: Severity {
            velocity_rms_mm_s: None,
            zone: None,
            standard: "none".into(),
            reason: Some("the unit is unknown"),
        },
        life: Err(Refusal::NotWearing),
        speed_rpm: None,
        clip: None,
        origin: Origin::new("fan", "de"),
        ..full()
    };
    let value = json(&alert(&identity(), &poor));
    for path in ["/fault", "/score/value", "/severity", "/outlook/life_left_h", "/speed_rpm"] {
        assert_eq!(value.pointer(path), Some(&Value::Null), "{path}");
    }
    assert_eq!(value["severity_reason"], "the unit is unknown");
    assert_eq!(value["outlook"]["reason"], "no confirmed wear");
    assert_eq!(value["score"]["reason"], "nothing was scored");
    assert_eq!(value["speed_reason"], "the speed is not known");
}

#[test]
fn ids_follow_from_what_happened_and_from_nothing_else() {
    let id = |identity: &Identity, alert: Alert| {
        let row = alert_row(identity, &alert);
        (row.id, row.life)
    };
    let (event, life) = id(&identity(), full());
    let later = Alert { start: Stamp(0), message: String::new(), ..full() };
    assert_eq!(id(&identity(), later), (event, life), "the same decision, made again");
    let next = id(&identity(), Alert { transition: 3, ..full() });
    assert!(next.0 != event && next.1 == life, "another event in the same life");
    let leads = id(&identity(), Alert { what: What::Trend, ..full() });
    assert_eq!(leads, (event, life), "what leads may change within one life");
    for other in [
        id(&identity(), Alert { episode: 4, ..full() }),
        id(&identity(), Alert { origin: Origin::new("pump", "de"), ..full() }),
        id(&Identity { epoch: Epoch([8; 16]), ..identity() }, full()),
        id(&Identity { gateway: "box-2".into(), ..identity() }, full()),
    ] {
        assert!(other.0 != event && other.1 != life);
    }
}

#[test]
fn endless_texts_are_cut_between_characters() {
    let long = Alert { message: "ü".repeat(10_000), ..full() };
    let value = json(&alert(&identity(), &long));
    assert_eq!(value["message"].as_str().unwrap().chars().count(), 1000);
}

#[test]
fn the_schema_on_disk_is_the_one_of_the_code() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/alert.schema.json");
    if std::env::var_os("AUSCULT_REMAKE").is_some() {
        crate::store::replace(path.as_ref(), alert_schema().as_bytes()).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(kept, alert_schema(), "run this test once with AUSCULT_REMAKE=1");
}
