//! Is a family of lines there? The calibrated test of a spectrum whose bins are exponential where there is nothing.

use crate::types::Spectrum;

/// Harmonics looked at, at the most.
pub(super) const HARMONICS: usize = 4;

/// Half-width of the stretch the background is taken from, Hz.
const BACKGROUND_HZ: f64 = 30.0;
/// The same in bins, where bins are coarse.
const BACKGROUND_BINS: f64 = 12.0;
/// Fewest background bins a median is taken from.
const BACKGROUND_MIN: usize = 8;
/// Harmonics of one family share one scale factor within this, relative, either way.
const LOCK: f64 = 0.0015;

/// Steps of scale beyond either end of the search that tell a line within from the flank of one outside.
const RIM: i64 = 3;

/// Lines that belong to someone else: multiples of a frequency, to be kept out of a family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Foreign {
    /// Fundamental, Hz; not above 0 means none.
    pub(super) hz: f64,
    /// What its multiples may be off by, relative.
    pub(super) tolerance: f64,
}

/// One line of a family as found.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Line {
    /// Where, Hz.
    pub(super) hz: f64,
    /// Power over the local median.
    pub(super) ratio: f64,
    /// Probability of so much among the bins searched, where there is nothing.
    pub(super) p: f64,
}

/// What a test of one family in one spectrum gave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Found {
    /// Found frequency over the expected one.
    pub(super) scale: f64,
    /// The harmonics that could be tested.
    pub(super) lines: [Option<Line>; HARMONICS],
    /// Natural logarithm of the probability of the whole family under nothing, the search counted.
    pub(super) ln_p: f64,
}

impl Found {
    /// Power of the lines over their background, dB, mean power over the harmonics tested.
    pub(super) fn level_db(&self) -> f64 {
        let (mut sum, mut n) = (0.0, 0.0);
        for line in self.lines.iter().flatten() {
            sum += line.ratio;
            n += 1.0;
        }
        if n > 0.0 { 10.0 * (sum / n).max(0.1).log10() } else { 0.0 }
    }

    /// How many of the first three harmonics stand by themselves at 1 %.
    pub(super) fn n_standing(&self) -> usize {
        self.lines[..3].iter().flatten().filter(|line| line.p < 1e-2).count()
    }
}

/// Probability that the largest of `m` bins reaches `ratio` times the median of its surroundings.
///
/// `n_background`: bins the median was taken from; infinity gives u = ln2 P/M ~ Exp(1), p = 1 - (1 - exp(-u))^m.
/// A median of few bins is itself uncertain: its relative variance is 1/(n ln^2 2), which a mean of 0.48 n
/// exponential bins would have, and P over such a mean follows (1 + u/n)^-n.
///
/// # Source
/// `domain.md` 3.4; A. Papoulis, Probability, Random Variables, 4th ed., F distribution with 2 and 2n degrees of freedom.
pub(super) fn p_line(ratio: f64, m: usize, n_background: f64) -> f64 {
    let single = ln_p_bin(ratio, n_background).exp();
    // -expm1(m ln(1-q)) keeps its digits where q is tiny.
    (-(m as f64 * (-single.min(1.0 - 1e-16)).ln_1p()).exp_m1()).clamp(f64::MIN_POSITIVE, 1.0)
}

/// Natural logarithm of [`p_line`] for one bin.
pub(super) fn ln_p_bin(ratio: f64, n_background: f64) -> f64 {
    let u = std::f64::consts::LN_2 * ratio.max(0.0);
    let n = 0.48 * n_background;
    if n.is_finite() { -n * (u / n).ln_1p() } else { -u }
}

/// Natural logarithm of the upper tail of chi-square with `2 h` degrees of freedom at `t`.
///
/// Closed form for even degrees: exp(-t/2) sum (t/2)^i / i!, i < h.
pub(super) fn ln_chi2_tail(t: f64, h: usize) -> f64 {
    let x = 0.5 * t.max(0.0);
    let (mut term, mut sum) = (1.0, 1.0);
    for i in 1..h {
        term *= x / i as f64;
        sum += term;
    }
    sum.ln() - x
}

/// Fisher's statistic -2 sum ln p over `p_values`; chi-square with twice as many degrees of freedom under nothing.
pub(super) fn fisher(p_values: impl Iterator<Item = f64>) -> f64 {
    -2.0 * p_values.map(f64::ln).sum::<f64>()
}

/// Tests families in spectra without allocating.
#[derive(Debug, Default)]
pub(super) struct Tester {
    scratch: Vec<f32>,
    stretches: [Stretch; HARMONICS],
}

impl Tester {
    /// Room for spectra of any length seen here: the background never takes more bins than this.
    const SCRATCH: usize = 1 << 14;

    /// With its scratch room.
    pub(super) fn new() -> Self {
        let stretch = || Stretch { own: Vec::with_capacity(Self::SCRATCH), ..Stretch::default() };
        Self {
            scratch: Vec::with_capacity(Self::SCRATCH),
            stretches: std::array::from_fn(|_| stretch()),
        }
    }

