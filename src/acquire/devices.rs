//! The inputs this box can see, each by the name that stays.

use std::collections::BTreeSet;
use std::path::Path;

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{HostId, SampleFormat, SupportedStreamConfigRange};

use super::cards::{self, Card};
use super::iio;

/// An input found on this box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// What to write in the configuration as `device`.
    pub identity: String,
    /// The source's `type` in the configuration: `sound` or `iio`.
    pub kind: &'static str,
    /// What its maker calls it.
    pub name: String,
    /// Rates, channels and formats it offers, or why that is not known, for a person.
    pub offer: String,
}

/// All inputs: sound cards, PCMs of the ALSA configuration, IIO accelerometers.
///
/// Opens every sound card for a moment; one in use says so in `offer`.
pub fn devices() -> Vec<Device> {
    let root = Path::new("/");
    let mut found = Vec::new();
    if let Ok(host) = cpal::host_from_id(HostId::Alsa) {
        let pcms: Vec<cpal::Device> = host.devices().map(Iterator::collect).unwrap_or_default();
        found.extend(cards::cards(root).iter().flat_map(|card| of_card(card, &pcms)));
        found.extend(pcms.iter().filter_map(of_pcm));
    }
    found.extend(iio::all(root).iter().map(of_iio));
    found
}

fn of_iio(device: &iio::Found) -> Device {
    let rates = ["sampling_frequency_available", "in_accel_sampling_frequency_available"];
    let rates = rates.iter().find_map(|name| device.attr(name));
    let rates = rates.unwrap_or_else(|| "the driver's rate".to_owned());
    let offer = format!("{rates} Hz; channels {}", device.channels().join(", "));
    Device { identity: device.identity(), kind: "iio", name: device.name.clone(), offer }
}

fn of_card(card: &Card, pcms: &[cpal::Device]) -> Vec<Device> {
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
            0 => card.identity(),
            number => format!("{},{number}", card.identity()),
        };
        let offer = pcm.map_or_else(|| "not listed by ALSA".to_owned(), of_configs);
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
    let offer = of_configs(pcm);
    Some(Device { identity: format!("pcm:{name}"), kind: "sound", name: pcm.to_string(), offer })
}

fn id(pcm: &cpal::Device) -> Option<String> {
    pcm.id().ok().map(|id| id.id().to_owned())
}

fn of_configs(pcm: &cpal::Device) -> String {
    match pcm.supported_input_configs() {
        Ok(configs) => offer(&configs.collect::<Vec<_>>()),
        Err(error) => error.to_string(),
    }
}

/// What a device offers, in one line: `8000, 48000 Hz; 1-2 channels; i16, f32`.
pub(super) fn offer(configs: &[SupportedStreamConfigRange]) -> String {
    if configs.is_empty() {
        return "nothing we can read".to_owned();
    }
    let span = |low: u32, high: u32| match low == high {
        true => low.to_string(),
        false => format!("{low}-{high}"),
    };
    let rates: BTreeSet<(u32, u32)> =
        configs.iter().map(|c| (c.min_sample_rate(), c.max_sample_rate())).collect();
    let rates: Vec<String> = rates.into_iter().map(|(low, high)| span(low, high)).collect();
    let channels = || configs.iter().map(|c| u32::from(c.channels()));
    let channels = span(channels().min().unwrap_or(0), channels().max().unwrap_or(0));
    let formats: BTreeSet<String> =
        configs.iter().map(|c| c.sample_format()).map(|f: SampleFormat| f.to_string()).collect();
    let formats: Vec<String> = formats.into_iter().collect();
    format!("{} Hz; {channels} channels; {}", rates.join(", "), formats.join(", "))
}
