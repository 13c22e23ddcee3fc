//! The TCP stream against real sockets.

use std::io::Write;
use std::sync::Mutex;

use proptest::prelude::*;

use super::wire::{Format, Parsed};
use super::*;
use crate::types::{Origin, Quality, Stamp};

/// Time that passes only when told to.
#[derive(Default)]
struct Still(Mutex<Span>);

impl Clock for Still {
    fn now(&self) -> Stamp {
        Stamp(self.monotonic().0)
    }
    fn monotonic(&self) -> Span {
        *self.0.lock().unwrap()
    }
}

fn head(
    n_channels: u16,
    format: u8,
    rate_hz: f64,
    scale: f64,
    unit: &str,
    serial: &str,
) -> Vec<u8> {
    let mut bytes = wire::MAGIC.to_vec();
    bytes.extend(n_channels.to_le_bytes());
    bytes.extend([format, unit.len() as u8, serial.len() as u8, 0, 0, 0]);
    bytes.extend(rate_hz.to_le_bytes());
    bytes.extend(scale.to_le_bytes());
    bytes.extend(unit.bytes().chain(serial.bytes()));
    bytes
}

fn block(first_sample: u64, n_samples: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = wire::BLOCK_MAGIC.to_vec();
    bytes.extend(n_samples.to_le_bytes());
    bytes.extend(first_sample.to_le_bytes());
    bytes.extend(payload);
    bytes
}

