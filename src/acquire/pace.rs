//! A recording played at the speed of time, or a multiple of it.

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Error, Info, Read, Source};
use crate::types::{Clock, Frame, Span, Stamp};

/// How fast a source that could be read at once is read.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pace {
    /// As fast as it is read.
    #[default]
    Max,
    /// As fast as time passes.
    Real,
}

/// Longest a read waits before it says [`Read::Quiet`].
const PATIENCE: Span = Span(250_000_000);

/// Hands out each frame of `source` when its last sample is due, not before.
///
/// The contents of the frames are untouched; only the moment differs.
pub struct Paced {
    source: Box<dyn Source>,
    clock: Arc<dyn Clock>,
    speed: f64,
    zero: Option<(Span, Stamp)>,
    held: Option<Frame>,
}

impl Paced {
    /// `speed` 1 is real time, 2 is twice as fast; above 0.
    ///
    /// # Panics
    /// If `speed` is not above 0: the caller checks what people type.
    pub fn new(source: Box<dyn Source>, clock: Arc<dyn Clock>, speed: f64) -> Self {
        assert!(speed > 0.0 && speed.is_finite(), "a speed is above 0, not {speed}");
        Self { source, clock, speed, zero: None, held: None }
    }

    /// How long until `frame` is due; negative if it is late.
    fn wait(&mut self, frame: &Frame) -> Span {
        let now = self.clock.monotonic();
        let (began, first) = *self.zero.get_or_insert((now, frame.start));
        let end = frame.start + Span::from_secs(frame.len() as f64 / frame.rate_hz);
        let due = began.0.saturating_add(((end - first).0 as f64 / self.speed) as i64);
        Span(due.saturating_sub(now.0))
    }
}

impl Source for Paced {
    fn info(&self) -> &Info {
        self.source.info()
    }

    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error> {
        if let Some(held) = self.held.as_mut() {
            std::mem::swap(frame, held);
        } else {
            match self.source.read(frame)? {
                Read::Frame => {}
                other => return Ok(other),
            }
        }
        let wait = self.wait(frame);
        let nap = wait.0.clamp(0, PATIENCE.0) as u64;
        std::thread::sleep(Duration::from_nanos(nap));
        if wait <= PATIENCE {
            self.held = None;
            return Ok(Read::Frame);
        }
        match self.held.as_mut() {
            Some(held) => std::mem::swap(frame, held),
            None => self.held = Some(frame.clone()),
        }
        Ok(Read::Quiet)
    }

    fn notes(&self) -> &[String] {
        self.source.notes()
    }
}
