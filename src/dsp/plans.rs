//! FFT plans, one of each for all who need it: their tables are as large as the signals.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use realfft::{RealFftPlanner, RealToComplex};
use rustfft::{Fft as ComplexFft, FftPlanner};

/// Plans in use, by length.
type Shelf<P> = Mutex<Vec<(usize, Weak<P>)>>;

static REAL: Shelf<dyn RealToComplex<f32>> = Mutex::new(Vec::new());
static FORWARD: Shelf<dyn ComplexFft<f32>> = Mutex::new(Vec::new());
static INVERSE: Shelf<dyn ComplexFft<f32>> = Mutex::new(Vec::new());

/// Forward transform of `n` real samples.
pub(super) fn real(n: usize) -> Arc<dyn RealToComplex<f32>> {
    shared(&REAL, n, || RealFftPlanner::new().plan_fft_forward(n))
}

/// Forward transform of `n` complex samples.
pub(super) fn forward(n: usize) -> Arc<dyn ComplexFft<f32>> {
    shared(&FORWARD, n, || FftPlanner::new().plan_fft_forward(n))
}

/// Inverse transform of `n` complex samples, not scaled.
pub(super) fn inverse(n: usize) -> Arc<dyn ComplexFft<f32>> {
    shared(&INVERSE, n, || FftPlanner::new().plan_fft_inverse(n))
}

fn shared<P: ?Sized>(shelf: &Shelf<P>, n: usize, make: impl FnOnce() -> Arc<P>) -> Arc<P> {
    let mut plans = shelf.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(plan) = plans.iter().find(|plan| plan.0 == n).and_then(|plan| plan.1.upgrade()) {
        return plan;
    }
    let plan = make();
    plans.retain(|plan| plan.1.strong_count() > 0);
    plans.push((n, Arc::downgrade(&plan)));
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_plan_serves_all_and_goes_with_the_last() {
        let shelf: Shelf<dyn ComplexFft<f32>> = Mutex::new(Vec::new());
        let plan = |n| shared(&shelf, n, || FftPlanner::new().plan_fft_forward(n));
        let (first, second, other) = (plan(48), plan(48), plan(50));
        assert!(Arc::ptr_eq(&first, &second) && !Arc::ptr_eq(&first, &other));
        drop((first, second));
        drop(plan(60));
        assert_eq!(shelf.lock().unwrap().iter().filter(|it| it.1.strong_count() > 0).count(), 1);
        assert!(shelf.lock().unwrap().len() <= 2);
    }
}
