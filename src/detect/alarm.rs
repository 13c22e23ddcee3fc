//! From windows to alarms: evidence gathered over time against a false-alarm budget.

use crate::stats::EDetector;

use super::calibrate::harmonic;

/// Within this time windows may come in any order, seconds: what drifts (heat, load, product) drifts
/// over longer (`domain.md` 6.3: 10-60 minutes).
const DRIFT_S: f64 = 3600.0;
/// Windows of which the most must speak, for one burst or one bad snapshot to prove nothing.
const MAJORITY_OF: usize = 5;
/// Seconds in a year (Julian).
const YEAR_S: f64 = 31_557_600.0;
/// Evidence kept beyond an alarm, in alarms: what is not kept need not be lived down.
const KEPT: f64 = 1.5;
/// Evidence that is left after a block that speaks for health, in alarms: throwing evidence away
/// never breaks the budget, and a repaired machine is believed after one block.
const KEPT_IN_HEALTH: f64 = 0.49;

/// Shorter blocks, seconds: for changes so gross that they need no day. Each has its share of the budget.
const SHORT_S: [f64; 2] = [3600.0, 60.0];
/// Share of the budget that the long blocks have, and that each of the short ones has.
const SHARE_LONG: f64 = 0.5;
const SHARE_SHORT: f64 = 0.25;

/// An e-detector over blocks as long as the scores' memory, and the bets of shorter ones.
///
/// The p-value of a window is that of the majority of the last five: three of them at least are as
/// unusual as it says. Windows within one block hang together in ways nobody knows; the mean of their
/// bets is a fair bet all the same. Long blocks multiply. Within a block the running mean may be looked
/// at any time: for free where the windows are exchangeable (Ville for reverse martingales), and at the
/// price of its expected maximum, the harmonic number of the hours in it, where they drift. Short blocks
/// stand alone, by Markov and the sum of their chances: no independence is asked for, and a change far
/// beyond anything alarms within seconds, for what a minute's bet must win once in so many years.
///
/// # Source
/// Vovk and Wang, Ann. Statist. 49 (2021) 1736, prop. 3.1 (means of e-values); Rüger, Metrika 25
/// (1978) 171 (order statistics of p-values under any dependence); [`EDetector`].
#[derive(Clone, Debug)]
pub(super) struct Alarm {
    detector: EDetector,
    long: Bets,
    short: [Bets; SHORT_S.len()],
    /// The last windows' ln p, the newest last.
    recent: [f64; MAJORITY_OF],
    n_recent: usize,
}

/// The bets of one block.
#[derive(Clone, Copy, Debug)]
struct Bets {
    ln_limit: f64,
    n_per_block: usize,
    n: usize,
    /// ln of the sum of their gains.
    ln_sum: f64,
}

impl Bets {
    /// For blocks of about `block_s` that may raise `per_year` false alarms.
    fn new(per_year: f64, pace_s: f64, block_s: f64) -> Self {
        let n_per_block = (block_s / pace_s).round().max(1.0) as usize;
        let block_s = n_per_block as f64 * pace_s;
        let n_pieces = (block_s / DRIFT_S).ceil() as usize;
        let ln_limit = (YEAR_S / block_s / per_year * harmonic(n_pieces)).max(20.0).ln();
        Self { ln_limit, n_per_block, n: 0, ln_sum: 0.0 }
    }

    /// Takes in one gain; the whole block's, when it ends one.
    fn add(&mut self, ln_gain: f64) -> Option<f64> {
        if self.n == self.n_per_block {
            self.n = 0;
        }
        self.ln_sum = if self.n == 0 {
            ln_gain
        } else {
            let (high, low) = (self.ln_sum.max(ln_gain), self.ln_sum.min(ln_gain));
            high + (low - high).exp().ln_1p()
        };
        self.n += 1;
        (self.n == self.n_per_block).then(|| self.ln_mean())
    }

    fn ln_mean(&self) -> f64 {
        if self.n == 0 { 0.0 } else { self.ln_sum - (self.n as f64).ln() }
    }
}

impl Alarm {
    /// For `per_year` false alarms, windows every `pace_s`, scores that hang together for `memory_s`.
    pub(super) fn new(per_year: f64, pace_s: f64, memory_s: f64) -> Self {
        Self {
            detector: EDetector::default(),
            long: Bets::new(SHARE_LONG * per_year, pace_s, memory_s),
            short: SHORT_S.map(|block_s| Bets::new(SHARE_SHORT * per_year, pace_s, block_s)),
            recent: [0.0; MAJORITY_OF],
            n_recent: 0,
        }
    }

    /// ln p of the majority of the last windows: with m of k as small as `p`, `p k / m` is a p-value.
    fn majority(&mut self, ln_p: f64) -> f64 {
        self.recent.rotate_left(1);
        self.recent[MAJORITY_OF - 1] = ln_p;
        self.n_recent = (self.n_recent + 1).min(MAJORITY_OF);
        let mut sorted = self.recent;
        let sorted = &mut sorted[MAJORITY_OF - self.n_recent..];
        sorted.sort_unstable_by(f64::total_cmp);
        let most = self.n_recent / 2 + 1;
        sorted[most - 1] + (self.n_recent as f64 / most as f64).ln()
    }

