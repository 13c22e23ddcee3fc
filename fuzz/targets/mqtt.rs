//! Any bytes from a broker, through the packet parser as our connection uses it: it ends, it never holds more
//! than the limit, and what it takes for a packet it can write and read again.
#![no_main]

use bytes::BytesMut;
use rumqttc::mqttbytes::Error;
use rumqttc::mqttbytes::v4::Packet;

/// As in `publish::mqtt`.
const INCOMING_BYTES_MAX: usize = 64 * 1024;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut stream = BytesMut::from(bytes);
    while !stream.is_empty() {
        let before = stream.len();
        match Packet::read(&mut stream, INCOMING_BYTES_MAX) {
            Ok(packet) => {
                assert!(stream.len() < before);
                let mut written = BytesMut::new();
                if packet.write(&mut written, usize::MAX).is_ok() {
                    let again = Packet::read(&mut written, usize::MAX);
                    assert_eq!(again.ok(), Some(packet));
                }
            }
            Err(Error::InsufficientBytes(n)) => {
                assert!(n <= INCOMING_BYTES_MAX + 5);
                return;
            }
            Err(_) => return,
        }
    }
});
