//! Numbers by seed, for tests.

use half::f16;

/// A linear congruential generator (Knuth's MMIX numbers).
pub(super) struct Dice(pub u64);

impl Dice {
    /// 31 random bits.
    pub(super) fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as u32
    }

    /// Weights from `-max` to `max`; every fourth is an end.
    pub(super) fn codes(&mut self, n: usize, max: i32) -> Vec<i8> {
        let mut code = || match self.next() % 8 {
            0 => max,
            1 => -max,
            _ => (self.next() % (2 * max as u32 + 1)) as i32 - max,
        };
        (0..n).map(|_| code() as i8).collect()
    }

    /// Activations; every third is an end.
    pub(super) fn activations(&mut self, n: usize) -> Vec<i8> {
        let mut code = || match self.next() % 6 {
            0 => i8::MIN,
            1 => i8::MAX,
            _ => self.next() as i8,
        };
        (0..n).map(|_| code()).collect()
    }

    /// Real numbers from -10 to 10.
    pub(super) fn reals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| (self.next() % 20001) as f32 / 1000.0 - 10.0).collect()
    }

    /// The same in half width, from -`size` to `size`.
    pub(super) fn halves(&mut self, n: usize, size: f32) -> Vec<f16> {
        self.reals(n).into_iter().map(|x| f16::from_f32(x * size / 10.0)).collect()
    }
}
