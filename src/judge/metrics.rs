//! The yardsticks: areas under curves, F1, the PHM 2012 score; formulas only, no machine.

/// Area under the ROC curve: the chance that a fault scores above a normal, ties counting half.
///
/// `None` where either side is empty: there is nothing to tell apart.
///
/// # Source
/// Mann and Whitney, Ann. Math. Statist. 18 (1947) 50-60, as the area under the ROC curve.
pub fn auc(normals: &[f64], faults: &[f64]) -> Option<f64> {
    partial_area(normals, faults, 1.0)
}

/// Area under the ROC curve up to a false positive rate of `fpr_max`, standardised so that chance is
/// 0.5 and perfection 1, as scikit-learn's `roc_auc_score(max_fpr)`.
///
/// `None` where either side is empty.
///
/// # Panics
/// If `fpr_max` is not above 0 and at most 1.
///
/// # Source
/// McClish, Medical Decision Making 9 (1989) 190-195.
pub fn pauc(normals: &[f64], faults: &[f64], fpr_max: f64) -> Option<f64> {
    assert!(fpr_max > 0.0 && fpr_max <= 1.0, "a false positive rate is above 0 and at most 1");
    let area = partial_area(normals, faults, fpr_max)?;
    let chance = 0.5 * fpr_max * fpr_max;
    Some(0.5 * (1.0 + (area - chance) / (fpr_max - chance)))
}

/// Trapezoids under the ROC curve from 0 to `fpr_max`; equal scores make one slanted step.
fn partial_area(normals: &[f64], faults: &[f64], fpr_max: f64) -> Option<f64> {
    if normals.is_empty() || faults.is_empty() {
        return None;
    }
    let mut scores: Vec<(f64, bool)> = normals.iter().map(|&score| (score, false)).collect();
    scores.extend(faults.iter().map(|&score| (score, true)));
    scores.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut x, mut y, mut area) = (0.0_f64, 0.0_f64, 0.0_f64);
    let (mut n_false, mut n_true) = (0_usize, 0_usize);
    for run in scores.chunk_by(|a, b| a.0 == b.0) {
        let n_faults = run.iter().filter(|(_, fault)| *fault).count();
        n_true += n_faults;
        n_false += run.len() - n_faults;
        let next_x = n_false as f64 / normals.len() as f64;
        let next_y = n_true as f64 / faults.len() as f64;
        if next_x >= fpr_max && next_x > x {
            let cut_y = y + (next_y - y) * (fpr_max - x) / (next_x - x);
            return Some(area + (fpr_max - x) * (y + cut_y) / 2.0);
        }
        area += (next_x - x) * (y + next_y) / 2.0;
        (x, y) = (next_x, next_y);
    }
    Some(area)
}

/// Mean over `classes` of `2 tp / (2 tp + fp + fn)`; a class never said and never true gives 0.
///
/// `pairs`: truth and answer of every case, normals included, so that a false name on a normal
/// counts against the name. `None` where there are no classes.
pub fn macro_f1(pairs: &[(&str, &str)], classes: &[&str]) -> Option<f64> {
    if classes.is_empty() {
        return None;
    }
    let f1 = |class: &str| {
        let hits = pairs.iter().filter(|(truth, said)| *truth == class && *said == class).count();
        let one =
            pairs.iter().filter(|(truth, said)| (*truth == class) != (*said == class)).count();
        if hits + one == 0 { 0.0 } else { 2.0 * hits as f64 / (2 * hits + one) as f64 }
    };
    Some(classes.iter().map(|class| f1(class)).sum::<f64>() / classes.len() as f64)
}

/// Score of one forecast of the PHM 2012 challenge: 1 when right, half at 5 % too long or 20 % too
/// short. Both in the same unit; `actual` above 0.
///
/// # Source
/// Nectoux et al., IEEE PHM 2012 (PRONOSTIA), scoring of the challenge.
pub fn phm2012(actual: f64, predicted: f64) -> f64 {
    let error_percent = 100.0 * (actual - predicted) / actual;
    let half_at = if error_percent <= 0.0 { -5.0 } else { 20.0 };
    0.5_f64.powf(error_percent / half_at)
}

/// What the best constant answer known beforehand would score on these lives.
///
/// The score of a constant is convex between two neighbouring lives, so the best one is one of them.
/// `None` for no lives.
pub fn phm2012_floor(actuals: &[f64]) -> Option<f64> {
    let score = |constant: f64| mean(actuals.iter().map(|&actual| phm2012(actual, constant)));
    actuals.iter().filter_map(|&constant| score(constant)).max_by(f64::total_cmp)
}

