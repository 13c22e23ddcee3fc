//! From what a converter gives to what the machine does.

use crate::types::Unit;

/// How a raw value becomes a physical one: `value = raw x units_per_full_scale - offset`.
///
/// Raw is a fraction of full scale for integer samples (-1 to just below 1), the written value
/// itself for float and text files.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Unit of the result.
    pub unit: Unit,
    /// Units at full scale; finite and not 0.
    pub units_per_full_scale: f64,
    /// Reading at rest in `unit`, taken off every value (0 g of a MEMS part, say).
    pub offset: f64,
}

impl Default for Calibration {
    /// Nothing known: fractions of full scale.
    fn default() -> Self {
        Self { unit: Unit::FullScale, units_per_full_scale: 1.0, offset: 0.0 }
    }
}

impl Calibration {
    /// Whether it can be used, or why not.
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.units_per_full_scale.is_finite() || self.units_per_full_scale == 0.0 {
            return Err(format!(
                "units per full scale must be a number other than 0, not {}",
                self.units_per_full_scale
            ));
        }
        if !self.offset.is_finite() {
            return Err(format!("the offset must be a number, not {}", self.offset));
        }
        Ok(())
    }

    /// The physical value; may be infinite for an absurd raw value.
    pub(super) fn apply(&self, raw: f32) -> f32 {
        (f64::from(raw) * self.units_per_full_scale - self.offset) as f32
    }
}
