//! What is kept of the learning until the limits are set: a bounded choice of windows.

use super::settling::Settling;
use crate::types::SensorKind;

/// Windows kept; beyond it every second one goes, and from then on every second one comes.
const WINDOWS_MAX: usize = 1024;
/// Blocks a learning is cut into, about, ...
const N_BLOCKS: usize = 64;
/// ... but of no fewer windows than show how much windows scatter.
const BLOCK_WINDOWS: usize = 8;
/// A new block begins where the level has moved this far, dB: another operating point.
const LEVEL_STEP_DB: f32 = 6.0;
/// ... or the speed by this share.
pub(super) const SPEED_STEP: f32 = 0.02;
/// Time over which a machine's slow changes (heat, shift, product) show themselves, seconds: blocks that
/// follow each other faster are not independent observations of them.
pub(super) const SLOW_S: f64 = 86_400.0;

/// What is remembered of a window beside its vector.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// Which recording or run.
    pub(super) session: u32,
    /// Seconds of learning before it.
    pub(super) at_s: f64,
    /// Natural logarithm of the speed in Hz; NaN where unknown.
    pub(super) ln_speed: f32,
    /// Loudest axis, dB.
    pub(super) level_db: f32,
}

/// The windows learned from.
#[derive(Clone, Debug, Default)]
pub(super) struct Learning {
    pub(super) windows: Vec<Window>,
    /// `[windows, n_slots]`.
    values: Vec<f32>,
    n_slots: usize,
    stride: usize,
    n_seen: usize,
    session: u32,
    session_used: bool,
    pub(super) secs: f64,
    pub(super) kind: Option<SensorKind>,
    pub(super) settling: Settling,
    pub(super) refused: Vec<(&'static str, usize)>,
}

/// Neighbouring windows of one session at one operating point.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// Window indices.
    pub(super) range: std::ops::Range<usize>,
    /// How many independent observations of the slow changes it stands for, 0-1.
    pub(super) weight: f64,
}

impl Learning {
    /// Takes in one window standing for `every_s` seconds.
    pub(super) fn push(&mut self, values: &[f32], ln_speed: f32, level_db: f32, every_s: f64) {
        let at_s = self.secs;
        self.secs += every_s;
        self.n_slots = values.len();
        self.stride = self.stride.max(1);
        let is_kept = self.n_seen.is_multiple_of(self.stride);
        self.n_seen += 1;
        self.session_used = true;
        if !is_kept {
            return;
        }
        if self.windows.len() == WINDOWS_MAX {
            self.thin();
        }
        self.windows.push(Window { session: self.session, at_s, ln_speed, level_db });
        self.values.extend_from_slice(values);
    }

    fn thin(&mut self) {
        let n = self.n_slots;
        for (to, from) in (0..self.windows.len()).step_by(2).enumerate() {
            self.windows[to] = self.windows[from];
            self.values.copy_within(from * n..(from + 1) * n, to * n);
        }
        let kept = self.windows.len().div_ceil(2);
        self.windows.truncate(kept);
        self.values.truncate(kept * n);
        self.stride *= 2;
    }

    /// What follows belongs to another recording or run.
    pub(super) fn next_session(&mut self) {
        if self.session_used {
            self.session += 1;
            self.session_used = false;
        }
    }

    /// Counts a window that is not learned from.
    pub(super) fn refuse(&mut self, why: &'static str, n: usize) {
        match self.refused.iter_mut().find(|(known, _)| *known == why) {
            Some((_, count)) => *count += n,
            None => self.refused.push((why, n)),
        }
    }

    /// Windows seen, kept or thinned out.
    pub(super) fn n_seen(&self) -> usize {
        self.n_seen
    }

    /// The vector of window `i`.
    pub(super) fn vector(&self, i: usize) -> &[f32] {
        &self.values[i * self.n_slots..(i + 1) * self.n_slots]
    }

    /// Slots of a vector.
    pub(super) fn n_slots(&self) -> usize {
        self.n_slots
    }

    /// Drops the windows at which `is_out` is true.
    pub(super) fn retain(&mut self, is_out: &[bool]) {
        let mut to = 0;
        for from in 0..self.windows.len() {
            if !is_out[from] {
                self.windows[to] = self.windows[from];
                let n = self.n_slots;
                self.values.copy_within(from * n..(from + 1) * n, to * n);
                to += 1;
            }
        }
        self.windows.truncate(to);
        self.values.truncate(to * self.n_slots);
    }

    /// Forgets number `j` of every window.
    pub(super) fn blank(&mut self, j: usize) {
        for vector in self.values.chunks_exact_mut(self.n_slots) {
            vector[j] = f32::NAN;
        }
    }

    /// Whether all of it was heard in one go.
    pub(super) fn is_one_session(&self) -> bool {
        self.windows.first().map(|w| w.session) == self.windows.last().map(|w| w.session)
    }

    /// Forgets what was heard in the first half of the time.
    pub(super) fn forget_first_half(&mut self) {
        let half_s = 0.5 * self.secs;
        let is_out: Vec<bool> = self.windows.iter().map(|window| window.at_s < half_s).collect();
        self.retain(&is_out);
        self.windows.iter_mut().for_each(|window| window.at_s -= half_s);
        self.secs -= half_s;
    }

    /// Cuts the windows into blocks, never across sessions or operating points.
    pub(super) fn blocks(&self) -> Vec<Block> {
        let longest = self.windows.len().div_ceil(N_BLOCKS).max(BLOCK_WINDOWS);
        let mut blocks: Vec<Block> = Vec::new();
        let mut begin = 0;
        for i in 1..=self.windows.len() {
            if i < self.windows.len() && i - begin < longest && self.belongs(begin, i) {
                continue;
            }
            let end_s = self.windows.get(i).map_or(self.secs, |next| next.at_s);
            let span_s = end_s - self.windows[begin].at_s;
            let weight = (span_s / SLOW_S).min(1.0);
            blocks.push(Block { range: begin..i, weight });
            begin = i;
        }
        if !self.is_one_session() {
            self.share_sessions(&mut blocks);
        }
        blocks
    }

    /// Where there are several sessions, a session is an independent observation as a day is: its
    /// blocks share it.
    fn share_sessions(&self, blocks: &mut [Block]) {
        let session = |block: &Block| self.windows[block.range.start].session;
        let mut begin = 0;
        for end in 1..=blocks.len() {
            if end < blocks.len() && session(&blocks[end]) == session(&blocks[begin]) {
                continue;
            }
            let n: usize = blocks[begin..end].iter().map(|block| block.range.len()).sum();
            let days: f64 = blocks[begin..end].iter().map(|block| block.weight).sum();
            for block in &mut blocks[begin..end] {
                block.weight = days.max(1.0) * block.range.len() as f64 / n as f64;
            }
            begin = end;
        }
    }

    fn belongs(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.windows[a], &self.windows[b]);
        let step = (a.ln_speed - b.ln_speed).abs();
        let same_speed = step.is_nan() || step <= SPEED_STEP;
        let same_level = (a.level_db - b.level_db).abs() <= LEVEL_STEP_DB;
        a.session == b.session && same_speed && same_level
    }
}