/// Arithmetic mean; `None` of nothing.
pub(super) fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (sum, n) = values.into_iter().fold((0.0, 0_usize), |(sum, n), value| (sum + value, n + 1));
    (n > 0).then(|| sum / n as f64)
}

/// Middle value, the mean of the two middle ones for an even number; `None` of nothing.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let mid = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[mid]),
        _ => Some(f64::midpoint(sorted[mid - 1], sorted[mid])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn close(found: f64, expect: f64) {
        assert!((found - expect).abs() < 1e-9, "{found} instead of {expect}");
    }

    #[test]
    fn auc_counts_pairs_and_halves_ties() {
        let check = |n: &[f64], f: &[f64], expect| close(auc(n, f).unwrap(), expect);
        check(&[1.0, 2.0], &[3.0, 4.0], 1.0);
        check(&[3.0, 4.0], &[1.0, 2.0], 0.0);
        check(&[1.0, 1.0], &[1.0, 1.0, 1.0], 0.5);
        // Pairs won: 3 over 1, 3 ties 3, 2 over 1, 2 under 3 = (1 + 0.5 + 1 + 0) / 4.
        check(&[1.0, 3.0], &[3.0, 2.0], 0.625);
        assert_eq!(auc(&[], &[1.0]), None);
        assert_eq!(auc(&[1.0], &[]), None);
    }

    #[test]
    fn pauc_is_standardised_as_by_mcclish() {
        let check = |n: &[f64], f: &[f64], expect| close(pauc(n, f, 0.1).unwrap(), expect);
        check(&[0.0; 10], &[1.0; 3], 1.0);
        check(&[1.0; 10], &[1.0; 3], 0.5);
        // Half the faults above every normal, the rest below: area 0.05 of 0.1, chance 0.005.
        check(&[1.0; 10], &[2.0, 0.0], 0.5 * (1.0 + (0.05 - 0.005) / 0.095));
        close(pauc(&[1.0, 2.0], &[1.5, 3.0], 1.0).unwrap(), auc(&[1.0, 2.0], &[1.5, 3.0]).unwrap());
    }

    #[test]
    fn macro_f1_by_hand() {
        let pairs = [("a", "a"), ("a", "none"), ("b", "a"), ("b", "b"), ("normal", "b")];
        // a: tp 1, fp 1, fn 1 = 0.5; b: tp 1, fp 1, fn 1 = 0.5.
        close(macro_f1(&pairs, &["a", "b"]).unwrap(), 0.5);
        close(macro_f1(&pairs[..1], &["a"]).unwrap(), 1.0);
        assert_eq!(macro_f1(&pairs, &[]), None);
    }

    #[test]
    fn phm2012_is_t10() {
        let check = |predicted, expect: f64| {
            assert!((phm2012(100.0, predicted) - expect).abs() < 5e-5, "{predicted}");
        };
        for (predicted, expect) in [
            (80.0, 0.5),
            (90.0, 0.5_f64.sqrt()),
            (95.0, 0.8409),
            (100.0, 1.0),
            (105.0, 0.5),
            (120.0, 0.0625),
            (50.0, 0.1768),
        ] {
            check(predicted, expect);
        }
    }

    #[test]
    fn best_constant_of_the_challenge() {
        let lives =
            [5730.0, 339.0, 1610.0, 1460.0, 7570.0, 7530.0, 1390.0, 3090.0, 1290.0, 580.0, 820.0];
        let floor = phm2012_floor(&lives).unwrap();
        for constant in (100..8000).step_by(10) {
            let score = mean(lives.iter().map(|&life| phm2012(life, f64::from(constant)))).unwrap();
            assert!(score <= floor + 1e-12, "{constant} s scores {score}, above {floor}");
        }
    }

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    proptest! {
        #[test]
        fn auc_is_what_counting_every_pair_gives(
            normals in prop::collection::vec(0_i8..6, 1..20),
            faults in prop::collection::vec(0_i8..6, 1..20),
        ) {
            let normals: Vec<f64> = normals.into_iter().map(f64::from).collect();
            let faults: Vec<f64> = faults.into_iter().map(f64::from).collect();
            let mut won = 0.0;
            for n in &normals {
                for f in &faults {
                    won += if f > n { 1.0 } else if f == n { 0.5 } else { 0.0 };
                }
            }
            let slow = won / (normals.len() * faults.len()) as f64;
            prop_assert!((auc(&normals, &faults).unwrap() - slow).abs() < 1e-9);
            prop_assert!((pauc(&normals, &faults, 1.0).unwrap() - slow).abs() < 1e-9);
            let partial = pauc(&normals, &faults, 0.1).unwrap();
            prop_assert!((0.0..=1.0 + 1e-12).contains(&partial));
        }
    }
}