    /// Median power around `hz`, leaving out `gap_hz` either side, and the bins it is from; `None` with too few.
    pub(super) fn background(
        &mut self,
        spectrum: &Spectrum,
        hz: f64,
        gap_hz: f64,
    ) -> Option<(f64, usize)> {
        let df = spectrum.df_hz;
        // As far below as above: an envelope's noise falls with frequency.
        let reach =
            BACKGROUND_HZ.min(hz).max(BACKGROUND_BINS * df).max(gap_hz + BACKGROUND_BINS * df);
        let first = ((hz - reach) / df).ceil().max(1.0) as usize;
        let last = (((hz + reach) / df).floor() as usize).min(spectrum.power.len().checked_sub(1)?);
        self.scratch.clear();
        for k in first..=last {
            if (spectrum.hz(k) - hz).abs() > gap_hz && self.scratch.len() < Self::SCRATCH {
                self.scratch.push(spectrum.power[k]);
            }
        }
        let n = self.scratch.len();
        if n < BACKGROUND_MIN {
            return None;
        }
        // The mean of the middle two where n is even, as everywhere.
        let (below, mid, _) = self.scratch.select_nth_unstable_by(n / 2, f32::total_cmp);
        let upper = f64::from(*mid);
        let median = if n % 2 == 1 {
            upper
        } else {
            0.5 * (upper + f64::from(below.iter().copied().fold(f32::MIN, f32::max)))
        };
        (median > 0.0).then_some((median, n))
    }

    /// Highest bin within `tolerance` (relative) of `hz` against the median around, by itself.
    #[cfg(test)]
    pub(super) fn line(&mut self, spectrum: &Spectrum, hz: f64, tolerance: f64) -> Option<Line> {
        let (median, _) = self.background(spectrum, hz, 2.0 * tolerance * hz)?;
        let first = (hz * (1.0 - tolerance) / spectrum.df_hz).ceil() as usize;
        let last = (hz * (1.0 + tolerance) / spectrum.df_hz).floor() as usize;
        let k = (first..=last).max_by(|a, b| spectrum.power[*a].total_cmp(&spectrum.power[*b]))?;
        let ratio = f64::from(spectrum.power[k]) / median;
        let p = p_line(ratio, last - first + 1, f64::INFINITY);
        Some(Line { hz: spectrum.hz(k), ratio, p })
    }

    /// Tests the family of `hz`: its harmonics under one common scale factor within `tolerance`, relative.
    ///
    /// Lines of `foreign` families are left out (one bin either side and their own tolerance) and what they leak into
    /// neighbouring bins is taken off. `None` where fewer than two of the first three harmonics can be tested,
    /// or bins are too coarse to tell the family from its neighbours.
    ///
    /// # Source
    /// `domain.md` 3.4 (i)-(iii), (v). Every scale looked at is paid for (Bonferroni over independent scales).
    pub(super) fn family(
        &mut self,
        spectrum: &Spectrum,
        hz: f64,
        tolerance: f64,
        foreign: &[Foreign],
    ) -> Option<Found> {
        let df = spectrum.df_hz;
        if !(df > 0.0 && hz > 3.0 * df) {
            return None;
        }
        let mut top = 0;
        self.stretches.iter_mut().for_each(|stretch| stretch.ground = None);
        for h in 0..HARMONICS {
            let at = (h + 1) as f64 * hz;
            if at * (1.0 + tolerance) + 2.0 * df >= spectrum.hz(spectrum.power.len()) {
                break;
            }
            self.stretches[h].ground =
                self.background(spectrum, at, (2.0 * tolerance * at).max(2.0 * df));
            top = h + 1;
        }
        let step = 0.5 * df / (top.max(1) as f64 * hz);
        let n_steps = (tolerance / step).ceil() as i64;
        let furthest = (n_steps + RIM) as f64 * step;
        for (h, stretch) in self.stretches.iter_mut().enumerate().take(top) {
            stretch.take_in(spectrum, (h + 1) as f64 * hz, furthest, foreign);
        }
        let (mut best, mut best_i, mut beyond): (Option<Found>, i64, [f64; 2]) =
            (None, 0, [0.0; 2]);
        for i in -n_steps - RIM..=n_steps + RIM {
            let found = at_scale(spectrum, hz, 1.0 + i as f64 * step, &mut self.stretches);
            let is_whole = found.lines[..3].iter().flatten().count() >= 2;
            if i.abs() > n_steps {
                let side = &mut beyond[usize::from(i > 0)];
                *side = side.min(found.ln_p);
            } else if is_whole && best.is_none_or(|best| found.ln_p < best.ln_p) {
                (best, best_i) = (Some(found), i);
            }
        }
        let mut best = best?;
        // The best at the rim of the search is the flank of something outside, and says nothing.
        let is_flank =
            best_i.abs() >= n_steps - RIM && beyond[usize::from(best_i > 0)] <= best.ln_p;
        if is_flank {
            best.ln_p = 0.0;
        }
        let n_scales = 1.0 + 2.0 * tolerance * top as f64 * hz / df;
        Some(Found { ln_p: (best.ln_p + n_scales.ln()).min(0.0), ..best })
    }
}

