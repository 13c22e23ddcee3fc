//! Ids that follow from what happened: the same decision gets the same id, however often it is made.

use std::fmt;
use std::str::FromStr;

use crate::types::Alert;

/// Names one life of a store: random when the store is made or rebuilt, so that ids never repeat.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(pub [u8; 16]);

/// Id of one event or of one alert's whole life: 16 bytes, written as 32 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub [u8; 16]);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for EventId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const RULE: &str = "an id is 32 hexadecimal digits";
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(RULE);
        }
        let mut id = [0; 16];
        for (byte, at) in id.iter_mut().zip((0..32).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| RULE)?;
        }
        Ok(Self(id))
    }
}

/// Id of one event: BLAKE3 of gateway, epoch, asset, episode and transition, first 16 bytes.
/// Episodes are counted per asset.
///
/// Every text is preceded by its length, so that no two different inputs read the same.
pub fn event_id(gateway: &str, epoch: Epoch, alert: &Alert) -> EventId {
    let mut hasher = life(gateway, epoch, alert);
    hasher.update(&alert.transition.to_le_bytes());
    first_16(&hasher)
}

/// Id of one alert's whole life: as [`event_id`] without the transition.
pub fn alert_id(gateway: &str, epoch: Epoch, alert: &Alert) -> EventId {
    first_16(&life(gateway, epoch, alert))
}

fn life(gateway: &str, epoch: Epoch, alert: &Alert) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    // Not the kind of trouble: what leads may change within one life.
    let texts = [gateway, &*alert.origin.asset];
    for text in texts {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(&epoch.0);
    hasher.update(&alert.episode.to_le_bytes());
    hasher
}

fn first_16(hasher: &blake3::Hasher) -> EventId {
    let mut id = [0; 16];
    id.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    EventId(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = EventId([0x0f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]);
        assert_eq!(id.to_string(), "0f0102030405060708090a0b0c0d0eff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("0f".parse::<EventId>().is_err());
        assert!("zz0102030405060708090a0b0c0d0eff".parse::<EventId>().is_err());
    }
}
