//! The bearing's families of lines in the envelopes of one record of one axis.

use super::Orders;
use super::family::{Foreign, Found, Tester, p_line};
use super::measure::Machine;
use crate::types::{Envelope, Record, Spectrum, Speed};

/// Inner race, by place in [`bearing_orders`].
pub(super) const INNER: usize = 1;
/// Rolling element: twice its spin.
pub(super) const BALL: usize = 2;
/// Cage.
pub(super) const CAGE: usize = 3;
/// How many families.
pub(super) const FAMILIES: usize = 4;

/// Impulsiveness of a band (0 for Gaussian noise) beyond which it knocks for sure.
pub(super) const KNOCKS: f32 = 1.0;
/// A speed known no better was not found in the signal.
const UNLOCKED: f64 = 0.005;
/// Probability by chance of a side line, at the most.
const SIDE_P: f64 = 5e-3;

/// The defect lines of a bearing in orders: outer, inner, rolling element (twice the spin), cage.
pub(super) fn bearing_orders(orders: &Orders) -> [f64; FAMILIES] {
    [orders.bpfo, orders.bpfi, 2.0 * orders.bsf, orders.ftf]
}

/// A family as seen in one envelope.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    /// What the test gave.
    pub(super) found: Found,
    /// Band demodulated, Hz.
    pub(super) band_hz: (f64, f64),
    /// In how many of the first two harmonics side lines stand at the family's own spacing.
    pub(super) sidebands: u8,
    /// Whether that band knocks.
    pub(super) knocks: bool,
}

/// Every family at its best.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Families {
    /// Over all envelopes.
    pub(super) best: [Option<Seen>; FAMILIES],
    /// Over those that knock: lines of a defect are the lines of its knocks.
    pub(super) knocking: [Option<Seen>; FAMILIES],
    /// Envelopes looked at.
    pub(super) n_looked: usize,
}

impl Families {
    /// Tests every family in every envelope of `record`.
    pub(super) fn measure(
        tester: &mut Tester,
        machine: &Machine,
        orders: &Orders,
        record: &Record,
        speed: Speed,
    ) -> Self {
        let foreign = [
            // Where the shaft's lines could not be found, they need not be kept out either.
            Foreign {
                hz: speed.hz,
                tolerance: if speed.tolerance < UNLOCKED { speed.tolerance } else { 0.0 },
            },
            Foreign { hz: machine.config.line_hz.unwrap_or(0.0), tolerance: 0.001 },
        ];
        let slips = slips(orders, machine.config.slip_tolerance);
        let mut families = Self { n_looked: record.envelopes.len(), ..Self::default() };
        for (i, order) in bearing_orders(orders).into_iter().enumerate() {
            let tolerance = slips[i] + speed.tolerance;
            let spacing_hz = match i {
                INNER => speed.hz,
                BALL => orders.ftf * speed.hz,
                _ => 0.0,
            };
            for envelope in &record.envelopes {
                let hz = order * speed.hz;
                let Some(found) = tester.family(&envelope.spectrum, hz, tolerance, &foreign) else {
                    continue;
                };
                families.take(tester, i, envelope, found, spacing_hz);
            }
        }
        families
    }

    /// Keeps what was found of family `i` where it is the best so far.
    fn take(
        &mut self,
        tester: &mut Tester,
        i: usize,
        envelope: &Envelope,
        found: Found,
        spacing_hz: f64,
    ) {
        let is_better = |slot: &Option<Seen>| slot.is_none_or(|best| found.ln_p < best.found.ln_p);
        let knocks = envelope.impulsiveness >= KNOCKS;
        let (best, knocking) = (is_better(&self.best[i]), knocks && is_better(&self.knocking[i]));
        if !(best || knocking) {
            return;
        }
        let sidebands = sidebands(tester, &envelope.spectrum, &found, spacing_hz);
        let seen = Seen { found, band_hz: envelope.band_hz, sidebands, knocks };
        if best {
            self.best[i] = Some(seen);
        }
        if knocking {
            self.knocking[i] = Some(seen);
        }
    }
}

/// What each family may be off by, relative, if the cage may be off by `slip`.
///
/// The elements pass the outer race with the cage and the inner race at shaft less cage speed: BPFI = Z (fr - FTF),
/// so that a share of the cage's speed is the smaller share FTF / (fr - FTF) of the inner race's line.
fn slips(orders: &Orders, slip: f64) -> [f64; FAMILIES] {
    let mut slips = [slip; FAMILIES];
    if orders.ftf < 0.5 {
        slips[INNER] *= orders.ftf / (1.0 - orders.ftf);
    }
    slips
}

/// In how many of the first two harmonics a side line stands.
fn sidebands(tester: &mut Tester, spectrum: &Spectrum, found: &Found, spacing_hz: f64) -> u8 {
    if spacing_hz < 3.0 * spectrum.df_hz {
        return 0;
    }
    let mut n = 0;
    for line in found.lines[..2].iter().flatten() {
        let stands = [line.hz - spacing_hz, line.hz + spacing_hz].into_iter().any(|hz| {
            let k = (hz / spectrum.df_hz).round();
            if k < 2.0 || k as usize + 1 >= spectrum.power.len() {
                return false;
            }
            let Some((median, n)) = tester.background(spectrum, hz, 2.0 * spectrum.df_hz) else {
                return false;
            };
            let k = k as usize;
            let peak = spectrum.power[k - 1..=k + 1].iter().copied().fold(0.0f32, f32::max);
            p_line(f64::from(peak) / median, 3, n as f64) < SIDE_P
        });
        n += u8::from(stands);
    }
    n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_race_shares_the_cages_slip_as_kinematics_has_it() {
        let orders = Orders { ftf: 0.3983, bpfo: 3.5848, bpfi: 5.4152, bsf: 2.3567 };
        let z = orders.bpfo + orders.bpfi;
        let slip = 0.02;
        let bpfi = z * (1.0 - orders.ftf * (1.0 + slip));
        let [outer, inner, ..] = slips(&orders, slip);
        assert!((inner - (1.0 - bpfi / orders.bpfi)).abs() < 1e-4, "{inner}");
        assert_eq!(outer, slip);
    }
}
