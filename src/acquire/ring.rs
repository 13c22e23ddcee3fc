//! Lock-free ring from the driver's callback to the capture thread: whole blocks in, whole blocks out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::types::Span;

/// Samples the ring holds at least, in seconds: a reader may sleep that long and nothing is lost.
pub(super) const RING_SECS: f64 = 4.0;

/// What the callback says of one block of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Samples per channel.
    pub(super) n_samples: usize,
    /// Samples per channel dropped just before it because the ring was full.
    pub(super) n_dropped: u64,
    /// Monotonic time at which it arrived, that is: of its last sample.
    pub(super) at: Span,
    /// The driver lost samples before it, nobody knows how many.
    pub(super) after_xrun: bool,
}

/// The callback's end: never waits, never allocates.
pub(super) struct Writer {
    samples: rtrb::Producer<f32>,
    blocks: rtrb::Producer<Block>,
    n_channels: usize,
    n_dropped: u64,
    total: Arc<AtomicU64>,
}

/// The capture thread's end.
pub(super) struct Reader {
    samples: rtrb::Consumer<f32>,
    blocks: rtrb::Consumer<Block>,
    n_channels: usize,
    total: Arc<AtomicU64>,
}

/// A ring for [`RING_SECS`] of samples at `rate_hz` that come in blocks of about `block_samples`.
pub(super) fn ring(rate_hz: f64, n_channels: usize, block_samples: usize) -> (Writer, Reader) {
    let n_samples = (RING_SECS * rate_hz).ceil() as usize + block_samples;
    let n_blocks = 4 * n_samples / block_samples.max(1) + 4;
    let (sample_writer, sample_reader) = rtrb::RingBuffer::new(n_samples * n_channels);
    let (block_writer, block_reader) = rtrb::RingBuffer::new(n_blocks);
    let total = Arc::new(AtomicU64::new(0));
    let writer = Writer {
        samples: sample_writer,
        blocks: block_writer,
        n_channels,
        n_dropped: 0,
        total: Arc::clone(&total),
    };
    (writer, Reader { samples: sample_reader, blocks: block_reader, n_channels, total })
}

impl Writer {
    /// Hands over one block of interleaved samples, or drops and counts all of it.
    pub(super) fn push(
        &mut self,
        at: Span,
        after_xrun: bool,
        samples: impl ExactSizeIterator<Item = f32>,
    ) {
        let n_samples = samples.len() / self.n_channels;
        self.total.fetch_add(n_samples as u64, Ordering::Relaxed);
        let whole = n_samples * self.n_channels;
        if self.blocks.is_full() || self.samples.slots() < whole {
            self.n_dropped += n_samples as u64;
            return;
        }
        let Ok(chunk) = self.samples.write_chunk_uninit(whole) else {
            self.n_dropped += n_samples as u64;
            return;
        };
        chunk.fill_from_iter(samples);
        let block = Block { n_samples, n_dropped: self.n_dropped, at, after_xrun };
        self.n_dropped = 0;
        self.blocks.push(block).expect("only this end fills the ring and it had room");
    }
}

impl Reader {
    /// Samples per channel the callback was given so far, the dropped ones too.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Samples per channel that can be taken out now.
    pub(super) fn n_samples(&self) -> usize {
        self.samples.slots() / self.n_channels
    }

    /// What comes next, if anything.
    pub(super) fn peek(&self) -> Option<Block> {
        self.blocks.peek().ok().copied()
    }

    /// Appends the next block's interleaved samples to `out`.
    pub(super) fn pop(&mut self, out: &mut Vec<f32>) -> Option<Block> {
        let block = self.blocks.pop().ok()?;
        let n = block.n_samples * self.n_channels;
        let chunk = self.samples.read_chunk(n).expect("samples are written before their block");
        let (first, second) = chunk.as_slices();
        out.extend_from_slice(first);
        out.extend_from_slice(second);
        chunk.commit_all();
        Some(block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_out_as_they_went_in_and_every_dropped_sample_is_counted() {
        let (mut writer, mut reader) = ring(100.0, 2, 50);
        let mut out = Vec::new();
        let mut pushed = 0_u64;
        for k in 0..12 {
            let base = (k * 100) as f32;
            writer.push(Span(k), false, (0..100).map(|i| base + i as f32));
            pushed += 50;
        }
        assert_eq!(reader.total(), pushed);
        let mut n_read = 0;
        while let Some(block) = reader.pop(&mut out) {
            assert_eq!(block.n_dropped, 0, "drops are told with the next block that fits");
            n_read += block.n_samples as u64;
        }
        assert_eq!(n_read, 450, "4 s and one block fit");
        assert!(out.iter().enumerate().all(|(i, &v)| v == i as f32));
        writer.push(Span(99), true, (0..100).map(|i| i as f32));
        let block = reader.peek().unwrap();
        assert_eq!(block, Block { n_samples: 50, n_dropped: 150, at: Span(99), after_xrun: true });
        assert_eq!(n_read + block.n_dropped + 50, reader.total());
    }
}
