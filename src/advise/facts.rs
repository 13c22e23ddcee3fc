//! What is known of the machine now: the numbers behind the next event.

use crate::types::{
    Contribution, Fault, Finding, Life, Origin, Outlook, Quality, Refusal, Score, Severity, Stamp,
};

/// The last finding and outlook without what an alert does not carry.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub origin: Origin,
    pub start: Stamp,
    pub score_value: f64,
    pub score_threshold: f64,
    pub p_value: f64,
    pub false_alarms_per_year: Option<f64>,
    pub severity: Severity,
    /// The last that were named, though they may be gone since.
    pub faults: Vec<Fault>,
    pub life: Result<Life, Refusal>,
    pub contributions: Vec<Contribution>,
    pub regime: Option<u16>,
    pub speed_rpm: Option<f64>,
    pub quality: Quality,
}

impl Facts {
    /// Nothing heard yet.
    pub(super) fn blank(asset: &str, sensor: &str) -> Self {
        Self {
            origin: Origin::new(asset, sensor),
            start: Stamp::default(),
            score_value: 0.0,
            score_threshold: 0.0,
            p_value: 1.0,
            false_alarms_per_year: None,
            severity: Severity {
                velocity_rms_mm_s: None,
                zone: None,
                standard: "".into(),
                reason: Some("nothing measured yet"),
            },
            faults: Vec::new(),
            life: Err(Refusal::Learning),
            contributions: Vec::with_capacity(Score::CONTRIBUTIONS_MAX),
            regime: None,
            speed_rpm: None,
            quality: Quality::GOOD,
        }
    }

    /// Takes in the newest; allocates only where a fault is named anew.
    pub(super) fn update(&mut self, finding: &Finding, outlook: &Outlook) {
        let score = &finding.score;
        self.origin.clone_from(&finding.origin);
        self.start = finding.start;
        self.score_value = score.value;
        self.score_threshold = score.threshold;
        self.p_value = score.p_value;
        self.false_alarms_per_year = score.false_alarms_per_year;
        self.severity.clone_from(&finding.severity);
        if !finding.faults.is_empty() && self.faults != finding.faults {
            self.faults.clone_from(&finding.faults);
        }
        self.life = outlook.life;
        self.contributions.clear();
        self.contributions.extend_from_slice(&score.contributions);
        self.regime = score.regime;
        self.speed_rpm = finding.speed_hz.map(|hz| hz * 60.0);
        self.quality = finding.quality;
    }
}
