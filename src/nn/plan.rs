//! Where every tensor lies: one arena, planned once, greedy by size.
//!
//! # Source
//! Pisarchyk and Lee, Efficient memory management for deep neural net inference, 2020, section 5.2.

use std::ops::Range;

use super::Error;
use super::kernel::LINE;

/// Largest arena of one runner, bytes.
pub const ARENA_BYTES_MAX: usize = 32 << 20;

/// A tensor's place among the steps: made at `first`, read for the last time at `last`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    pub bytes: usize,
    pub first: usize,
    pub last: usize,
}

/// Lines of each tensor, and bytes of the whole.
pub(super) struct Plan {
    pub places: Vec<Range<usize>>,
    pub bytes: usize,
}

impl Plan {
    /// Places every tensor at the lowest free line, the largest first.
    ///
    /// # Errors
    /// `Error::TooBig` if it does not fit `ARENA_BYTES_MAX`.
    pub(super) fn new(needs: &[Need]) -> Result<Self, Error> {
        let total = needs.iter().try_fold(0_usize, |sum, need| sum.checked_add(need.bytes));
        // Without sharing, all of them within four arenas: enough to place without overflow.
        if total.is_none_or(|total| total > 4 * ARENA_BYTES_MAX) {
            return Err(Error::TooBig { what: "working memory", max: ARENA_BYTES_MAX as u64 });
        }
        let mut order: Vec<usize> = (0..needs.len()).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(needs[*i].bytes), *i));
        let mut places = vec![0..0; needs.len()];
        let mut placed: Vec<usize> = Vec::new();
        for i in order {
            let alive =
                |j: &&usize| needs[**j].first <= needs[i].last && needs[i].first <= needs[**j].last;
            let mut taken: Vec<Range<usize>> =
                placed.iter().filter(alive).map(|j| places[*j].clone()).collect();
            taken.sort_by_key(|range| range.start);
            let n_lines = needs[i].bytes.div_ceil(LINE);
            let mut start = 0;
            for range in taken {
                if range.start >= start + n_lines {
                    break;
                }
                start = start.max(range.end);
            }
            places[i] = start..start + n_lines;
            placed.push(i);
        }
        let bytes = places.iter().map(|range| range.end).max().unwrap_or(0) * LINE;
        if bytes > ARENA_BYTES_MAX {
            return Err(Error::TooBig { what: "working memory", max: ARENA_BYTES_MAX as u64 });
        }
        Ok(Self { places, bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chain_needs_its_two_largest_neighbours() {
        let sizes = [640, 128, 128, 64, 640];
        let chain: Vec<Need> = sizes
            .iter()
            .enumerate()
            .map(|(i, bytes)| Need { bytes: *bytes, first: i, last: i + 1 })
            .collect();
        assert_eq!(Plan::new(&chain).unwrap().bytes, 768);
    }

    #[test]
    fn too_much_is_refused() {
        let need = |bytes| Need { bytes, first: 0, last: 1 };
        assert!(Plan::new(&[need(ARENA_BYTES_MAX)]).is_ok());
        assert!(Plan::new(&[need(ARENA_BYTES_MAX), need(1)]).is_err());
        assert!(Plan::new(&[need(usize::MAX), need(1)]).is_err());
    }

    proptest! {
        #[test]
        fn what_lives_together_lies_apart(raw in prop::collection::vec((1_usize..5000, 0_usize..20, 0_usize..5), 1..40)) {
            let needs: Vec<Need> =
                raw.iter().map(|(bytes, first, n)| Need { bytes: *bytes, first: *first, last: first + n }).collect();
            let plan = Plan::new(&needs).unwrap();
            for (i, a) in needs.iter().enumerate() {
                prop_assert!(plan.places[i].len() * LINE >= a.bytes && plan.places[i].end * LINE <= plan.bytes);
                for (j, b) in needs.iter().enumerate().skip(i + 1) {
                    let together = a.first <= b.last && b.first <= a.last;
                    let (p, q) = (&plan.places[i], &plan.places[j]);
                    prop_assert!(!together || p.end <= q.start || q.end <= p.start);
                }
            }
        }
    }
}
