//! A running capture thread and what it hands over.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use auscult::acquire::Config;
use auscult::daemon::SystemClock;
use auscult::daemon::capture::{self, Consumer, Handle, Settings, State};
use auscult::types::{Clock, Origin};

pub(crate) struct Capture {
    pub(crate) handle: Handle,
    pub(crate) consumer: Consumer,
    pub(crate) woken: Receiver<()>,
}

impl Capture {
    pub(crate) fn new(source: Config, origin: Origin) -> Self {
        let (wake, woken) = sync_channel(1);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let expect = source.expect();
        let settings = Settings { origin: origin.clone(), n_frames: 64, retry: true, expect };
        let ticking = Arc::clone(&clock);
        let open = move || source.open(origin.clone(), &ticking);
        let wake = move || {
            wake.try_send(()).ok();
        };
        let (handle, consumer) = capture::spawn(settings, clock, open, wake).unwrap();
        Self { handle, consumer, woken }
    }

    /// Stops the thread and checks that the accounts add up.
    pub(crate) fn close(mut self) {
        self.handle.stop();
        while !self.consumer.is_closed() {
            self.consumer.pop();
        }
        let counts = self.handle.counts();
        self.handle.join().unwrap();
        assert_eq!(counts.produced, counts.delivered + counts.lost, "{counts:?}");
        assert_eq!(counts.state, State::Ended);
    }
}
