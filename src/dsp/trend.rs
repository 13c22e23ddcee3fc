//! Removes offset and drift.

/// Writes `x` less its least-squares straight line into `out`.
///
/// # Panics
/// If the lengths differ: a bug in the caller.
pub fn detrend(x: &[f32], out: &mut [f32]) {
    assert_eq!(x.len(), out.len(), "as many samples out as in");
    let n = x.len() as f64;
    let mean = super::mean(x);
    let middle = (n - 1.0) / 2.0;
    let mut moment = 0.0;
    // Blocks: the index within one is small, so that its products may be summed in f32.
    for (block_idx, block) in x.chunks(256).enumerate() {
        let (mut sum, mut first) = (0f32, 0f32);
        for (i, &v) in block.iter().enumerate() {
            let d = v - mean as f32;
            sum += d;
            first += d * i as f32;
        }
        moment += first as f64 + sum as f64 * ((block_idx * 256) as f64 - middle);
    }
    let slope = if x.len() > 1 { moment * 12.0 / (n * (n * n - 1.0)) } else { 0.0 };
    for (block_idx, (out, x)) in out.chunks_mut(256).zip(x.chunks(256)).enumerate() {
        let start = (mean + slope * ((block_idx * 256) as f64 - middle)) as f32;
        for (i, (out, &v)) in out.iter_mut().zip(x).enumerate() {
            *out = v - (start + slope as f32 * i as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_goes_and_the_rest_stays() {
        let wiggle = |i: usize| ((i * 7919) % 13) as f32 - 6.0;
        let flat: Vec<f32> = (0..13 * 400).map(wiggle).collect();
        let tilted: Vec<f32> = (0..13 * 400).map(|i| wiggle(i) + 40.0 - 0.003 * i as f32).collect();
        let (mut a, mut b) = (vec![0.0; flat.len()], vec![0.0; flat.len()]);
        detrend(&flat, &mut a);
        detrend(&tilted, &mut b);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 2e-4));
        assert!(a.iter().zip(&flat).all(|(a, f)| (a - f).abs() < 0.02));
    }
}
