//! One sentence a fitter understands, with the numbers.

use std::fmt::Write;

use crate::types::{Change, Event, Fault, What};

use super::causes;
use super::facts::Facts;

/// The sentence of an event: what, how much, how long.
pub(super) fn sentence(
    event: Event,
    what: What,
    fault: Option<&Fault>,
    facts: &Facts,
    held_back: u32,
) -> String {
    let mut text = String::with_capacity(200);
    text.push_str(opening(event));
    match what {
        What::Sensor => sensor(&mut text, facts, event),
        _ if matches!(event, Event::Returned | Event::Cleared) => {
            let asset = &facts.origin.asset;
            put(&mut text, format_args!("{asset} is as it should be"));
            severity(&mut text, facts);
        }
        _ => machine(&mut text, what, fault, facts),
    }
    if held_back > 0 {
        let changes = if held_back == 1 { "change was" } else { "changes were" };
        put(&mut text, format_args!(" ({held_back} earlier {changes} held back to keep calm)"));
    }
    text.push('.');
    text
}

fn opening(event: Event) -> &'static str {
    match event {
        Event::Raised => "",
        Event::Worsened => "Worse: ",
        Event::Improved => "Better: ",
        Event::Returned => "Back to normal, not yet acknowledged: ",
        Event::Acknowledged => "Acknowledged: ",
        Event::Shelved => "Put aside: ",
        Event::Unshelved => "Back from the shelf: ",
        Event::Cleared => "Over: ",
    }
}

/// Writing to a string cannot fail.
fn put(text: &mut String, words: std::fmt::Arguments<'_>) {
    text.write_fmt(words).expect("a string takes everything");
}

fn severity(text: &mut String, facts: &Facts) {
    let severity = &facts.severity;
    if let (Some(velocity), Some(zone)) = (severity.velocity_rms_mm_s, severity.zone) {
        put(text, format_args!("; vibration {velocity:.1} mm/s, zone {}", zone.letter()));
        if !severity.standard.is_empty() {
            put(text, format_args!(" of {}", severity.standard));
        }
    }
}

fn machine(text: &mut String, what: What, fault: Option<&Fault>, facts: &Facts) {
    let asset = &facts.origin.asset;
    match (what, fault) {
        (_, Some(fault)) => fault_words(text, asset, fault),
        (What::Severity, None) => put(text, format_args!("{asset} vibrates too strongly")),
        (What::Trend, None) => put(text, format_args!("{asset} is wearing out")),
        _ => put(text, format_args!("{asset} behaves differently from what was learned")),
    }
    severity(text, facts);
    if let Some(first) = facts.contributions.first() {
        let (from, to) = first.band_hz;
        let (db, more) = (first.db.abs(), if first.db < 0.0 { "less" } else { "more" });
        match first.change {
            Change::Level => {
                let louder = if first.db < 0.0 { "quieter" } else { "louder" };
                put(text, format_args!("; {db:.0} dB {louder} at {from:.0}-{to:.0} Hz"));
            }
            Change::Fluctuation => {
                put(
                    text,
                    format_args!("; its level varies {db:.0} dB {more} at {from:.0}-{to:.0} Hz"),
                );
            }
            Change::Shocks => put(text, format_args!("; it knocks {db:.0} dB {more}")),
        }
    }
    if facts.score_threshold > 0.0 && facts.score_value > facts.score_threshold {
        let ratio = facts.score_value / facts.score_threshold;
        put(text, format_args!("; score {ratio:.1} times its limit"));
    }
    if let Ok(life) = facts.life {
        let (low, mid, high) = (hours(life.p10_h), hours(life.p50_h), hours(life.p90_h));
        put(text, format_args!("; about {mid} left ({low} to {high})"));
    }
}

fn fault_words(text: &mut String, asset: &str, fault: &Fault) {
    let percent = 100.0 * fault.confidence;
    put(text, format_args!("{asset}: {} ({percent:.0} % sure)", fault.code.name()));
    let Some(first) = fault.evidence.first() else { return };
    put(text, format_args!(", {} {} {}", first.feature, figure(first.value), first.unit));
    if let Some(expected) = first.expected {
        put(text, format_args!(" (expected {})", figure(expected)));
    }
}

fn sensor(text: &mut String, facts: &Facts, event: Event) {
    let (asset, sensor) = (&facts.origin.asset, &facts.origin.sensor);
    if matches!(event, Event::Returned | Event::Cleared) {
        put(text, format_args!("sensor {sensor} on {asset} can be trusted again"));
        return;
    }
    if event == Event::Improved && causes::sensor(facts.quality).level == 0 {
        put(text, format_args!("sensor {sensor} on {asset} can be trusted again, another not yet"));
        return;
    }
    let blind = facts.quality.is_blind();
    let trouble = if blind { "cannot be trusted" } else { "needs a hand" };
    put(text, format_args!("sensor {sensor} on {asset} {trouble}"));
    for (idx, name) in facts.quality.names().enumerate() {
        put(text, format_args!("{}{}", if idx == 0 { ": " } else { ", " }, name.replace('_', " ")));
    }
    if blind {
        text.push_str("; the machine is not being watched by it");
    }
}

/// Four figures or so.
fn figure(value: f64) -> String {
    let size = value.abs();
    let digits = if size >= 1000.0 {
        0
    } else if size >= 100.0 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}

/// A length of time as one says it.
pub(super) fn hours(hours: f64) -> String {
    if hours < 1.0 {
        format!("{:.0} min", hours * 60.0)
    } else if hours < 72.0 {
        format!("{hours:.0} h")
    } else if hours < 24.0 * 90.0 {
        format!("{:.0} days", hours / 24.0)
    } else {
        format!("{:.0} months", hours / 730.5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Evidence, FaultCode, Life, Quality, Zone};

    #[test]
    fn a_fault_is_told_with_its_numbers() {
        let mut facts = Facts::blank("pump-1", "drive-end");
        let evidence = vec![Evidence {
            feature: "envelope line at 1 x BPFO".to_owned(),
            value: 107.31,
            unit: "Hz",
            expected: Some(107.36),
            order: Some(3.58),
        }];
        let fault = Fault { code: FaultCode::OuterRace, confidence: 0.87, evidence };
        facts.severity.velocity_rms_mm_s = Some(5.24);
        facts.severity.zone = Some(Zone::C);
        facts.severity.standard = "ISO 20816-3 group 2 rigid".into();
        (facts.score_value, facts.score_threshold) = (9.3, 3.0);
        facts.life = Ok(Life { p10_h: 20.0, p50_h: 40.0, p90_h: 100.0 });
        assert_eq!(
            sentence(Event::Worsened, What::Fault, Some(&fault), &facts, 0),
            "Worse: pump-1: bearing outer race (87 % sure), envelope line at 1 x BPFO 107.3 Hz \
             (expected 107.4); vibration 5.2 mm/s, zone C of ISO 20816-3 group 2 rigid; score 3.1 \
             times its limit; about 40 h left (20 h to 4 days)."
        );
    }

    #[test]
    fn a_sensor_says_what_is_wrong_and_what_follows() {
        let mut facts = Facts::blank("pump-1", "mic");
        facts.quality = Quality::FLAT.with(Quality::LOOSE_MOUNT);
        assert_eq!(
            sentence(Event::Raised, What::Sensor, None, &facts, 2),
            "sensor mic on pump-1 cannot be trusted: flat, loose mount; the machine is not being \
             watched by it (2 earlier changes were held back to keep calm)."
        );
    }
}
