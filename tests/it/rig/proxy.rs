//! A bad network between the box and its broker, to order: slow, dead, torn, and false about what
//! was received. It reads MQTT as it passes, so that it can count and bend single packets.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

use super::Dice;

/// How long a pump waits for bytes before it looks at its orders again.
const LOOK: Duration = Duration::from_millis(5);

/// First byte of the packets of MQTT 3.1.1 that matter here (section 2.2.1).
const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;

/// First byte of a connection under TLS, which passes as it is (RFC 8446, section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// What becomes of acknowledgements.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Acks {
    /// They pass.
    #[default]
    Pass,
    /// They are kept back, for ever if the connection ends.
    Hold,
    /// Each comes twice.
    Twice,
    /// Those that are under way together come in the wrong order.
    Backwards,
    /// Each is followed by one for a packet that was never sent.
    Strange,
    /// The broker never hears of the message, the box is told it has it.
    Lie,
}

/// What is wrong with the network now.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    /// New connections are torn at once.
    pub(crate) refuse: bool,
    /// Nothing moves any more, both ends stay open.
    pub(crate) stall: bool,
    /// Added to every piece that passes.
    pub(crate) latency: Duration,
    /// Most that passes each way and connection.
    pub(crate) bytes_per_s: Option<u64>,
    /// One byte in so many arrives wrong, if not 0.
    pub(crate) flip_one_in: u64,
    /// The connection is torn when a message with these bytes passes.
    pub(crate) poison: Option<Vec<u8>>,
    /// What becomes of acknowledgements.
    pub(crate) acks: Acks,
}

/// What passed since the start.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_field_names, reason = "they count")]
pub(crate) struct Passed {
    pub(crate) n_connections: usize,
    /// At the same time.
    pub(crate) n_open_max: usize,
    pub(crate) n_flipped: usize,
    pub(crate) n_torn: usize,
    /// Acknowledgements that were bent.
    pub(crate) n_bent: usize,
    /// Messages with QoS 1 under way at the same time on one connection.
    pub(crate) n_in_flight_max: usize,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<Faults>,
    passed: Mutex<Passed>,
    links: Mutex<BTreeMap<usize, [TcpStream; 2]>>,
    n_open: AtomicUsize,
    is_over: AtomicBool,
}

/// Listens on loopback and passes on to a broker there.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn to(broker: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let inner = Arc::clone(&shared);
        let thread = std::thread::spawn(move || listen(&listener, broker, &inner));
        Self { port, shared, thread: Some(thread) }
    }

    pub(crate) fn set(&self, faults: Faults) {
        *self.shared.faults.lock().unwrap() = faults;
    }

    pub(crate) fn passed(&self) -> Passed {
        self.shared.passed.lock().unwrap().clone()
    }

    /// Tears every connection there is, as a router that lost its mind does.
    pub(crate) fn tear(&self) {
        let links = std::mem::take(&mut *self.shared.links.lock().unwrap());
        links.values().for_each(tear);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Release);
        self.tear();
        // Wakes the listener; if it is gone already there is nothing to wake.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Ends a connection both ways, with a reset and not a farewell.
fn tear(link: &[TcpStream; 2]) {
    for stream in link {
        set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
        // The pumps hold it too: they see the end and let go, and the last one resets.
        drop(stream.shutdown(Shutdown::Read));
    }
}

fn listen(listener: &TcpListener, broker: u16, shared: &Arc<Shared>) {
    let mut pumps: Vec<JoinHandle<()>> = Vec::new();
    for n in 0.. {
        let Ok((near, _)) = listener.accept() else { continue };
        if shared.is_over.load(Ordering::Acquire) {
            break;
        }
        // A thread that ended keeps its stack until it is joined.
        pumps.extract_if(.., |pump| pump.is_finished()).for_each(|pump| pump.join().unwrap());
        let refuse = shared.faults.lock().unwrap().refuse;
        let far = if refuse { None } else { TcpStream::connect(("127.0.0.1", broker)).ok() };
        let n_open = shared.n_open.fetch_add(1, Ordering::AcqRel) + 1;
        {
            let mut passed = shared.passed.lock().unwrap();
            passed.n_connections += 1;
            passed.n_open_max = passed.n_open_max.max(n_open);
        }
        let Some(far) = far else {
            shared.n_open.fetch_sub(1, Ordering::AcqRel);
            continue;
        };
        for stream in [&near, &far] {
            stream.set_read_timeout(Some(LOOK)).unwrap();
            stream.set_nodelay(true).unwrap();
        }
        let pair = || [near.try_clone().unwrap(), far.try_clone().unwrap()];
        shared.links.lock().unwrap().insert(n, pair());
        let window = Arc::new(AtomicUsize::new(0));
        let left = Arc::new(AtomicUsize::new(2));
        for is_up in [true, false] {
            let [near, far] = pair();
            let (from, to) = if is_up { (near, far) } else { (far, near) };
            let (shared, window, left) = (Arc::clone(shared), window.clone(), left.clone());
            pumps.push(std::thread::spawn(move || {
                let dice = Dice::new(n as u64 * 2 + u64::from(is_up));
                let mut pump = Pump { is_up, from, to, window, dice, late: Vec::new(), shared };
                pump.run();
                let link = [pump.from, pump.to];
                // One way is enough: a connection that is half gone is no use here.
                for stream in &link {
                    drop(stream.shutdown(Shutdown::Read));
                }
                drop(pump.shared.links.lock().unwrap().remove(&n));
                if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                    pump.shared.n_open.fetch_sub(1, Ordering::AcqRel);
                }
            }));
        }
    }
    for pump in pumps {
        pump.join().unwrap();
    }
}

