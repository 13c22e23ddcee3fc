//! What the learned normal says of the sensor itself: it hangs loose, or two channels are exchanged.
//!
//! # Source
//! `domain.md` 9.4, LOOSE_MOUNT and SWAPPED.

use super::layout::{Layout, Slot, View};
use crate::types::{Quality, SensorKind};

/// A firm accelerometer hears a machine above this, a loose one hears little of it, Hz.
const HIGH_HZ: f32 = 3000.0;
/// What the low end of a loose sensor still hears, Hz.
const LOW_HZ: f32 = 1000.0;
/// How far the high end falls, dB.
const LOST_DB: f32 = 10.0;
/// What the low end may have moved meanwhile: half of the 6 dB that practice calls a change.
const KEPT_DB: f32 = 3.0;
/// Bands needed to say so.
const BANDS_MIN: usize = 3;
/// Two channels are exchanged where each is so far from its own normal, RMS dB ...
const STRANGE_DB: f32 = 6.0;
/// ... and so near the other's.
const FAMILIAR_DB: f32 = 3.0;

/// Takes out of a window what a loose sensor or exchanged channels make of it; tells which flags stand.
///
/// A loose sensor still hears what is slow: its fast bands, and what is made of them, become NaN.
/// Exchanged channels say nothing: the whole window becomes NaN. `normal` and `values`: `[n_slots]`.
pub(super) fn mend(
    layout: &Layout,
    kind: SensorKind,
    normal: &[f32],
    values: &mut [f32],
) -> Quality {
    let n_axes = layout.slots.iter().map(|slot| slot.axis_idx + 1).max().unwrap_or(0);
    let window = Window { layout, normal, values };
    if window.is_swapped(n_axes) {
        values.fill(f32::NAN);
        return Quality::SWAPPED;
    }
    let mut quality = Quality::GOOD;
    for axis_idx in 0..n_axes {
        let window = Window { layout, normal, values };
        if kind == SensorKind::Vibration && window.is_loose(axis_idx) {
            quality = quality.with(Quality::LOOSE_MOUNT);
            let slots = layout.slots.iter().zip(&mut *values);
            for (slot, value) in slots.filter(|(slot, _)| slot.axis_idx == axis_idx) {
                if slot.view != View::Orders && slot.band.1 > LOW_HZ {
                    *value = f32::NAN;
                }
            }
        }
    }
    quality
}

/// Levels of one window beside their normal, dB; NaN where there is none.
struct Window<'a> {
    layout: &'a Layout,
    normal: &'a [f32],
    values: &'a [f32],
}

impl Window<'_> {
    /// Whether the sensor of this axis has come loose: the high end is gone, the low end is as it was.
    fn is_loose(&self, axis_idx: usize) -> bool {
        let at = |is_wanted: fn((f32, f32)) -> bool| {
            let own = self.bands(axis_idx).filter(move |&j| is_wanted(self.layout.slots[j].band));
            own.map(|j| self.values[j] - self.normal[j])
        };
        mean(at(|band| band.0 >= HIGH_HZ)).is_some_and(|high| high < -LOST_DB)
            && mean(at(|band| band.1 <= LOW_HZ)).is_some_and(|low| low.abs() < KEPT_DB)
    }

    /// Whether two of the channels are exchanged: both are strange to their own normal and familiar to
    /// each other's.
    fn is_swapped(&self, n_axes: usize) -> bool {
        let mut pairs = (0..n_axes).flat_map(|a| (0..a).map(move |b| (a, b)));
        pairs.any(|(a, b)| {
            let is = |axis_idx, normal_of, fits: fn(f32) -> bool| {
                self.apart(axis_idx, normal_of).is_some_and(fits)
            };
            is(a, a, |db| db > STRANGE_DB)
                && is(b, b, |db| db > STRANGE_DB)
                && is(a, b, |db| db < FAMILIAR_DB)
                && is(b, a, |db| db < FAMILIAR_DB)
        })
    }

    /// RMS difference between what one axis hears and the normal of another, dB.
    fn apart(&self, axis_idx: usize, normal_of: usize) -> Option<f32> {
        let pairs = self.bands(axis_idx).zip(self.bands(normal_of));
        mean(pairs.map(|(j, k)| (self.values[j] - self.normal[k]).powi(2))).map(f32::sqrt)
    }

    fn bands(&self, axis_idx: usize) -> impl Iterator<Item = usize> {
        let slots = self.layout.slots.iter().enumerate();
        let is_own = move |slot: &Slot| slot.view == View::Bands && slot.axis_idx == axis_idx;
        slots.filter(move |(_, slot)| is_own(slot)).map(|(j, _)| j)
    }
}

/// Mean of what is known; `None` where that is too little.
fn mean(values: impl Iterator<Item = f32>) -> Option<f32> {
    let known = values.filter(|value| !value.is_nan());
    let (n, sum) = known.fold((0, 0.0), |(n, sum), value| (n + 1, sum + value));
    (n >= BANDS_MIN).then(|| sum / n as f32)
}
