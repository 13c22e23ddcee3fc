//! A sound card without hardware: ALSA's file plugin fed by a paced writer through a fifo.

#![allow(clippy::disallowed_methods, reason = "it paces real time")]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Bytes a pipe takes in one piece, so that a reader never sees half a block.
const PIPE_BUF: usize = 4096;

/// Number of the sample it counts: every 16-bit value in turn.
pub(crate) fn sample(k: u64) -> i16 {
    k as u16 as i16
}

/// A microphone called `pcm:mic`: one channel of 16 bits, its samples count up.
///
/// ALSA takes its configuration from the environment of the process, so only one may live at a time.
pub(crate) struct Microphone {
    dir: tempfile::TempDir,
    pen: Option<(JoinHandle<File>, Arc<Orders>)>,
    fifo: Option<File>,
    n_written: Arc<AtomicU64>,
    rate_hz: f64,
}

struct Orders {
    stop: AtomicBool,
}

impl Microphone {
    /// Makes the fifo and points ALSA at it; nothing is written yet.
    #[allow(unsafe_code, reason = "the environment is set before any other thread reads it")]
    pub(crate) fn new(rate_hz: f64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let fifo = dir.path().join("mic.fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let text = format!(
            "pcm.null {{ type null }}\n\
             pcm.mic {{ type file slave.pcm \"null\" file \"/dev/null\" infile \"{}\" format \"raw\"\n\
               hint {{ show on description \"Fifo microphone\" }} }}\n",
            fifo.display()
        );
        let conf = dir.path().join("asound.conf");
        File::create(&conf).unwrap().write_all(text.as_bytes()).unwrap();
        // SAFETY: see the reason above; tests that use ALSA run one after the other.
        unsafe { std::env::set_var("ALSA_CONFIG_PATH", &conf) };
        let n_written = Arc::default();
        let mut this = Self { dir, pen: None, fifo: None, n_written, rate_hz };
        this.fifo = Some(this.open());
        this
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mic.fifo")
    }

    /// Opened for reading too, so that neither side ever waits for the other to open.
    fn open(&self) -> File {
        OpenOptions::new().read(true).write(true).open(self.path()).unwrap()
    }

    /// Writes blocks of 480 samples at `speed` times the stated rate until told to stop.
    pub(crate) fn play(&mut self, speed: f64) {
        let mut fifo = self.fifo.take().unwrap_or_else(|| self.open());
        let orders = Arc::new(Orders { stop: AtomicBool::new(false) });
        let (told, n_written) = (Arc::clone(&orders), Arc::clone(&self.n_written));
        let step = Duration::from_secs_f64(480.0 / (self.rate_hz * speed));
        let write = move || {
            let mut due = Instant::now();
            let mut block = Vec::with_capacity(PIPE_BUF);
            while !told.stop.load(Ordering::Acquire) {
                let first = n_written.load(Ordering::Acquire);
                block.clear();
                block.extend((first..first + 480).flat_map(|k| sample(k).to_le_bytes()));
                fifo.write_all(&block).unwrap();
                n_written.store(first + 480, Ordering::Release);
                due += step;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            fifo
        };
        self.pen = Some((std::thread::Builder::new().spawn(write).unwrap(), orders));
    }

    /// The writer falls silent but keeps the fifo open: a stalled microphone.
    pub(crate) fn stall(&mut self) {
        if let Some((thread, orders)) = self.pen.take() {
            orders.stop.store(true, Ordering::Release);
            self.fifo = Some(thread.join().unwrap());
        }
    }

    /// The writer closes the fifo: what reads it sees the end.
    pub(crate) fn close(&mut self) {
        self.stall();
        self.fifo = None;
    }
}

impl Drop for Microphone {
    fn drop(&mut self) {
        self.stall();
    }
}
