//! Samples over TCP from sensors with other drivers; the stream is described in `docs/stream.md`.

use std::io::{ErrorKind, Read as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cadence::Timeline;
use super::scale::{self, Scale};
use super::wait::{self, Ready};
use super::{Error, Info, Read, Source};
use crate::types::{Clock, Frame, Span, Unit};

mod wire;

use wire::{BLOCK_BYTES, BlockHead, Head};

/// How long [`Source::read`] waits.
const PATIENCE: Span = Span(200_000_000);
/// How long a connection may take to come about, and its header to arrive.
const HELLO: Span = Span(2_000_000_000);
/// A sender that says nothing for so long is gone; it may send empty blocks to stay.
const SILENT_AFTER: Span = Span(2_000_000_000);
/// The most that is taken from a socket at once, bytes.
const CHUNK_BYTES: usize = 64 * 1024;

/// Who calls whom.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The sender connects to us.
    #[default]
    Listen,
    /// We connect to the sender.
    Connect,
}

/// A stream of samples over TCP. It is neither encrypted nor authenticated: keep it on the box or
/// on a network of its own.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who calls whom: `listen` or `connect`.
    pub role: Role,
    /// Address and port: to listen on, or to connect to. Listening takes one sender at a time.
    pub address: SocketAddr,
    /// Samples per second and channel, hertz; a stream with another rate is refused.
    pub rate_hz: f64,
    /// Channels; a stream with more or fewer is refused.
    pub channels: u16,
    /// Unit of the samples: `m/s2`, `g`, `Pa`, `V` or `FS`; a stream with another one is refused.
    pub unit: String,
    /// Serial number the sender must give; empty takes any.
    pub serial: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            role: Role::Listen,
            address: SocketAddr::from(([127, 0, 0, 1], 7117)),
            rate_hz: 25_600.0,
            channels: 1,
            unit: "m/s2".to_owned(),
            serial: String::new(),
        }
    }
}

impl Config {
    /// Checks the configuration alone.
    ///
    /// # Errors
    /// Refused, naming the key and what would be right.
    pub fn check(&self) -> Result<(), Error> {
        let what = self.identity();
        if !(self.rate_hz > 0.0 && self.rate_hz <= wire::RATE_MAX_HZ) {
            let why = format!("rate_hz is {}; above 0 to {}", self.rate_hz, wire::RATE_MAX_HZ);
            return Err(Error::refused(&what, why));
        }
        if self.channels == 0 || self.channels > wire::CHANNELS_MAX {
            let why = format!("channels is {}; 1 to {}", self.channels, wire::CHANNELS_MAX);
            return Err(Error::refused(&what, why));
        }
        scale::unit(&what, &self.unit).map(|_| ())
    }

    /// Rate, channels and unit it will have.
    pub(super) fn expect(&self) -> Option<(f64, usize, Unit)> {
        Some((self.rate_hz, usize::from(self.channels), Unit::parse(&self.unit)?))
    }

    fn identity(&self) -> String {
        match (self.serial.as_str(), self.role) {
            ("", Role::Listen) => format!("tcp-listen:{}", self.address),
            ("", Role::Connect) => format!("tcp:{}", self.address),
            (serial, _) => format!("tcp-serial:{serial}"),
        }
    }

    /// Listens, or connects.
    ///
    /// # Errors
    /// [`Error::Refused`] if the configuration makes no sense, [`Error::Lost`] if the address
    /// cannot be had now or nobody answers there.
    pub fn open(&self, clock: Arc<dyn Clock>) -> Result<Tcp, Error> {
        self.check()?;
        let what = self.identity();
        let door = match self.role {
            Role::Listen => Door::Closed(self.listen(&what)?),
            Role::Connect => {
                let timeout = Duration::from_nanos(HELLO.0 as u64);
                let stream = TcpStream::connect_timeout(&self.address, timeout)
                    .map_err(|e| Error::lost(&what, format!("cannot connect: {e}")))?;
                Door::Open(Link::new(stream, &what, clock.monotonic())?)
            }
        };
        let unit = scale::unit(&what, &self.unit)?;
        Ok(Tcp {
            info: Info {
                identity: what,
                rate_hz: self.rate_hz,
                n_channels: usize::from(self.channels),
                unit,
                snapshot_samples: None,
                live: true,
            },
            serial: self.serial.clone(),
            door,
            timeline: Timeline::new(Arc::clone(&clock), self.rate_hz),
            clock,
        })
    }

