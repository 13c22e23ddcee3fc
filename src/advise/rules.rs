//! From finding to action: what a fitter is to do, and how soon.

use crate::types::{FaultCode, Life, Priority, Quality, What, Zone};

/// What the action depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grounds {
    pub what: What,
    pub priority: Priority,
    pub fault: Option<FaultCode>,
    pub zone: Option<Zone>,
    pub life: Option<Life>,
    pub quality: Quality,
}

/// What to do and how urgent, in one or two sentences.
pub(super) fn action(grounds: &Grounds) -> String {
    if grounds.what == What::Sensor {
        return format!("{} {}", how_soon(grounds), sensor(grounds.quality));
    }
    let work = match (grounds.what, grounds.fault) {
        (What::Trend, None) => "order the parts and plan the repair; watch the trend daily.",
        (What::Severity, None) => match grounds.zone {
            Some(Zone::D) => {
                "check foundation bolts, coupling, rotor and bearings before running on."
            }
            _ => "inspect mounting, coupling, balance and bearings; not for long running.",
        },
        (_, Some(fault)) => repair(fault),
        (_, None) => {
            "look and listen at the machine and ask what changed (load, product, setting); \
             if all is as it should be, acknowledge with the reason."
        }
    };
    format!("{} {work}", how_soon(grounds))
}

fn how_soon(grounds: &Grounds) -> String {
    if grounds.zone == Some(Zone::D) && grounds.what != What::Sensor {
        return "Now: take load off or stop, then".to_owned();
    }
    match (grounds.priority, grounds.life) {
        (Priority::High, Some(life)) => {
            format!("Now, at the latest within {}:", super::words::hours(life.p10_h))
        }
        (Priority::High, None) => "Now:".to_owned(),
        (_, Some(life)) => format!("Within {}:", super::words::hours(life.p10_h)),
        (Priority::Medium, None) => "Plan it for the coming days:".to_owned(),
        (Priority::Low, None) => "At the next opportunity:".to_owned(),
    }
}

fn repair(fault: FaultCode) -> &'static str {
    match fault {
        FaultCode::Unbalance => {
            "clean the rotor, look for lost weights or build-up, then balance it in place."
        }
        FaultCode::Misalignment => {
            "check the coupling and align the shafts; look for soft foot and pipe strain."
        }
        FaultCode::BentShaft => "measure the shaft's run-out and straighten or replace it.",
        FaultCode::Looseness => {
            "tighten foundation and housing bolts; check the bearing's fit and the frame for cracks."
        }
        FaultCode::Resonance => {
            "check whether the speed lies on a natural frequency; stiffen or change the speed."
        }
        FaultCode::OuterRace | FaultCode::InnerRace | FaultCode::Ball => {
            "have a replacement bearing ready and change it; grease only buys time. Keep the old \
             one for inspection."
        }
        FaultCode::Cage => "change the bearing soon: a cage can fail without further warning.",
        FaultCode::GearMesh => {
            "inspect the teeth and take an oil sample; check backlash and alignment."
        }
        FaultCode::Belt => "check the belt's wear and tension and the pulleys' alignment.",
        FaultCode::BladePass => {
            "look for damaged blades, blockage or too small a gap; check flow and dampers."
        }
        FaultCode::Electrical => {
            "check supply voltages and currents per phase and the air gap; call an electrician."
        }
        FaultCode::Cavitation => {
            "raise the suction pressure or lower the flow; check strainer and suction valve."
        }
        FaultCode::Lubrication => "relubricate by the maker's amount and listen whether it calms.",
        FaultCode::ImpulsiveUnknown => {
            "find what knocks: look for loose or rubbing parts, then the bearings."
        }
    }
}

fn sensor(quality: Quality) -> &'static str {
    if quality.has(Quality::FLAT) || quality.has(Quality::BIAS) {
        "check the sensor's cable, plug and supply, then the sensor."
    } else if quality.has(Quality::SATURATED) {
        "lower the gain or fit a sensor with a larger range; the signal is cut off."
    } else if quality.has(Quality::DROPOUT) {
        "check cable and connection; samples are missing."
    } else if quality.has(Quality::GARBAGE) {
        "check the sensor and its driver; values are no numbers."
    } else if quality.has(Quality::LOOSE_MOUNT) {
        "fix the sensor to the machine again; it hangs loose."
    } else if quality.has(Quality::SWAPPED) {
        "check the wiring; the channels look exchanged."
    } else if quality.has(Quality::HUM) {
        "check the cable's shield and earthing; it hums with the mains while the machine is off."
    } else if quality.has(Quality::SPIKES) {
        "check plug, cable and shield, and what switches near them; single samples jump as no machine does."
    } else {
        "check the sensor, its cable and its fixing."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_has_its_own_work_and_urgency_leads() {
        let grounds = |fault, priority, zone, life| {
            let quality = Quality::GOOD;
            action(&Grounds { what: What::Fault, priority, fault, zone, life, quality })
        };
        for fault in FaultCode::ALL {
            let text = grounds(Some(fault), Priority::Low, None, None);
            assert!(text.starts_with("At the next opportunity: "), "{text}");
            assert!(text.ends_with('.'), "{text}");
        }
        let life = Life { p10_h: 30.0, p50_h: 60.0, p90_h: 90.0 };
        let check = |text: String, start: &str| assert!(text.starts_with(start), "{text}");
        let ball = Some(FaultCode::Ball);
        check(grounds(ball, Priority::High, Some(Zone::D), None), "Now: take load off or stop");
        check(grounds(ball, Priority::Medium, None, Some(life)), "Within 30 h: have a");
        check(grounds(None, Priority::Medium, None, None), "Plan it for the coming days: look");
    }

    #[test]
    fn a_sensor_is_told_by_its_flag() {
        let quality = Quality::FLAT;
        let text = action(&Grounds {
            what: What::Sensor,
            priority: Priority::Medium,
            fault: None,
            zone: None,
            life: None,
            quality,
        });
        assert_eq!(
            text,
            "Plan it for the coming days: check the sensor's cable, plug and supply, then the sensor."
        );
    }
}
