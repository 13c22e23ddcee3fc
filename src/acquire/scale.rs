//! From fractions of full scale to the sensor's unit.

use super::Error;
use crate::types::{Frame, Quality, Unit};

/// Gain of each channel; replaces what is not a number.
#[derive(Clone, Debug)]
pub(super) struct Scale {
    gains: Vec<f32>,
}

impl Scale {
    /// `gains`: unit per full scale, one for all channels or one for each.
    pub(super) fn new(what: &str, gains: &[f64], n_channels: usize) -> Result<Self, Error> {
        if gains.len() != 1 && gains.len() != n_channels {
            let why = format!(
                "units_per_full_scale has {} values for {n_channels} channels; give one, or one each",
                gains.len()
            );
            return Err(Error::Refused { what: what.to_owned(), why });
        }
        if let Some(bad) = gains.iter().find(|gain| !gain.is_finite() || **gain == 0.0) {
            let why = format!("units_per_full_scale is {bad}; it must be a number other than 0");
            return Err(Error::Refused { what: what.to_owned(), why });
        }
        let gains = (0..n_channels).map(|k| gains[k.min(gains.len() - 1)] as f32).collect();
        Ok(Self { gains })
    }

    /// Scales the whole frame; a value that is not finite becomes 0 and flags its channel.
    pub(super) fn apply(&self, frame: &mut Frame) {
        let n_channels = self.gains.len();
        for row in frame.samples.chunks_exact_mut(n_channels) {
            for ((value, gain), quality) in
                row.iter_mut().zip(&self.gains).zip(&mut frame.axis_quality)
            {
                *value *= gain;
                if !value.is_finite() {
                    *value = 0.0;
                    *quality = quality.with(Quality::GARBAGE);
                    frame.quality = frame.quality.with(Quality::GARBAGE);
                }
            }
        }
    }
}

/// The unit a configuration names.
pub(super) fn unit(what: &str, name: &str) -> Result<Unit, Error> {
    Unit::parse(name).ok_or_else(|| Error::Refused {
        what: what.to_owned(),
        why: format!("unit `{name}` is not known; write m/s2, g, Pa, V or FS"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Origin;

    #[test]
    fn each_channel_has_its_gain_and_what_is_no_number_is_flagged() {
        let scale = Scale::new("x", &[2.0, 10.0], 2).unwrap();
        let mut frame = Frame::empty(Origin::new("a", "s"), 1.0, Unit::G, 2);
        frame.samples = vec![1.0, 1.0, f32::NAN, -0.5];
        scale.apply(&mut frame);
        assert_eq!(frame.samples, [2.0, 10.0, 0.0, -5.0]);
        assert!(frame.quality.has(Quality::GARBAGE));
        assert_eq!(frame.axis_quality, [Quality::GARBAGE, Quality::GOOD]);
    }

    #[test]
    fn a_gain_that_makes_no_sense_is_refused() {
        for gains in [&[0.0][..], &[f64::NAN], &[1.0, 2.0, 3.0], &[]] {
            assert!(Scale::new("x", gains, 2).is_err(), "{gains:?}");
        }
    }
}