    fn listen(&self, what: &str) -> Result<TcpListener, Error> {
        let listener = TcpListener::bind(self.address).map_err(|e| {
            let hint = match e.kind() {
                ErrorKind::AddrInUse => "; another program has this port, choose another",
                _ => "",
            };
            Error::lost(what, format!("cannot listen: {e}{hint}"))
        })?;
        listener.set_nonblocking(true).map_err(|e| Error::lost(what, e.to_string()))?;
        Ok(listener)
    }
}

/// Where the sender comes in.
enum Door {
    /// Nobody is there yet.
    Closed(TcpListener),
    /// A sender is connected.
    Open(Link),
}

/// One connection: bytes in, header and blocks out.
struct Link {
    stream: TcpStream,
    bytes: Vec<u8>,
    head: Option<(Head, Scale)>,
    next_sample: Option<u64>,
    /// Samples that never came, as empty blocks told; counted with the next sample.
    n_lost: u64,
    heard: Span,
}

impl Link {
    fn new(stream: TcpStream, what: &str, now: Span) -> Result<Self, Error> {
        stream.set_nonblocking(true).map_err(|e| Error::lost(what, e.to_string()))?;
        let bytes = Vec::with_capacity(CHUNK_BYTES);
        Ok(Self { stream, bytes, head: None, next_sample: None, n_lost: 0, heard: now })
    }

    /// Takes in what has come, up to `limit` bytes in the buffer; whether there was anything.
    fn fill(&mut self, limit: usize) -> Result<bool, String> {
        let before = self.bytes.len();
        let room = limit.saturating_sub(before).min(CHUNK_BYTES);
        self.bytes.resize(before + room, 0);
        let got = self.stream.read(&mut self.bytes[before..]);
        self.bytes.truncate(before + *got.as_ref().unwrap_or(&0));
        match got {
            Ok(0) if room > 0 => Err("the sender closed the connection".to_owned()),
            Ok(n) => Ok(n > 0),
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                Ok(false)
            }
            Err(e) => Err(e.to_string()),
        }
    }
}

/// An open TCP source.
pub struct Tcp {
    info: Info,
    serial: String,
    door: Door,
    timeline: Timeline,
    clock: Arc<dyn Clock>,
}

impl Tcp {
    /// The address listened on, where it is we who listen and nobody is connected.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        match &self.door {
            Door::Closed(listener) => listener.local_addr().ok(),
            Door::Open(_) => None,
        }
    }

    fn lost(&self, why: impl Into<String>) -> Error {
        Error::lost(&self.info.identity, why)
    }

    /// Lets one sender in, if one knocks in time.
    fn admit(&mut self) -> Result<(), Error> {
        let Door::Closed(listener) = &self.door else { return Ok(()) };
        let ready = wait::readable(listener.as_fd(), PATIENCE);
        if ready.map_err(|e| self.lost(e.to_string()))? != Ready::Readable {
            return Ok(());
        }
        match listener.accept() {
            Ok((stream, _)) => {
                let link = Link::new(stream, &self.info.identity, self.clock.monotonic())?;
                self.door = Door::Open(link);
                Ok(())
            }
            // Whoever knocked has left again.
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => {
                Ok(())
            }
            Err(e) => Err(self.lost(e.to_string())),
        }
    }
}

/// Whether the stream is the one that was configured.
fn accept(head: &Head, info: &Info, serial: &str) -> Result<Scale, String> {
    if head.rate_hz != info.rate_hz {
        return Err(format!("the stream has {} Hz, not {} Hz", head.rate_hz, info.rate_hz));
    }
    if head.n_channels != info.n_channels {
        return Err(format!(
            "the stream has {} channels, not {}",
            head.n_channels, info.n_channels
        ));
    }
    if Unit::parse(&head.unit) != Some(info.unit) {
        return Err(format!("the stream is in `{}`, not {}", head.unit, info.unit.name()));
    }
    if !serial.is_empty() && head.serial != serial {
        return Err(format!("the sender is `{}`, not `{serial}`", head.serial));
    }
    Scale::new("stream", &[head.scale], head.n_channels).map_err(|e| e.to_string())
}

