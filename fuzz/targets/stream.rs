//! Any bytes from a sensor that connects over TCP: the stream is taken to its end, or left.
#![no_main]

use std::cell::RefCell;
use std::io::Write;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;

use auscult::acquire::{Read, Source, TcpConfig, TcpRole};
use auscult::daemon::SystemClock;
use auscult::types::{Frame, Origin};
use libfuzzer_sys::fuzz_target;

/// Connections through one port: a closed one keeps its pair of ports for a minute.
const USES_MAX: u32 = 1000;

thread_local! {
    static DOOR: RefCell<(u32, Option<TcpListener>)> = const { RefCell::new((0, None)) };
}

fuzz_target!(|bytes: &[u8]| {
    DOOR.with_borrow_mut(|(n_uses, door)| {
        let part = *n_uses / USES_MAX;
        if n_uses.is_multiple_of(USES_MAX) {
            let [_, a, b, c] = part.to_be_bytes();
            let address = Ipv4Addr::new(127, a, b, c.max(1));
            *door = Some(TcpListener::bind((address, 0)).expect("a port on loopback"));
        }
        *n_uses += 1;
        drive(door.as_ref().expect("it was just made"), bytes);
    });
});

fn drive(door: &TcpListener, bytes: &[u8]) {
    let address = door.local_addr().expect("it listens");
    let Ok(mut source) = config(address, bytes).open(Arc::new(SystemClock::new())) else { return };
    let (mut sender, _) = door.accept().expect("it has connected");
    sender.write_all(bytes).expect("there is room for it");
    sender.shutdown(Shutdown::Write).expect("it is open");
    let info = source.info().clone();
    let mut frame = Frame::empty(Origin::new("a", "s"), info.rate_hz, info.unit, info.n_channels);
    loop {
        match source.read(&mut frame) {
            Ok(Read::Frame) => assert_eq!(frame.samples.len() % info.n_channels, 0),
            Ok(Read::Quiet) => {}
            Ok(Read::End) => panic!("a sender goes, a stream does not end"),
            Err(_) => return,
        }
    }
}

/// What the stream says of itself, where that can be, so that it gets past its header.
fn config(address: SocketAddr, bytes: &[u8]) -> TcpConfig {
    let said = |at: usize| bytes.get(at..at + 8).and_then(|it| it.try_into().ok());
    let rate_hz = said(16).map_or(0.0, f64::from_le_bytes);
    let channels = said(8).map_or(0, |it: [u8; 8]| u16::from_le_bytes([it[0], it[1]]));
    let config = TcpConfig { role: TcpRole::Connect, address, rate_hz, channels, ..TcpConfig::default() };
    if config.check().is_ok() { config } else { TcpConfig { role: TcpRole::Connect, address, ..TcpConfig::default() } }
}
