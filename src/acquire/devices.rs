//! The inputs this box can see, each by the name that stays.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{HostId, SupportedStreamConfigRange};

use super::cards::{self, Card};
use super::iio;

/// An input found on this box.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// What to write in the configuration as `device`.
    pub identity: String,
    /// The source's `type` in the configuration: `sound` or `iio`.
    pub kind: &'static str,
    /// What its maker calls it.
    pub name: String,
    /// What it can do, or why that cannot be told now.
    pub offer: Result<Offer, String>,
}

/// What a device can do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// Rates in samples per second and channel, each as lowest and highest of a range.
    pub rates_hz: Vec<(f64, f64)>,
    /// How many channels at least and at most.
    pub n_channels: (usize, usize),
    /// Names of its channels, where they have names.
    pub channels: Vec<String>,
    /// Sample formats: `i16`, `i24`, `f32`; IIO storage types such as `le:s16/16>>0`.
    pub formats: Vec<String>,
}

/// In one line: `8000, 48000 Hz; 1-2 channels; f32, i16`.
impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.formats.is_empty() {
            return f.write_str("nothing we can read");
        }
        let span = |(low, high): (f64, f64)| {
            if low == high { low.to_string() } else { format!("{low}-{high}") }
        };
        let rates: Vec<String> = self.rates_hz.iter().copied().map(span).collect();
        if rates.is_empty() {
            f.write_str("the driver's own rate")?;
        } else {
            write!(f, "{} Hz", rates.join(", "))?;
        }
        write!(f, "; {} channels", span((self.n_channels.0 as f64, self.n_channels.1 as f64)))?;
        if !self.channels.is_empty() {
            write!(f, " ({})", self.channels.join(", "))?;
        }
        write!(f, "; {}", self.formats.join(", "))
    }
}

impl Offer {
    /// All configurations of one sound card together.
    pub(super) fn of(configs: &[SupportedStreamConfigRange]) -> Self {
        let rates: BTreeSet<(u32, u32)> =
            configs.iter().map(|c| (c.min_sample_rate(), c.max_sample_rate())).collect();
        let channels = || configs.iter().map(|c| usize::from(c.channels()));
        let formats: BTreeSet<String> =
            configs.iter().map(|c| c.sample_format().to_string()).collect();
        Self {
            rates_hz: rates.into_iter().map(|(low, high)| (low.into(), high.into())).collect(),
            n_channels: (channels().min().unwrap_or(0), channels().max().unwrap_or(0)),
            channels: Vec::new(),
            formats: formats.into_iter().collect(),
        }
    }
}

/// All inputs: sound cards, PCMs of the ALSA configuration, IIO accelerometers.
///
/// Opens every sound card for a moment; one in use says so in `offer`.
pub fn devices() -> Vec<Device> {
    let root = Path::new("/");
    let mut found = Vec::new();
    if let Ok(host) = cpal::host_from_id(HostId::Alsa) {
        let pcms: Vec<cpal::Device> = host.devices().map(Iterator::collect).unwrap_or_default();
        let all = cards::cards(root);
        found.extend(all.iter().flat_map(|card| of_card(card, &all, &pcms)));
        found.extend(pcms.iter().filter_map(of_pcm));
    }
    found.extend(iio::all(root).iter().map(of_iio));
    found
}

fn of_iio(device: &iio::Found) -> Device {
    let rates = ["sampling_frequency_available", "in_accel_sampling_frequency_available"];
    let rates = rates.iter().find_map(|name| device.attr(name)).unwrap_or_default();
    let rates = rates.split_whitespace().filter_map(|rate| rate.parse::<f64>().ok());
    let channels = device.channels();
    let kinds = channels.iter().filter_map(|c| device.attr(&format!("scan_elements/in_{c}_type")));
    let formats: BTreeSet<String> = kinds.collect();
    let offer = Offer {
        rates_hz: rates.map(|rate| (rate, rate)).collect(),
        n_channels: (1, channels.len()),
        channels,
        formats: formats.into_iter().collect(),
    };
    let (identity, name) = (device.identity(), device.name.clone());
    Device { identity, kind: "iio", name, offer: Ok(offer) }
}

fn of_card(card: &Card, all: &[Card], pcms: &[cpal::Device]) -> Vec<Device> {
    let one = |number: &u32| {
        let names = ["hw", "plughw"].map(|plugin| {
            [
                format!("{plugin}:CARD={},DEV={number}", card.id),
                format!("{plugin}:CARD={},DEV={number}", card.index),
            ]
        });
        let pcm = names
            .iter()
            .flatten()
            .find_map(|name| pcms.iter().find(|p| id(p) == Some(name.clone())));
        let identity = match number {
            0 => card.identity(all),
            number => format!("{},{number}", card.identity(all)),
        };
        let offer = pcm.map_or_else(|| Err("not listed by ALSA".to_owned()), offer);
        Device { identity, kind: "sound", name: card.name.clone(), offer }
    };
    card.devices.iter().map(one).collect()
}

/// PCMs that are no card's own: those are listed by their card.
fn of_pcm(pcm: &cpal::Device) -> Option<Device> {
    let name = id(pcm)?;
    if name.contains("CARD=") || !pcm.supports_input() {
        return None;
    }
    let offer = offer(pcm);
    Some(Device { identity: format!("pcm:{name}"), kind: "sound", name: pcm.to_string(), offer })
}

fn id(pcm: &cpal::Device) -> Option<String> {
    pcm.id().ok().map(|id| id.id().to_owned())
}

fn offer(pcm: &cpal::Device) -> Result<Offer, String> {
    match pcm.supported_input_configs() {
        Ok(configs) => Ok(Offer::of(&configs.collect::<Vec<_>>())),
        Err(error) => Err(error.to_string()),
    }
}