    /// Takes in one window; the evidence, 1 or more is an alarm.
    pub(super) fn step(&mut self, ln_p: f64) -> f64 {
        let ln_gain = EDetector::ln_gain(self.majority(ln_p).min(0.0));
        for bets in &mut self.short {
            bets.add(ln_gain);
        }
        if let Some(ln_block) = self.long.add(ln_gain) {
            let kept = if ln_block < 0.0 { KEPT_IN_HEALTH } else { KEPT };
            self.detector.multiply(ln_block, kept * self.long.ln_limit);
            self.long.n = 0;
        }
        self.evidence()
    }

    /// The evidence now, as a share of what an alarm takes, on a logarithmic scale; 0 is none.
    pub(super) fn evidence(&self) -> f64 {
        let before = self.detector.ln_evidence().max(0.0);
        let long = (before + self.long.ln_mean()) / self.long.ln_limit;
        let each = self.short.iter().map(|bets| bets.ln_mean() / bets.ln_limit);
        each.fold(long, f64::max).max(0.0)
    }

    /// Natural logarithm of the false alarms to be expected in a block.
    pub(super) fn ln_per_block(per_year: f64, memory_s: f64) -> f64 {
        (per_year * memory_s / YEAR_S).min(1.0).ln()
    }

    /// False alarms a year from that.
    pub(super) fn per_year(ln_per_block: f64, memory_s: f64) -> f64 {
        ln_per_block.exp() * YEAR_S / memory_s
    }

    /// Forgets the evidence.
    pub(super) fn reset(&mut self) {
        self.detector.reset();
        self.n_recent = 0;
        self.long.n = 0;
        self.short.iter_mut().for_each(|bets| bets.n = 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_p_values_alarm_less_often_than_the_budget() {
        // Budget of one alarm per 1000 blocks of 4 windows; the four share one p-value: the worst.
        let per_year = YEAR_S / 4.0 / 1000.0;
        let mut alarm = Alarm::new(per_year, 1.0, 4.0);
        let (mut n_alarms, n_blocks) = (0, 100_003_u64);
        for i in 0..n_blocks {
            let p = (((i * 48_271) % n_blocks) as f64 + 0.5) / n_blocks as f64;
            let is_alarm = (0..4).any(|_| alarm.step(p.ln()) >= 1.0);
            if is_alarm {
                n_alarms += 1;
                alarm.reset();
            }
        }
        assert!(n_alarms <= n_blocks / 1000, "{n_alarms} alarms in {n_blocks} blocks");
    }

    #[test]
    fn one_overwhelming_window_alarms_and_one_odd_one_does_not() {
        let mut alarm = Alarm::new(1.0, 1.0, 60.0);
        assert!(alarm.step(-7.0) < 1.0);
        alarm.reset();
        assert!(alarm.step(-40.0) >= 1.0);
    }

    #[test]
    fn a_gross_change_late_in_a_day_alarms_within_seconds() {
        let after = |ln_p: f64| {
            let mut alarm = Alarm::new(1.0, 1.0, 86_400.0);
            (0..50_000).for_each(|_| {
                alarm.step(-0.7);
            });
            (1..36_000).find(|_| alarm.step(ln_p) >= 1.0)
        };
        assert!(after(-32.0).is_some_and(|n| n <= 5), "{:?}", after(-32.0));
        assert!(after(-22.0).is_some_and(|n| n <= 120), "{:?}", after(-22.0));
        assert!(after(-17.0).is_some_and(|n| n <= 3600), "{:?}", after(-17.0));
    }

    #[test]
    fn bursts_prove_nothing_and_three_of_five_do() {
        let mut alarm = Alarm::new(1.0, 1.0, 60.0);
        let check = |alarm: &mut Alarm, every: usize| {
            (0..200).any(|i| alarm.step(if i % every == 1 { -60.0 } else { -0.7 }) >= 1.0)
        };
        assert!(!check(&mut alarm, 3));
        let lasting = (0..5).any(|i| alarm.step(if i < 3 { -60.0 } else { -0.7 }) >= 1.0);
        assert!(lasting);
    }

    #[test]
    fn small_shifts_add_up_and_are_lived_down() {
        let mut alarm = Alarm::new(1.0, 10.0, 60.0);
        let first = (0..1000).position(|_| alarm.step(0.001_f64.ln()) >= 1.0).unwrap();
        assert!((6..100).contains(&first), "{first}");
        (0..10_000).for_each(|_| {
            alarm.step(-100.0);
        });
        let quiet = (0..1000).position(|_| alarm.step(0.6_f64.ln()) < 0.5).unwrap();
        assert!(quiet < 300, "{quiet}");
    }
}