impl Source for Tcp {
    fn info(&self) -> &Info {
        &self.info
    }

    fn rate_ppm(&self) -> Option<f64> {
        self.timeline.ppm()
    }

    fn read(&mut self, frame: &mut Frame) -> Result<Read, Error> {
        Timeline::clear(frame, &self.info);
        self.admit()?;
        let Door::Open(link) = &mut self.door else { return Ok(Read::Quiet) };
        let now = self.clock.monotonic();
        match next(link, frame, &self.info, &self.serial, now) {
            Ok(Some(n_lost)) => {
                self.timeline.stamp(frame, n_lost, now);
                Ok(Read::Frame)
            }
            Ok(None) => Ok(Read::Quiet),
            Err(why) => Err(self.lost(why)),
        }
    }
}

/// The next block of samples into `frame`, and how many were lost before it; nothing after an empty
/// block, so that many of them keep nobody from looking up.
fn next(
    link: &mut Link,
    frame: &mut Frame,
    info: &Info,
    serial: &str,
    now: Span,
) -> Result<Option<u64>, String> {
    let mut may_wait = true;
    loop {
        let need = match take(link, frame, info, serial)? {
            Taken::Block(n_lost) => return Ok(Some(n_lost)),
            Taken::Head => continue,
            Taken::Empty => return Ok(None),
            Taken::Need(bytes) => bytes,
        };
        if link.fill(need)? {
            link.heard = now;
            continue;
        }
        let limit = if link.head.is_none() { HELLO } else { SILENT_AFTER };
        if now - link.heard > limit {
            return Err(format!("the sender has been silent for {:.0} s", limit.as_secs()));
        }
        let waited = std::mem::replace(&mut may_wait, false);
        if !waited {
            return Ok(None);
        }
        let ready = wait::readable(link.stream.as_fd(), PATIENCE).map_err(|e| e.to_string())?;
        if ready == Ready::Quiet {
            return Ok(None);
        }
    }
}

/// What the bytes at hand gave.
enum Taken {
    /// A block, after so many samples that never came.
    Block(u64),
    /// The header: look again.
    Head,
    /// A block without samples: the sender is still here.
    Empty,
    /// So many bytes in all are needed to go on.
    Need(usize),
}

fn take(link: &mut Link, frame: &mut Frame, info: &Info, serial: &str) -> Result<Taken, String> {
    let Some((head, scale)) = &link.head else {
        return match Head::parse(&link.bytes)? {
            wire::Parsed::Need(n) => Ok(Taken::Need(n)),
            wire::Parsed::Done(head, n_bytes) => {
                let scale = accept(&head, info, serial)?;
                link.head = Some((head, scale));
                link.bytes.drain(..n_bytes);
                Ok(Taken::Head)
            }
        };
    };
    if link.bytes.len() < BLOCK_BYTES {
        return Ok(Taken::Need(BLOCK_BYTES));
    }
    let block = BlockHead::parse(&link.bytes[..BLOCK_BYTES])?;
    let n_bytes = BLOCK_BYTES + block.n_samples * head.n_channels * head.format.bytes();
    if link.bytes.len() < n_bytes {
        return Ok(Taken::Need(n_bytes));
    }
    let expected = link.next_sample.unwrap_or(block.first_sample);
    let Some(n_lost) = block.first_sample.checked_sub(expected) else {
        return Err(format!(
            "the sample number went back from {expected} to {}; send each block once, in order",
            block.first_sample
        ));
    };
    if n_lost as f64 > wire::GAP_MAX_SECS * head.rate_hz {
        return Err(format!("the sample number jumped by {n_lost}: more than an hour"));
    }
    link.n_lost += n_lost;
    link.next_sample = Some(block.first_sample.saturating_add(block.n_samples as u64));
    head.format.decode(&link.bytes[BLOCK_BYTES..n_bytes], &mut frame.samples);
    scale.apply(frame);
    link.bytes.drain(..n_bytes);
    if frame.is_empty() {
        return Ok(Taken::Empty);
    }
    Ok(Taken::Block(std::mem::take(&mut link.n_lost)))
}

#[cfg(test)]
mod tests;