/// One direction of one connection.
struct Pump {
    is_up: bool,
    from: TcpStream,
    to: TcpStream,
    /// Messages under way on the connection.
    window: Arc<AtomicUsize>,
    dice: Dice,
    /// Acknowledgements kept back for a moment, the last one first.
    late: Vec<u8>,
    shared: Arc<Shared>,
}

impl Pump {
    fn run(&mut self) {
        let mut buffer = [0; 4096];
        let (mut packets, mut is_tls) = (Vec::new(), None);
        loop {
            let n = match self.from.read(&mut buffer) {
                Ok(0) => return,
                Ok(n) => n,
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
                {
                    0
                }
                Err(_) => return,
            };
            let faults = self.wait_while_stalled();
            if self.shared.is_over.load(Ordering::Acquire) {
                return;
            }
            packets.extend_from_slice(&buffer[..n]);
            let mut out = Vec::new();
            if n == 0 {
                // What was kept back to come in the wrong order comes when all of it is there.
                out.append(&mut self.late);
            }
            if is_tls.is_none() && n > 0 {
                is_tls = Some(packets[0] == TLS_HANDSHAKE);
            }
            if is_tls == Some(true) {
                out.append(&mut packets);
            }
            while let Some(length) = length(&packets) {
                let packet: Vec<u8> = packets.drain(..length).collect();
                if !self.packet(&packet, &faults, &mut out) {
                    return;
                }
            }
            self.flip(&mut out, &faults);
            if !out.is_empty() && self.pass(&out, &faults).is_err() {
                return;
            }
        }
    }

    fn wait_while_stalled(&self) -> Faults {
        loop {
            let faults = self.shared.faults.lock().unwrap().clone();
            let is_torn = matches!(self.from.peek(&mut [0]), Ok(0));
            if !faults.stall || is_torn || self.shared.is_over.load(Ordering::Acquire) {
                return faults;
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What one packet becomes; `false` tears the connection.
    fn packet(&mut self, packet: &[u8], faults: &Faults, out: &mut Vec<u8>) -> bool {
        let kind = packet[0] & 0xf0;
        if self.is_up && kind == PUBLISH {
            let poison = faults.poison.as_deref();
            if poison.is_some_and(|it| packet.windows(it.len()).any(|part| part == it)) {
                self.shared.passed.lock().unwrap().n_torn += 1;
                return false;
            }
            if packet[0] & 6 != 0 {
                return self.message(packet, faults, out);
            }
        }
        if !self.is_up && kind == PUBACK {
            self.window.fetch_sub(1, Ordering::AcqRel);
            self.ack(packet, faults.acks, out);
        } else {
            out.extend_from_slice(packet);
        }
        true
    }

    fn message(&mut self, packet: &[u8], faults: &Faults, out: &mut Vec<u8>) -> bool {
        if faults.acks == Acks::Lie {
            self.shared.passed.lock().unwrap().n_bent += 1;
            return self.from.write_all(&puback(packet_id(packet))).is_ok();
        }
        let n_in_flight = self.window.fetch_add(1, Ordering::AcqRel) + 1;
        let mut passed = self.shared.passed.lock().unwrap();
        passed.n_in_flight_max = passed.n_in_flight_max.max(n_in_flight);
        out.extend_from_slice(packet);
        true
    }

    fn ack(&mut self, packet: &[u8], acks: Acks, out: &mut Vec<u8>) {
        if acks != Acks::Pass {
            self.shared.passed.lock().unwrap().n_bent += 1;
        }
        match acks {
            Acks::Pass | Acks::Lie => out.extend_from_slice(packet),
            Acks::Hold => {}
            Acks::Twice => out.extend(packet.iter().chain(packet)),
            Acks::Backwards => drop(self.late.splice(0..0, packet.iter().copied())),
            Acks::Strange => {
                let id = u16::from_be_bytes([packet[2], packet[3]]);
                out.extend_from_slice(packet);
                out.extend_from_slice(&puback(id.wrapping_add(20_000)));
            }
        }
    }

    fn flip(&mut self, out: &mut [u8], faults: &Faults) {
        if faults.flip_one_in == 0 {
            return;
        }
        for byte in out {
            if self.dice.below(faults.flip_one_in) == 0 {
                *byte ^= 1 << self.dice.below(8);
                self.shared.passed.lock().unwrap().n_flipped += 1;
            }
        }
    }

    fn pass(&mut self, out: &[u8], faults: &Faults) -> std::io::Result<()> {
        if !faults.latency.is_zero() {
            std::thread::sleep(faults.latency);
        }
        let Some(rate) = faults.bytes_per_s else { return self.to.write_all(out) };
        for piece in out.chunks((rate / 100).max(1) as usize) {
            std::thread::sleep(Duration::from_millis(10));
            self.to.write_all(piece)?;
        }
        Ok(())
    }
}

/// Length of the first packet, if all of it is there (MQTT 3.1.1, section 2.2.3).
fn length(bytes: &[u8]) -> Option<usize> {
    let mut remaining = 0;
    for (k, byte) in bytes.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * k);
        if byte & 0x80 == 0 {
            let length = remaining + k + 2;
            return (bytes.len() >= length).then_some(length);
        }
    }
    None
}

fn packet_id(publish: &[u8]) -> u16 {
    let header = 1 + publish[1..].iter().take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let topic = usize::from(u16::from_be_bytes([publish[header], publish[header + 1]]));
    let at = header + 2 + topic;
    u16::from_be_bytes([publish[at], publish[at + 1]])
}

fn puback(id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [PUBACK, 2, high, low]
}
