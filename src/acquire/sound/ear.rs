//! The driver's side of a sound card: its callbacks, which never allocate, lock, log or wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cpal::traits::DeviceTrait;
use cpal::{ErrorKind, I24, SampleFormat, SizedSample, Stream, StreamConfig};

use super::ring::Writer;
use crate::types::Clock;

/// How often the driver looks after its device while nothing comes.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// What the callbacks tell the reader without waiting for it.
#[derive(Default)]
pub(super) struct Signals {
    /// First error that ends the stream, as `ErrorKind` plus 1; 0 while there is none.
    failed: AtomicU32,
    /// Overruns in the driver so far.
    n_xruns: AtomicU32,
}

/// Errors that end a stream, in the order of their codes.
const FATAL: [ErrorKind; 6] = [
    ErrorKind::DeviceNotAvailable,
    ErrorKind::StreamInvalidated,
    ErrorKind::BackendError,
    ErrorKind::HostUnavailable,
    ErrorKind::DeviceBusy,
    ErrorKind::Other,
];

impl Signals {
    /// The first error wins; a storm of them costs one atomic each.
    fn report(&self, kind: ErrorKind) {
        match kind {
            ErrorKind::Xrun => {
                self.n_xruns.fetch_add(1, Ordering::Relaxed);
            }
            ErrorKind::RealtimeDenied | ErrorKind::DeviceChanged => {}
            kind => {
                // Only the stream's own thread writes here, so looking first is enough.
                if self.failed.load(Ordering::Relaxed) == 0 {
                    let code = FATAL.iter().position(|k| *k == kind).unwrap_or(FATAL.len() - 1);
                    self.failed.store(code as u32 + 1, Ordering::Relaxed);
                }
            }
        }
    }

    /// The first error that ended the stream.
    pub(super) fn failure(&self) -> Option<ErrorKind> {
        let code = self.failed.load(Ordering::Relaxed) as usize;
        FATAL.get(code.wrapping_sub(1)).copied()
    }
}

/// What the data callback holds.
pub(super) struct Ear {
    writer: Writer,
    signals: Arc<Signals>,
    clock: Arc<dyn Clock>,
    n_xruns: u32,
}

impl Ear {
    pub(super) fn new(writer: Writer, signals: Arc<Signals>, clock: Arc<dyn Clock>) -> Self {
        Self { writer, signals, clock, n_xruns: 0 }
    }

    /// Has `device` call us with samples of `format`, as fractions of full scale; not started yet.
    pub(super) fn listen(
        self,
        device: &cpal::Device,
        config: StreamConfig,
        format: SampleFormat,
    ) -> Result<Stream, cpal::Error> {
        match format {
            SampleFormat::I16 => self.listen_as(device, config, |v: i16| f32::from(v) / 32_768.0),
            SampleFormat::I24 => self.listen_as(device, config, of_i24),
            SampleFormat::I32 => {
                self.listen_as(device, config, |v: i32| v as f32 / 2_147_483_648.0)
            }
            _ => self.listen_as(device, config, |v: f32| v),
        }
    }

    fn listen_as<T: SizedSample + Send + 'static>(
        mut self,
        device: &cpal::Device,
        config: StreamConfig,
        full_scale: fn(T) -> f32,
    ) -> Result<Stream, cpal::Error> {
        let signals = Arc::clone(&self.signals);
        let take = move |data: &[T], _: &cpal::InputCallbackInfo| {
            let n_xruns = self.signals.n_xruns.load(Ordering::Relaxed);
            let after_xrun = n_xruns != self.n_xruns;
            self.n_xruns = n_xruns;
            let at = self.clock.monotonic();
            self.writer.push(at, after_xrun, data.iter().map(|&v| full_scale(v)));
        };
        device.build_input_stream(config, take, move |e| signals.report(e.kind()), Some(POLL_EVERY))
    }
}

/// The upper byte of a 24-bit sample in 32 bits is not the driver's to fill.
fn of_i24(v: I24) -> f32 {
    ((v.inner() << 8) >> 8) as f32 / 8_388_608.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_of_errors_leaves_the_first_and_overruns_are_no_end() {
        let signals = Signals::default();
        signals.report(ErrorKind::Xrun);
        signals.report(ErrorKind::DeviceChanged);
        assert_eq!(signals.failure(), None);
        signals.report(ErrorKind::StreamInvalidated);
        for _ in 0..100_000 {
            signals.report(ErrorKind::BackendError);
        }
        assert_eq!(signals.failure(), Some(ErrorKind::StreamInvalidated));
        assert_eq!(signals.n_xruns.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_kind_of_error_nobody_knows_yet_ends_the_stream_too() {
        let signals = Signals::default();
        signals.report(ErrorKind::ResourceExhausted);
        assert_eq!(signals.failure(), Some(ErrorKind::Other));
    }
}
