//! What many machines learned, as one: clipped, trimmed, weighted.
//!
//! What is averaged are the `up` halves of adapters whose `down` half is frozen and the same everywhere.
//! Then the mean of the parts is the part of the mean; with both halves learned it would not be, for a
//! mean of products is no product of means. Normalisation and limits stay on each machine.
//!
//! Sums behind masks (secure aggregation) hide a member among others; below about ten members the sum
//! itself tells too much, and it keeps a median from being taken. So it is not done here: members are
//! the gateways of one owner.

/// Fewest members whose mean is more than one of them, and of which one may lie.
pub const MEMBERS_MIN: usize = 3;
/// Most members of one round.
pub const MEMBERS_MAX: usize = 10_000;

/// Why there is no average.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Wait for more.
    #[error("{found} members are too few to average, {MEMBERS_MIN} are needed")]
    TooFew {
        /// How many sound ones there are.
        found: usize,
    },
    /// Split the round.
    #[error("{found} members are more than {MEMBERS_MAX} in one round")]
    TooMany {
        /// How many there are.
        found: usize,
    },
}

/// What one member sends: how far its adapter moved, and on how much.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// Change of every number.
    pub change: &'a [f32],
    /// Windows it was learned on, above 0.
    pub weight: f64,
}

/// How much one member may matter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Average {
    /// Longest change, in medians of all members' lengths; longer ones are shortened to it.
    pub clip: f64,
    /// Share of the members left out at each end, number by number, 0 to below one half.
    pub trim: f64,
    /// Largest weight, in medians of all weights.
    pub weight_max: f64,
}

impl Default for Average {
    fn default() -> Self {
        Self { clip: 2.0, trim: 0.2, weight_max: 3.0 }
    }
}

/// The average, and who was left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Averaged {
    /// Change to apply to everybody.
    pub change: Vec<f32>,
    /// Members refused whole: wrong length, numbers that are none, weight not above 0.
    pub refused: Vec<usize>,
    /// Members whose change was shortened.
    pub clipped: Vec<usize>,
}

impl Average {
    /// Averages changes of `n` numbers each.
    ///
    /// # Errors
    /// `Error` if too few sound members are left, or there are too many.
    ///
    /// # Source
    /// McMahan et al., AISTATS 2017, algorithm 1, for the weighted mean; Yin et al., ICML 2018,
    /// definition 2, for the trimmed mean by coordinate, here with weights.
    pub fn of(&self, updates: &[Update<'_>], n: usize) -> Result<Averaged, Error> {
        if updates.len() > MEMBERS_MAX {
            return Err(Error::TooMany { found: updates.len() });
        }
        let is_sound = |u: &Update<'_>| {
            let weighs = u.weight.is_finite() && u.weight > 0.0;
            weighs && u.change.len() == n && u.change.iter().all(|x| x.is_finite())
        };
        let (sound, refused): (Vec<usize>, Vec<usize>) =
            (0..updates.len()).partition(|i| is_sound(&updates[*i]));
        if sound.len() < MEMBERS_MIN {
            return Err(Error::TooFew { found: sound.len() });
        }
        let length = |i: &usize| {
            updates[*i].change.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
        };
        let lengths: Vec<f64> = sound.iter().map(length).collect();
        let longest = self.clip * median(&lengths);
        let weights: Vec<f64> = sound.iter().map(|i| updates[*i].weight).collect();
        let heaviest = self.weight_max * median(&weights);
        let is_long = |length: f64| length > longest;
        let shares: Vec<f64> =
            lengths.iter().map(|l| if is_long(*l) { longest / l } else { 1.0 }).collect();
        let clipped = sound.iter().zip(&lengths).filter(|(_, l)| is_long(**l)).map(|(i, _)| *i);
        let clipped = clipped.collect();
        let mut column: Vec<(f64, f64)> = Vec::with_capacity(sound.len());
        let mean = |at: usize| {
            column.clear();
            column.extend(sound.iter().zip(&shares).zip(&weights).map(|((i, share), weight)| {
                (share * f64::from(updates[*i].change[at]), weight.min(heaviest))
            }));
            self.trimmed(&mut column) as f32
        };
        Ok(Averaged { change: (0..n).map(mean).collect(), refused, clipped })
    }

    /// Weighted mean of the values but for the lowest and highest ones.
    fn trimmed(&self, column: &mut [(f64, f64)]) -> f64 {
        column.sort_by(|a, b| a.0.total_cmp(&b.0));
        // One always goes at each end: one may always lie.
        let n_out = ((column.len() as f64 * self.trim).ceil() as usize).max(1);
        let n_out = n_out.min((column.len() - 1) / 2);
        let kept = &column[n_out..column.len() - n_out];
        let (sum, weight) =
            kept.iter().fold((0.0, 0.0), |(sum, all), (x, w)| (sum + x * w, all + w));
        sum / weight
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[middle]
    } else {
        f64::midpoint(sorted[middle - 1], sorted[middle])
    }
}

#[cfg(test)]
mod tests;
