//! Sound cards as the kernel shows them, and which one a stable name means.

use std::fs;
use std::path::Path;

use super::Error;

/// One sound card with a capture side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Card {
    /// Today's number; never an identity.
    pub(super) index: u32,
    /// ALSA id, set by the driver or by a udev rule.
    pub(super) id: String,
    /// Full name: the USB product string where there is one.
    pub(super) name: String,
    /// USB port path such as `1-1.2`.
    pub(super) usb_path: Option<String>,
    /// USB serial number.
    pub(super) serial: Option<String>,
    /// Numbers of its capture devices, ascending.
    pub(super) devices: Vec<u32>,
}

impl Card {
    /// The surest identity it has among `all`: a serial of its own, then its port, then its id.
    pub(super) fn identity(&self, all: &[Self]) -> String {
        let own = all.iter().filter(|card| card.serial == self.serial).count() <= 1;
        match (&self.serial, &self.usb_path) {
            (Some(serial), _) if own => format!("serial:{serial}"),
            (_, Some(path)) => format!("usb:{path}"),
            _ => format!("card:{}", self.id),
        }
    }
}

/// All cards with a capture side under `root` (`/`, or a copy of it), by number.
pub(super) fn cards(root: &Path) -> Vec<Card> {
    let Ok(dir) = fs::read_dir(root.join("sys/class/sound")) else { return Vec::new() };
    let mut cards: Vec<Card> = dir
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("card")?.parse().ok())
        .filter_map(|index| card(root, index))
        .collect();
    cards.sort_by_key(|card| card.index);
    cards
}

fn card(root: &Path, index: u32) -> Option<Card> {
    let sys = root.join(format!("sys/class/sound/card{index}"));
    let id = read(&sys.join("id"))?;
    let mut devices: Vec<u32> = fs::read_dir(root.join(format!("proc/asound/card{index}")))
        .ok()?
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            name.strip_prefix("pcm")?.strip_suffix('c')?.parse().ok()
        })
        .collect();
    if devices.is_empty() {
        return None;
    }
    devices.sort_unstable();
    let interface = fs::canonicalize(sys.join("device")).ok();
    // A USB card hangs on an interface such as `1-1.2:1.0` of the device `1-1.2`.
    let usb = interface.as_deref().and_then(|path| {
        let (port, _) = path.file_name()?.to_str()?.split_once(':')?;
        Some((port.to_owned(), path.parent()?.to_owned()))
    });
    let product = usb.as_ref().and_then(|(_, path)| read(&path.join("product")));
    let serial = usb.as_ref().and_then(|(_, path)| read(&path.join("serial")));
    let name = product.or_else(|| short_name(root, index)).unwrap_or_else(|| id.clone());
    let usb_path = usb.map(|(port, _)| port);
    Some(Card { index, id, name, usb_path, serial, devices })
}

/// The name in ` 1 [Mic            ]: USB-Audio - Some microphone`.
fn short_name(root: &Path, index: u32) -> Option<String> {
    let text = read(&root.join("proc/asound/cards"))?;
    let line = text.lines().find(|line| {
        line.split_once('[').is_some_and(|(number, _)| number.trim() == index.to_string())
    })?;
    Some(line.split_once("]: ")?.1.split_once(" - ")?.1.trim().to_owned())
}

/// A small text file without the white space around it; `None` if it cannot be read or is empty.
pub(super) fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

/// The card and capture device meant by `card:ID`, `usb:PATH` or `serial:NUMBER`, each with an
/// optional `,DEVICE`.
///
/// # Errors
/// Lost if it is not plugged in, refused if the name is ambiguous, a number or of no known kind.
pub(super) fn find(root: &Path, what: &str) -> Result<(Card, u32), Error> {
    let (name, device) = match what.rsplit_once(',') {
        Some((name, device)) => (name, Some(device)),
        None => (what, None),
    };
    let (kind, value) = name.split_once(':').unwrap_or(("", name));
    let matches: fn(&Card, &str) -> bool = match kind {
        "card" if value.parse::<u32>().is_err() => |card, value| card.id == value,
        "usb" => |card, value| card.usb_path.as_deref() == Some(value),
        "serial" => |card, value| card.serial.as_deref() == Some(value),
        _ => {
            let why = "no name that stays: write card:ID, usb:PORT or serial:NUMBER as `auscult devices` lists \
                       them; numbers change when another card is plugged in";
            return Err(Error::refused(what, why));
        }
    };
    let mut all = cards(root);
    let known = all.iter().map(|card| card.identity(&all)).collect::<Vec<_>>().join(", ");
    all.retain(|card| matches(card, value));
    if all.len() > 1 {
        let why = format!("{} sound cards answer to it; bind by usb:PORT instead", all.len());
        return Err(Error::refused(what, why));
    }
    let Some(card) = all.pop() else {
        let known = if known.is_empty() { "none".to_owned() } else { known };
        return Err(Error::lost(what, format!("not plugged in; sound cards there are: {known}")));
    };
    let device = match device.map(str::parse) {
        None => card.devices[0],
        Some(Ok(device)) if card.devices.contains(&device) => device,
        Some(_) => {
            let why = format!("the card has the capture devices {:?}", card.devices);
            return Err(Error::refused(what, why));
        }
    };
    Ok((card, device))
}

/// What the hardware was really set to: rate in Hz and channels; `None` if the kernel does not say.
pub(super) fn granted(root: &Path, card: &Card, device: u32) -> Option<(f64, usize)> {
    let path = format!("proc/asound/card{}/pcm{device}c/sub0/hw_params", card.index);
    let text = read(&root.join(path))?;
    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        line.split_whitespace().next()?.parse::<f64>().ok()
    };
    Some((value("rate:")?, value("channels:")? as usize))
}

/// Sensitivity of each channel of a Digiducer 333D01 out of its device name, as m/s2 per full scale.
///
/// The name is model (6 characters), space, format digit, serial (6), two sensitivities of five
/// digits in counts per m/s2 at 24 bits, date. `None` if the name is not of that kind.
///
/// # Source
/// The Modal Shop, Digiducer 333D01 interface guide: format 1 (acceleration).
pub(super) fn digiducer(name: &str) -> Option<[f64; 2]> {
    let code = name.strip_prefix("333D")?.get(2..)?.strip_prefix(" 1")?;
    if code.len() < 16 || !code.is_ascii() {
        return None;
    }
    let per_full_scale = |digits: &str| {
        let counts: f64 = digits.parse::<u32>().ok()?.into();
        (counts > 0.0).then_some(8_388_608.0 / counts)
    };
    Some([per_full_scale(&code[6..11])?, per_full_scale(&code[11..16])?])
}

#[cfg(test)]
mod tests;
