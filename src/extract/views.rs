//! The measuring of one axis, view by view, for those who ask what each costs.

use super::record::RecordPlan;
use super::window::{WindowPlan, measure_indicators};
use super::{Config, Sensor};
use crate::types::{Axis, Quality, Record};

/// A part of what is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Levels, crest factor, moments.
    Indicators,
    /// Mel bands, hop by hop.
    LogMel,
    /// Averaged spectrum, third octaves, the level of sound.
    Spectrum,
    /// The record's fine spectrum and its velocity.
    FineSpectrum,
    /// Choice of bands and the spectra of their envelopes.
    Envelopes,
}

impl View {
    /// Every view, in the order they are measured in.
    pub const ALL: [Self; 5] =
        [Self::Indicators, Self::LogMel, Self::Spectrum, Self::FineSpectrum, Self::Envelopes];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Indicators => "indicators",
            Self::LogMel => "log-mel bands",
            Self::Spectrum => "spectrum, third octaves",
            Self::FineSpectrum => "fine spectrum of records",
            Self::Envelopes => "envelopes of records",
        }
    }
}

/// Plans and results of one axis.
pub struct Views {
    window: WindowPlan,
    record: RecordPlan,
    axis: Axis,
    measured: Record,
}

impl Views {
    pub(super) fn new(config: &Config, sensor: &Sensor) -> Self {
        let (window, record) = config.plans(sensor);
        Self { axis: window.axis(), window, record, measured: Record::default() }
    }

    /// Samples a view is measured over: a window's or a record's.
    pub fn samples(&self, view: View) -> usize {
        match view {
            View::Indicators | View::LogMel | View::Spectrum => self.window.n(),
            View::FineSpectrum | View::Envelopes => self.record.n(),
        }
    }

    /// Measures one view over the first samples of `x`; envelopes with the fine spectrum they need.
    ///
    /// # Panics
    /// If there are too few samples: a bug in the caller.
    pub fn measure(&mut self, view: View, x: &[f32]) {
        let x = &x[..self.samples(view)];
        match view {
            View::Indicators => {
                measure_indicators(x, Quality::GOOD, &mut self.axis);
            }
            View::LogMel => self.window.measure_mel(x, 0.0, &mut self.axis),
            View::Spectrum => self.window.measure_spectrum(x, 0.0, &mut self.axis),
            View::FineSpectrum | View::Envelopes => {
                self.record.measure(x, None, view == View::Envelopes, &mut self.measured);
            }
        }
    }
}
