//! Location and spread that a few wild values cannot move.

/// Standard deviations per median absolute deviation of a Gaussian: `1 / normal_quantile(0.75)`.
pub const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// The value a share `q` (0-1) of the values lies below; linear between neighbours.
///
/// `values` are put in another order; none may be NaN. Linear time, no allocation.
///
/// # Panics
/// If there is no value: a bug in the caller.
///
/// # Source
/// Hyndman and Fan, The American Statistician 50 (1996) 361, type 7.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    assert!(!values.is_empty(), "a quantile of nothing");
    let at = q.clamp(0.0, 1.0) * (values.len() - 1) as f64;
    let below = at.floor() as usize;
    let (_, &mut low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let share = at - below as f64;
    if share == 0.0 {
        return low;
    }
    let high = above.iter().copied().fold(f64::INFINITY, f64::min);
    low + share * (high - low)
}

/// The middle value. `values` are put in another order.
///
/// # Panics
/// If there is no value: a bug in the caller.
pub fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The middle value, leaving the values alone; `scratch` is overwritten. NaN where there is none.
pub fn median_of(values: impl IntoIterator<Item = f64>, scratch: &mut Vec<f64>) -> f64 {
    scratch.clear();
    scratch.extend(values);
    if scratch.is_empty() { f64::NAN } else { median(scratch) }
}

/// Median absolute deviation about `centre`, unscaled: times [`MAD_TO_SIGMA`] it estimates sigma.
///
/// `values` are overwritten by their distances.
///
/// # Panics
/// If there is no value: a bug in the caller.
pub fn mad(values: &mut [f64], centre: f64) -> f64 {
    for value in values.iter_mut() {
        *value = (*value - centre).abs();
    }
    median(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn closed_forms() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut [4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(quantile(&mut [0.0, 10.0, 20.0, 30.0, 40.0], 0.9), 36.0);
        assert_eq!(quantile(&mut [7.0], 0.99), 7.0);
        assert_eq!(mad(&mut [1.0, 1.0, 2.0, 2.0, 4.0, 6.0, 9.0], 2.0), 1.0);
        assert!(median_of([], &mut Vec::new()).is_nan());
        assert!((MAD_TO_SIGMA * crate::stats::normal_quantile(0.75) - 1.0).abs() < 1e-12);
    }

    proptest! {
        #[test]
        fn selection_equals_sorting(
            mut values in prop::collection::vec(-1e6_f64..1e6, 1..60),
            q in 0.0_f64..=1.0,
        ) {
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let at = q * (sorted.len() - 1) as f64;
            let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
            let expect = low + (at - at.floor()) * (high - low);
            prop_assert!((quantile(&mut values, q) - expect).abs() <= 1e-9 * expect.abs().max(1.0));
        }
    }
}
