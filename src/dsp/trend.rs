//! Removes offset and drift.

/// Sums side by side, so that the loop becomes vector code.
const LANES: usize = 8;
const BLOCK: usize = 32 * LANES;
/// The indices in a block.
const RAMP: [f32; BLOCK] = {
    let (mut ramp, mut i) = ([0.0; BLOCK], 0);
    while i < BLOCK {
        ramp[i] = i as f32;
        i += 1;
    }
    ramp
};

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
    for (block_idx, block) in x.chunks(BLOCK).enumerate() {
        let (sum, first) = sums(block, mean as f32);
        moment += first + sum * ((block_idx * BLOCK) as f64 - middle);
    }
    let slope = if x.len() > 1 { moment * 12.0 / (n * (n * n - 1.0)) } else { 0.0 };
    for (block_idx, (out, x)) in out.chunks_mut(BLOCK).zip(x.chunks(BLOCK)).enumerate() {
        let start = (mean + slope * ((block_idx * BLOCK) as f64 - middle)) as f32;
        for ((out, &v), i) in out.iter_mut().zip(x).zip(&RAMP) {
            *out = v - (start + slope as f32 * i);
        }
    }
}

/// Sum of the samples less `mean`, and of these times their index.
fn sums(block: &[f32], mean: f32) -> (f64, f64) {
    let (rows, rest) = block.as_chunks::<LANES>();
    let (mut sum, mut by_row, mut by_lane) = ([0f32; LANES], [0f32; LANES], 0.0);
    for (row_idx, row) in rows.iter().enumerate() {
        for i in 0..LANES {
            let d = row[i] - mean;
            sum[i] += d;
            by_row[i] += d * (row_idx * LANES) as f32;
        }
    }
    let mut total: f64 = 0.0;
    for i in 0..LANES {
        total += sum[i] as f64;
        by_lane += by_row[i] as f64 + sum[i] as f64 * i as f64;
    }
    for (i, &v) in rest.iter().enumerate() {
        let d = (v - mean) as f64;
        total += d;
        by_lane += d * (rows.len() * LANES + i) as f64;
    }
    (total, by_lane)
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
