//! A sensor that streams over TCP in real time (`docs/stream.md`): well, loud, broken, silent or away.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Dice;
use crate::broker::free_port;

const BLOCK: Duration = Duration::from_millis(20);

/// What it does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Noise.
    Well,
    /// Noise thirty times as loud.
    Loud,
    /// No sample is a number.
    Broken,
    /// Whoever calls hears nothing.
    Silent,
    /// Nobody is there.
    Away,
}

impl Mode {
    const ALL: [Self; 5] = [Self::Well, Self::Loud, Self::Broken, Self::Silent, Self::Away];
}

#[derive(Default)]
struct Shared {
    mode: AtomicU8,
    is_over: AtomicBool,
    /// When each block of the connection was sent.
    sent: Mutex<Vec<Instant>>,
}

/// It listens; the box calls. Ends when dropped.
pub(crate) struct Sender {
    pub(crate) port: u16,
    n_block: usize,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Sender {
    /// One channel of m/s2.
    pub(crate) fn new(rate_hz: u32, seed: u64) -> Self {
        let (port, shared) = (free_port(), Arc::<Shared>::default());
        let n_block = rate_hz as usize * BLOCK.as_millis() as usize / 1000;
        let mut pen = Pen {
            port,
            rate_hz,
            noise: noise(n_block, seed),
            shared: Arc::clone(&shared),
            door: None,
            link: None,
        };
        pen.open();
        let thread = Some(std::thread::spawn(move || pen.run()));
        Self { port, n_block, shared, thread }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::Release);
    }

    /// When the block was sent that ends with, or after, sample `n` of the connection.
    pub(crate) fn sent(&self, n: u64) -> Instant {
        self.shared.sent.lock().unwrap()[(n as usize).div_ceil(self.n_block) - 1]
    }

    /// Samples sent on the connection.
    pub(crate) fn n_sent(&self) -> u64 {
        (self.shared.sent.lock().unwrap().len() * self.n_block) as u64
    }

    /// As a source in a configuration.
    pub(crate) fn source(&self, rate_hz: u32) -> String {
        format!(
            "{{ type = \"tcp\", role = \"connect\", address = \"127.0.0.1:{}\", rate_hz = {rate_hz} }}",
            self.port
        )
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// A minute of it, over and over.
fn noise(n_block: usize, seed: u64) -> Vec<Vec<f32>> {
    let mut dice = Dice::new(seed);
    let n_blocks = 60_000 / BLOCK.as_millis() as usize;
    let mut block = || (0..n_block).map(|_| dice.normal() as f32).collect();
    (0..n_blocks).map(|_| block()).collect()
}

/// The thread.
struct Pen {
    port: u16,
    rate_hz: u32,
    noise: Vec<Vec<f32>>,
    shared: Arc<Shared>,
    door: Option<TcpListener>,
    /// Who called last, since when, and how many blocks he has.
    link: Option<(TcpStream, Instant, u32)>,
}

impl Pen {
    fn run(&mut self) {
        while !self.shared.is_over.load(Ordering::Acquire) {
            match Mode::ALL[usize::from(self.shared.mode.load(Ordering::Acquire))] {
                Mode::Away => {
                    (self.door, self.link) = (None, None);
                    std::thread::sleep(BLOCK);
                }
                Mode::Silent => std::thread::sleep(BLOCK),
                mode => {
                    self.open();
                    self.answer();
                    self.send(mode);
                }
            }
        }
    }

    fn open(&mut self) {
        if self.door.is_none() {
            // Whoever has the port for the moment lets go of it again.
            let Ok(door) = TcpListener::bind(("127.0.0.1", self.port)) else { return };
            door.set_nonblocking(true).unwrap();
            self.door = Some(door);
        }
    }

    /// The last one who called is spoken to; of those before him nobody waits any more.
    fn answer(&mut self) {
        while let Some((mut link, _)) = self.door.as_ref().and_then(|door| door.accept().ok()) {
            let mut head = b"AUSCULT\x01\x01\x00\x04\x04\x00\x00\x00\x00".to_vec();
            head.extend(f64::from(self.rate_hz).to_le_bytes());
            head.extend(1.0f64.to_le_bytes());
            head.extend(b"m/s2");
            if link.write_all(&head).is_ok() {
                self.shared.sent.lock().unwrap().clear();
                self.link = Some((link, Instant::now(), 0));
            }
        }
    }

    fn send(&mut self, mode: Mode) {
        let Some((link, begin, n)) = &mut self.link else {
            return std::thread::sleep(BLOCK);
        };
        let noise = &self.noise[*n as usize % self.noise.len()];
        let gain = match mode {
            Mode::Loud => 30.0,
            Mode::Broken => f32::NAN,
            _ => 1.0,
        };
        let mut bytes = b"BLCK".to_vec();
        bytes.extend((noise.len() as u32).to_le_bytes());
        bytes.extend((u64::from(*n) * noise.len() as u64).to_le_bytes());
        bytes.extend(noise.iter().flat_map(|x| (x * gain).to_le_bytes()));
        let due = *begin + (*n + 1) * BLOCK;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        *n += 1;
        self.shared.sent.lock().unwrap().push(Instant::now());
        if link.write_all(&bytes).is_err() {
            self.link = None;
        }
    }
}
