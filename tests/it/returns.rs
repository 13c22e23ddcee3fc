//! A sensor that goes away or falls silent, and comes back, again and again: how soon it is heard.

use std::time::{Duration, Instant};

use auscult::acquire::{Config, TcpConfig};
use auscult::daemon::capture::Item;
use auscult::pipeline::Pipeline;
use auscult::types::State;

use crate::broker::DEADLINE;
use crate::rig::{Capture, Dice, Mode, Sender, Spread, line, tier};

const RATE_HZ: u32 = 3200;
/// Three seconds to be opened again, and a window.
const BAR: Duration = Duration::from_secs(4);
/// Silent for so long it is given up, and not yet taken for one that has nothing to say.
const SILENT_S: std::ops::Range<f64> = 3.0..6.0;

/// A sensor, its capture thread, and the blocks.
struct Ear {
    sender: Sender,
    capture: Capture,
    pipeline: Option<Pipeline>,
    is_lost: bool,
    /// Windows that were heard.
    n_heard: usize,
}

impl Ear {
    fn new(seed: u64) -> Self {
        let sender = Sender::new(RATE_HZ, seed);
        let source = Config::Tcp(TcpConfig {
            role: auscult::acquire::TcpRole::Connect,
            address: ([127, 0, 0, 1], sender.port).into(),
            rate_hz: f64::from(RATE_HZ),
            ..TcpConfig::default()
        });
        let capture = Capture::new(source, line::origin());
        Self { sender, capture, pipeline: None, is_lost: false, n_heard: 0 }
    }

    /// Takes what comes for so long, or until `is_so`.
    fn listen(&mut self, span: Duration, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + span;
        while Instant::now() < until && !is_so(self) {
            match self.capture.consumer.pop() {
                Some(Item::Frame(mut frame) | Item::Void(mut frame)) => {
                    let pipeline =
                        self.pipeline.get_or_insert_with(|| line::pipeline(&frame, 3600.0, None));
                    pipeline.step(0, &mut frame, |tick| {
                        self.n_heard += usize::from(tick.score.state != State::Blind);
                    });
                    self.capture.consumer.recycle(frame);
                }
                Some(Item::Lost(_)) => self.is_lost = true,
                Some(Item::Opened(_)) => {}
                Some(Item::Ended(why)) => panic!("a device never ends: {why:?}"),
                None => drop(self.capture.woken.recv_timeout(Duration::from_millis(20))),
            }
        }
    }

    /// Goes away for so long; how soon after its return a window of it is heard.
    fn leave(&mut self, mode: Mode, span: Duration) -> Duration {
        self.is_lost = false;
        self.sender.set(mode);
        let gone = Instant::now();
        self.listen(DEADLINE, |ear| ear.is_lost);
        assert!(self.is_lost, "nobody noticed");
        self.listen(span.saturating_sub(gone.elapsed()), |_| false);
        self.sender.set(Mode::Well);
        let (back, n_before) = (Instant::now(), self.n_heard);
        self.listen(DEADLINE, |ear| ear.n_heard > n_before);
        assert!(self.n_heard > n_before, "it is not heard any more");
        back.elapsed()
    }
}

fn returns(seed: u64, n_returns: usize, most_s: f64) -> Vec<Duration> {
    let (mut dice, mut ear) = (Dice::new(seed), Ear::new(seed));
    ear.listen(DEADLINE, |ear| ear.n_heard > 0);
    let mut all = Vec::new();
    for _ in 0..n_returns {
        // Short absences are as likely as long ones.
        let span_s = 0.3 * (most_s / 0.3).powf(dice.unit());
        let is_silent = SILENT_S.contains(&span_s) && dice.below(2) == 0;
        let mode = if is_silent { Mode::Silent } else { Mode::Away };
        all.push(ear.leave(mode, Duration::from_secs_f64(span_s)));
        ear.listen(Duration::from_secs_f64(dice.between(2.0, 6.0)), |_| false);
    }
    ear.capture.close();
    all
}

#[test]
fn a_sensor_that_comes_back_is_heard_soon() {
    let (n_ears, n_returns, most_s) = tier((2, 2, 1.0), (20, 10, 5.0), (50, 40, 60.0));
    let mut took = Spread::default();
    std::thread::scope(|scope| {
        let run = |seed| scope.spawn(move || returns(seed, n_returns, most_s));
        let ears: Vec<_> = (1..=n_ears).map(run).collect();
        ears.into_iter().flat_map(|it| it.join().unwrap()).for_each(|each| took.add(each));
    });
    took.judge("sensor back, to the first window of it", BAR);
}