fn i16s(values: &[i16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// A source that listens on a free port, and a sender connected to it.
fn pair(config: &Config) -> (Tcp, TcpStream, Arc<Still>) {
    let clock = Arc::new(Still::default());
    let address = SocketAddr::from(([127, 0, 0, 1], 0));
    let tcp = Config { address, ..config.clone() }.open(clock.clone()).unwrap();
    let sender = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    (tcp, sender, clock)
}

fn config() -> Config {
    Config { rate_hz: 1000.0, channels: 2, ..Config::default() }
}

/// Reads until something other than `Quiet` comes; the sender has sent all of it already.
fn until_told(tcp: &mut Tcp, frame: &mut Frame) -> Result<Read, Error> {
    for _ in 0..50 {
        match tcp.read(frame) {
            Ok(Read::Quiet) => {}
            told => return told,
        }
    }
    panic!("nothing came")
}

fn empty() -> Frame {
    Frame::empty(Origin::new("a", "s"), 1.0, Unit::Volt, 1)
}

#[test]
fn samples_arrive_scaled_and_a_hole_in_their_numbers_is_counted() {
    let (mut tcp, mut sender, _) = pair(&config());
    let mut frame = empty();
    sender.write_all(&head(2, 1, 1000.0, 0.5, "m/s2", "SN1")).unwrap();
    sender.write_all(&block(1000, 2, &i16s(&[1, -2, 3, -4]))).unwrap();
    sender.write_all(&block(1002, 0, &[])).unwrap();
    sender.write_all(&block(1005, 1, &i16s(&[5, 6]))).unwrap();
    assert_eq!(until_told(&mut tcp, &mut frame).unwrap(), Read::Frame);
    assert_eq!(frame.samples, [0.5, -1.0, 1.5, -2.0]);
    assert_eq!((frame.n_lost, frame.unit), (0, Unit::MetersPerSecond2));
    assert_eq!(until_told(&mut tcp, &mut frame).unwrap(), Read::Frame);
    assert_eq!(frame.samples, [2.5, 3.0]);
    assert_eq!((frame.n_lost, frame.origin.first_sample), (3, 5));
    assert!(frame.quality.has(Quality::DROPOUT));
    drop(sender);
    let error = until_told(&mut tcp, &mut frame).unwrap_err();
    assert!(error.to_string().contains("closed the connection"), "{error}");
}

#[test]
fn a_hole_before_an_empty_block_is_counted_with_the_next_samples() {
    let (mut tcp, mut sender, _) = pair(&config());
    let mut frame = empty();
    sender.write_all(&head(2, 1, 1000.0, 1.0, "m/s2", "")).unwrap();
    sender.write_all(&block(1000, 2, &i16s(&[1, 2, 3, 4]))).unwrap();
    sender.write_all(&block(1005, 0, &[])).unwrap();
    sender.write_all(&block(1006, 0, &[])).unwrap();
    sender.write_all(&block(1007, 1, &i16s(&[5, 6]))).unwrap();
    sender.write_all(&block(1008, 1, &i16s(&[7, 8]))).unwrap();
    for (n_lost, first_sample) in [(0, 0), (5, 7), (0, 8)] {
        assert_eq!(until_told(&mut tcp, &mut frame).unwrap(), Read::Frame);
        assert_eq!((frame.n_lost, frame.origin.first_sample), (n_lost, first_sample));
        assert_eq!(frame.quality.has(Quality::DROPOUT), n_lost > 0);
    }
}

#[test]
fn empty_blocks_in_a_row_never_keep_the_reader_from_looking_up() {
    let (mut tcp, mut sender, _) = pair(&config());
    let mut frame = empty();
    sender.write_all(&head(2, 1, 1000.0, 1.0, "m/s2", "")).unwrap();
    sender.write_all(&block(0, 0, &[]).repeat(5)).unwrap();
    sender.write_all(&block(0, 1, &i16s(&[1, 2]))).unwrap();
    while tcp.local_addr().is_some() {
        tcp.admit().unwrap();
    }
    for k in 0..5 {
        assert_eq!(tcp.read(&mut frame).unwrap(), Read::Quiet, "block {k}");
    }
    assert_eq!(tcp.read(&mut frame).unwrap(), Read::Frame);
}

#[test]
fn every_format_is_read_as_it_was_written() {
    let check = |format: Format, bytes: &[u8], expect: &[f32]| {
        let mut out = Vec::new();
        format.decode(bytes, &mut out);
        assert_eq!(out, expect, "{format:?}");
    };
    check(Format::I16, &[0xff, 0x7f, 0, 0x80], &[32_767.0, -32_768.0]);
    check(Format::I24, &[0xff, 0xff, 0x7f, 0, 0, 0x80], &[8_388_607.0, -8_388_608.0]);
    check(Format::I32, &[0, 0, 0, 0x80], &[-2_147_483_648.0]);
    check(Format::F32, &1.25_f32.to_le_bytes(), &[1.25]);
}

#[test]
fn a_stream_that_is_not_the_one_configured_is_turned_away_with_the_reason() {
    let serial = Config { serial: "SN1".to_owned(), ..config() };
    let check = |config: &Config, bytes: &[u8], expect: &str| {
        let (mut tcp, mut sender, _) = pair(config);
        sender.write_all(bytes).unwrap();
        let error = until_told(&mut tcp, &mut empty()).unwrap_err();
        assert!(matches!(error, Error::Lost { .. }));
        assert!(error.to_string().contains(expect), "{error}");
    };
    let good = head(2, 1, 1000.0, 1.0, "m/s2", "SN1");
    check(&config(), b"GET / HTTP/1.1\r\n\r\n", "no auscult stream");
    check(&config(), &head(2, 1, 500.0, 1.0, "m/s2", ""), "500 Hz, not 1000 Hz");
    check(&config(), &head(3, 1, 1000.0, 1.0, "m/s2", ""), "3 channels, not 2");
    check(&config(), &head(0, 1, 1000.0, 1.0, "m/s2", ""), "0 channels");
    check(&config(), &head(2, 9, 1000.0, 1.0, "m/s2", ""), "format 9");
    check(&config(), &head(2, 1, f64::NAN, 1.0, "m/s2", ""), "NaN Hz");
    check(&config(), &head(2, 1, 1000.0, 0.0, "m/s2", ""), "scale is 0");
    check(&config(), &head(2, 1, 1000.0, 1.0, "g", ""), "in `g`, not m/s2");
    check(&config(), &head(2, 1, 1000.0, 1.0, "\n", ""), "plain UTF-8");
    check(&serial, &head(2, 1, 1000.0, 1.0, "m/s2", "SN2"), "`SN2`, not `SN1`");
    check(&config(), &[&good[..], &block(0, 1 << 20, &[])].concat(), "16384 at most");
    check(&config(), &[&good[..], &[0; 16]].concat(), "something else");
    let late = [&good[..], &block(9, 0, &[]), &block(8, 0, &[])].concat();
    check(&config(), &late, "went back from 9 to 8");
    let far = [&good[..], &block(9, 0, &[]), &block(u64::MAX, 0, &[])].concat();
    check(&config(), &far, "more than an hour");
}

#[test]
fn a_sender_that_falls_silent_is_given_up_and_one_that_sends_empty_blocks_is_not() {
    let (mut tcp, mut sender, clock) = pair(&config());
    let mut frame = empty();
    let set = |secs: f64| *clock.0.lock().unwrap() = Span::from_secs(secs);
    sender.write_all(&head(2, 1, 1000.0, 1.0, "m/s2", "")).unwrap();
    for secs in [1.0, 2.5, 4.0] {
        set(secs);
        sender.write_all(&block(0, 0, &[])).unwrap();
        assert_eq!(tcp.read(&mut frame).unwrap(), Read::Quiet);
    }
    set(6.5);
    let error = until_told(&mut tcp, &mut frame).unwrap_err();
    assert!(error.to_string().contains("silent for 2 s"), "{error}");
}

#[test]
fn a_port_in_use_says_so() {
    let (tcp, _sender, clock) = pair(&config());
    drop(tcp);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config { address: taken.local_addr().unwrap(), ..config() };
    let error = config.open(clock).err().unwrap();
    assert!(error.to_string().contains("another program has this port"), "{error}");
}

#[test]
fn nonsense_in_the_configuration_is_refused() {
    for config in [
        Config { rate_hz: 0.0, ..config() },
        Config { rate_hz: f64::NAN, ..config() },
        Config { channels: 0, ..config() },
        Config { unit: "furlong".to_owned(), ..config() },
    ] {
        assert!(matches!(config.check(), Err(Error::Refused { .. })), "{config:?}");
    }
}

proptest! {
    /// Whatever comes in, the header parser neither panics nor asks for more than it may.
    #[test]
    fn hostile_headers_are_refused_or_bounded(
        tail in proptest::collection::vec(any::<u8>(), 0..600), honest in any::<bool>(),
    ) {
        let bytes = if honest { [&wire::MAGIC[..], &tail].concat() } else { tail };
        match Head::parse(&bytes) {
            Ok(Parsed::Need(n)) => prop_assert!(n > bytes.len() && n <= 32 + 510),
            Ok(Parsed::Done(head, n)) => {
                prop_assert!(n <= bytes.len() && (1..=64).contains(&head.n_channels));
            }
            Err(why) => prop_assert!(!why.is_empty()),
        }
    }
}
