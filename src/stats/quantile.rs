//! A quantile of a stream in five numbers.

/// Follows one quantile of an endless stream without keeping it: the P-square algorithm.
///
/// Exact up to five values, an estimate after.
///
/// # Source
/// Jain and Chlamtac, Comm. ACM 28 (1985) 1076-1085.
#[derive(Clone, Debug)]
pub struct StreamingQuantile {
    q: f64,
    n: usize,
    heights: [f64; 5],
    places: [f64; 5],
}

impl StreamingQuantile {
    /// For the share `q`, kept within 0-1.
    pub fn new(q: f64) -> Self {
        Self { q: q.clamp(0.0, 1.0), n: 0, heights: [0.0; 5], places: [1.0, 2.0, 3.0, 4.0, 5.0] }
    }

    /// Values seen.
    pub fn n(&self) -> usize {
        self.n
    }

    /// The estimate now; `None` before the first value.
    pub fn value(&self) -> Option<f64> {
        match self.n {
            0 => None,
            n @ 1..=5 => Some(super::quantile(&mut { self.heights }[..n], self.q)),
            _ => Some(self.heights[2]),
        }
    }

    /// Takes in one finite value.
    pub fn push(&mut self, value: f64) {
        if self.n < 5 {
            self.heights[self.n] = value;
            self.n += 1;
            if self.n == 5 {
                self.heights.sort_by(f64::total_cmp);
            }
            return;
        }
        let h = &mut self.heights;
        h[0] = h[0].min(value);
        h[4] = h[4].max(value);
        let cell = (1..4).filter(|&i| value >= h[i]).count();
        self.places[cell + 1..].iter_mut().for_each(|place| *place += 1.0);
        self.n += 1;
        let last = (self.n - 1) as f64;
        let shares = [self.q / 2.0, self.q, f64::midpoint(1.0, self.q)];
        for (i, share) in (1..4).zip(shares) {
            let off = 1.0 + last * share - self.places[i];
            let room_above = self.places[i + 1] - self.places[i] > 1.0;
            let room_below = self.places[i - 1] - self.places[i] < -1.0;
            if (off >= 1.0 && room_above) || (off <= -1.0 && room_below) {
                self.shift(i, off.signum());
            }
        }
    }

    /// Moves marker `i` one place, its height by a parabola, or a line where that breaks the order.
    fn shift(&mut self, i: usize, step: f64) {
        let (h, n) = (&self.heights, &self.places);
        let up = (n[i] - n[i - 1] + step) * (h[i + 1] - h[i]) / (n[i + 1] - n[i]);
        let down = (n[i + 1] - n[i] - step) * (h[i] - h[i - 1]) / (n[i] - n[i - 1]);
        let mut height = h[i] + step / (n[i + 1] - n[i - 1]) * (up + down);
        if !(h[i - 1] < height && height < h[i + 1]) {
            let j = if step > 0.0 { i + 1 } else { i - 1 };
            height = h[i] + step * (h[j] - h[i]) / (n[j] - n[i]);
        }
        self.heights[i] = height;
        self.places[i] += step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_s_own_example() {
        // Jain and Chlamtac table I: the median of 20 values ends at 4.44.
        let values = [
            0.02, 0.15, 0.74, 3.39, 0.83, 22.37, 10.15, 15.43, 38.62, 15.92, 34.60, 10.28, 1.47,
            0.40, 0.05, 11.39, 0.27, 0.42, 0.09, 11.37,
        ];
        let mut median = StreamingQuantile::new(0.5);
        assert_eq!(median.value(), None);
        for value in values {
            median.push(value);
        }
        assert!((median.value().unwrap() - 4.44).abs() < 0.005, "{:?}", median.value());
    }

    #[test]
    fn close_to_the_truth_on_a_long_stream() {
        let mut high = StreamingQuantile::new(0.98);
        // A full-period walk through 0..1 in scrambled order.
        for i in 0..50_000_u64 {
            high.push((i * 7919 % 50_000) as f64 / 50_000.0);
        }
        assert!((high.value().unwrap() - 0.98).abs() < 0.002, "{:?}", high.value());
    }
}
