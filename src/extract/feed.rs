//! The samples waiting to be measured: one plane per channel, scaled, with the marks of the frames
//! they came in.

use std::collections::VecDeque;

use crate::types::{Frame, Quality, Span, Stamp};

/// Where a frame's samples lie, and what was said of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Position of its first sample, counted since the feed was made.
    pub(super) at: u64,
    /// Samples per channel.
    pub(super) n: u64,
    /// Number of its first sample by the source's count.
    pub(super) first_sample: u64,
    /// Time of its first sample.
    pub(super) start: Stamp,
    /// Flags of the whole.
    pub(super) quality: Quality,
    /// Shaft speed told with it, Hz.
    pub(super) speed_hz: Option<f64>,
}

impl Mark {
    fn end(&self) -> u64 {
        self.at + self.n
    }
}

/// Samples by position; positions never go back.
pub(super) struct Feed {
    scale: f32,
    /// `[n_channels]` of samples from position `base` on.
    planes: Vec<Vec<f32>>,
    base: u64,
    marks: VecDeque<Mark>,
    /// `[marks, n_channels]`.
    axis_quality: VecDeque<Quality>,
}

impl Feed {
    /// Samples are multiplied by `scale`; room is made for `n_kept` of them at a time.
    pub(super) fn new(n_channels: usize, scale: f32, n_kept: usize) -> Self {
        let planes = (0..n_channels).map(|_| Vec::with_capacity(2 * n_kept)).collect();
        Self { scale, planes, base: 0, marks: VecDeque::new(), axis_quality: VecDeque::new() }
    }

    /// Position after the last sample.
    pub(super) fn end(&self) -> u64 {
        self.base + self.planes[0].len() as u64
    }

    /// Takes in a frame; `keep_from` is the first position still wanted.
    ///
    /// # Panics
    /// If the frame has another number of channels: a bug in the caller.
    pub(super) fn push(&mut self, frame: &Frame, quality: Quality, keep_from: u64) {
        let n_channels = self.planes.len();
        assert_eq!(frame.n_channels, n_channels, "the channels of the sensor never change");
        self.trim(keep_from);
        let at = self.end();
        for (channel, plane) in self.planes.iter_mut().enumerate() {
            if n_channels == 1 {
                plane.extend(frame.samples.iter().map(|v| v * self.scale));
            } else {
                let rows = frame.samples.chunks_exact(n_channels);
                plane.extend(rows.map(|row| row[channel] * self.scale));
            }
        }
        self.marks.push_back(Mark {
            at,
            n: self.end() - at,
            first_sample: frame.origin.first_sample,
            start: frame.start,
            quality,
            speed_hz: frame.speed_hz,
        });
        self.axis_quality.extend(
            (0..n_channels).map(|c| frame.axis_quality.get(c).copied().unwrap_or_default()),
        );
    }

    /// Drops what lies before `keep_from`, once that is worth the move.
    fn trim(&mut self, keep_from: u64) {
        while self.marks.front().is_some_and(|mark| mark.end() <= keep_from) {
            self.marks.pop_front();
            self.axis_quality.drain(..self.planes.len());
        }
        let n_gone = (keep_from - self.base) as usize;
        if n_gone > 0 && n_gone >= self.planes[0].len() - n_gone {
            for plane in &mut self.planes {
                plane.drain(..n_gone);
            }
            self.base = keep_from;
        }
    }

    /// Samples of one channel between two positions.
    pub(super) fn samples(&self, channel: usize, from: u64, to: u64) -> &[f32] {
        &self.planes[channel][(from - self.base) as usize..(to - self.base) as usize]
    }

    /// The marks of the frames that reach into a stretch, and the index of the first of them.
    pub(super) fn marks(&self, from: u64, to: u64) -> (usize, impl Iterator<Item = &Mark>) {
        let first = self.marks.partition_point(|mark| mark.end() <= from);
        (first, self.marks.iter().skip(first).take_while(move |mark| mark.at < to))
    }

    /// The first frame that begins at or after a position.
    pub(super) fn frame_from(&self, at: u64) -> Option<Mark> {
        self.marks.get(self.marks.partition_point(|mark| mark.at < at)).copied()
    }

    /// Flags of the whole between two positions.
    pub(super) fn quality(&self, from: u64, to: u64) -> Quality {
        self.marks(from, to).1.fold(Quality::GOOD, |all, mark| all.with(mark.quality))
    }

    /// Flags of one channel between two positions.
    pub(super) fn axis_quality(&self, channel: usize, from: u64, to: u64) -> Quality {
        let (first, marks) = self.marks(from, to);
        let n_channels = self.planes.len();
        (first..first + marks.count())
            .map(|i| self.axis_quality[i * n_channels + channel])
            .fold(Quality::GOOD, Quality::with)
    }

    /// Source's number and time of the sample at a position.
    pub(super) fn whence(&self, at: u64, rate_hz: f64) -> (u64, Stamp) {
        let (_, mut marks) = self.marks(at, at + 1);
        let Some(mark) = marks.next() else { return (0, Stamp::default()) };
        let offset = at - mark.at;
        (mark.first_sample + offset, mark.start + Span::from_secs(offset as f64 / rate_hz))
    }
}