/// The bins around one harmonic that a search passes over.
#[derive(Debug, Default)]
struct Stretch {
    /// Median power of its surroundings and the bins that is from; `None` where it cannot be tested.
    ground: Option<(f64, usize)>,
    first: usize,
    /// Power of each bin less what foreign lines leak into it; NaN where the bin is theirs.
    own: Vec<f64>,
    /// The last peak tested, with the bins it was sought among, and its probability: neighbouring
    /// scales mostly find the same.
    last: Option<(usize, usize, Line)>,
}

impl Stretch {
    /// Everything within `furthest`, relative, of `at_hz`.
    fn take_in(&mut self, spectrum: &Spectrum, at_hz: f64, furthest: f64, foreign: &[Foreign]) {
        // One bin more either side, for rounding.
        let first = bins_around(spectrum, at_hz * (1.0 - furthest)).0.saturating_sub(1);
        let last = bins_around(spectrum, at_hz * (1.0 + furthest)).1 + 1;
        (self.first, self.last) = (first, None);
        self.own.clear();
        self.own.extend((first..=last.min(spectrum.power.len() - 1)).map(|k| {
            leak_of(spectrum, k, foreign)
                .map_or(f64::NAN, |leak| f64::from(spectrum.power[k]) - leak)
        }));
    }

    /// The highest bin of `bins` against the surroundings.
    fn line(&mut self, spectrum: &Spectrum, (first, last): (usize, usize)) -> Option<Line> {
        let (median, n) = self.ground?;
        let own = self.own.get(first - self.first..(last + 1).max(first) - self.first)?;
        let (mut m, mut peak, mut peak_k) = (0, f64::MIN, 0);
        for (k, &power) in own.iter().enumerate().filter(|(_, power)| !power.is_nan()) {
            m += 1;
            if power > peak {
                (peak, peak_k) = (power, first + k);
            }
        }
        if m == 0 {
            return None;
        }
        if let Some((last_k, last_m, line)) = self.last
            && (last_k, last_m) == (peak_k, m)
        {
            return Some(line);
        }
        let ratio = peak.max(0.0) / median;
        let line = Line { hz: spectrum.hz(peak_k), ratio, p: p_line(ratio, m, n as f64) };
        self.last = Some((peak_k, m, line));
        Some(line)
    }
}

/// First and last bin a line at `at_hz` is sought in.
fn bins_around(spectrum: &Spectrum, at_hz: f64) -> (usize, usize) {
    let df = spectrum.df_hz;
    let half = (LOCK * at_hz).max(0.5 * df);
    let first = ((at_hz - half) / df).ceil().max(1.0) as usize;
    (first, (((at_hz + half) / df).floor() as usize).min(spectrum.power.len() - 1))
}

fn at_scale(
    spectrum: &Spectrum,
    hz: f64,
    scale: f64,
    stretches: &mut [Stretch; HARMONICS],
) -> Found {
    let mut found = Found { scale, ..Found::default() };
    for (h, stretch) in stretches.iter_mut().enumerate() {
        if stretch.ground.is_some() {
            let bins = bins_around(spectrum, (h + 1) as f64 * hz * scale);
            found.lines[h] = stretch.line(spectrum, bins);
        }
    }
    let n_tested = found.lines.iter().flatten().count();
    found.ln_p = ln_chi2_tail(fisher(found.lines.iter().flatten().map(|line| line.p)), n_tested);
    found
}

/// A bin no further from a foreign line than this holds more of it than can be taken off.
const LEAK_BINS: f64 = 0.6;

/// What the nearest foreign lines leak into bin `k`; `None` where the bin is theirs.
///
/// A rectangular window leaks at most 1/(pi d)^2 of a line's power at a distance of d bins.
fn leak_of(spectrum: &Spectrum, k: usize, foreign: &[Foreign]) -> Option<f64> {
    let (df, hz) = (spectrum.df_hz, spectrum.hz(k));
    let mut leak = 0.0;
    for family in foreign.iter().filter(|family| family.hz > 0.0) {
        let order = (hz / family.hz).round();
        if order < 1.0 {
            continue;
        }
        let line_hz = order * family.hz;
        let distance = (hz - line_hz).abs() - family.tolerance * line_hz;
        if distance <= LEAK_BINS * df {
            return None;
        }
        let at = line_hz / df;
        let c = at.round();
        let Some(peak) = spectrum.power.get(c as usize) else { continue };
        let sinc = |x: f64| if x.abs() < 1e-6 { 1.0 } else { x.sin() / x };
        let whole = f64::from(*peak) / sinc(std::f64::consts::PI * (c - at)).powi(2);
        leak += whole / (std::f64::consts::PI * distance / df).powi(2);
    }
    Some(leak)
}

#[cfg(test)]
mod tests;
