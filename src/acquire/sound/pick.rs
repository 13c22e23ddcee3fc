//! Which device a configuration means, and in which format it is asked.

use std::path::Path;

use cpal::traits::{DeviceTrait, HostTrait};
use cpal::{DeviceId, ErrorKind, HostId, SampleFormat, SupportedBufferSize};

use super::{Config, Error, Format, cards, devices};

/// What was found.
pub(super) struct Picked {
    pub(super) device: cpal::Device,
    pub(super) format: SampleFormat,
    /// The card behind it, and the number of its capture device.
    pub(super) card: Option<(cards::Card, u32)>,
}

impl Config {
    /// The device, the format it is asked for, and the card behind it if it is one.
    pub(super) fn pick(&self, host: &cpal::Host, root: &Path) -> Result<Picked, Error> {
        let what = self.device.as_str();
        if let Some(name) = what.strip_prefix("pcm:") {
            let device = pcm(host, name).ok_or_else(|| {
                let why = "no such PCM in the ALSA configuration, or it has no hint";
                Error::lost(what, why)
            })?;
            let format = self.choose(&device)?;
            return Ok(Picked { device, format, card: None });
        }
        let (card, number) = cards::find(root, what)?;
        // `plughw` only unpacks three-byte samples here: rate and channels are checked afterwards.
        let mut answer = Err(Error::lost(what, "ALSA does not list it yet"));
        for plugin in ["hw", "plughw"] {
            let by_id = pcm(host, &format!("{plugin}:CARD={},DEV={number}", card.id));
            let device =
                by_id.or_else(|| pcm(host, &format!("{plugin}:CARD={},DEV={number}", card.index)));
            let Some(device) = device else { continue };
            match self.choose(&device) {
                Ok(format) => return Ok(Picked { device, format, card: Some((card, number)) }),
                Err(error) => answer = Err(error),
            }
        }
        answer
    }

    /// The finest format the device offers at the rate and channels wanted.
    fn choose(&self, device: &cpal::Device) -> Result<SampleFormat, Error> {
        let wanted: &[SampleFormat] = match self.format {
            Format::Auto => {
                &[SampleFormat::I32, SampleFormat::I24, SampleFormat::F32, SampleFormat::I16]
            }
            Format::I16 => &[SampleFormat::I16],
            Format::I24 => &[SampleFormat::I24],
            Format::I32 => &[SampleFormat::I32],
            Format::F32 => &[SampleFormat::F32],
        };
        let configs = device.supported_input_configs().map_err(|e| failure(&self.device, &e))?;
        let configs: Vec<_> = configs.collect();
        let offered = |format: &&SampleFormat| {
            configs.iter().any(|config| {
                config.sample_format() == **format
                    && config.channels() == self.channels
                    && config.contains_rate(self.rate_hz)
            })
        };
        wanted.iter().find(offered).copied().ok_or_else(|| {
            let why = format!(
                "cannot do {} Hz, {} channels, format {:?}; it offers {}",
                self.rate_hz,
                self.channels,
                self.format,
                devices::Offer::of(&configs)
            );
            Error::refused(&self.device, why)
        })
    }

    /// Samples per driver block: as configured, within what the device can do.
    pub(super) fn period_samples(&self, device: &cpal::Device, format: SampleFormat) -> u32 {
        let asked = ((self.period_ms * 1e-3 * f64::from(self.rate_hz)).round() as u32).max(1);
        let range = device.supported_input_configs().ok().and_then(|mut configs| {
            configs.find(|config| {
                config.sample_format() == format
                    && config.channels() == self.channels
                    && config.contains_rate(self.rate_hz)
            })
        });
        match range.map(|config| *config.buffer_size()) {
            Some(SupportedBufferSize::Range { min, max }) if min <= max => asked.clamp(min, max),
            _ => asked,
        }
    }
}

fn pcm(host: &cpal::Host, name: &str) -> Option<cpal::Device> {
    if name == "default" {
        return host.default_input_device();
    }
    host.device_by_id(&DeviceId::new(HostId::Alsa, name))
}

/// Whether the hardware runs as asked; what the kernel does not tell counts as right.
pub(super) fn check_granted(
    what: &str,
    granted: Option<(f64, usize)>,
    rate_hz: f64,
    n_channels: usize,
) -> Result<(), Error> {
    match granted {
        Some(granted) if granted != (rate_hz, n_channels) => {
            let why = format!(
                "the hardware runs at {} Hz with {} channels, not {rate_hz} Hz with {n_channels}; \
                 set rate_hz and channels to what it has",
                granted.0, granted.1
            );
            Err(Error::refused(what, why))
        }
        _ => Ok(()),
    }
}

/// What cpal says, by what the caller can do about it.
pub(super) fn failure(what: &str, error: &cpal::Error) -> Error {
    match error.kind() {
        ErrorKind::UnsupportedConfig
        | ErrorKind::UnsupportedOperation
        | ErrorKind::InvalidInput => Error::refused(what, error.to_string()),
        ErrorKind::PermissionDenied => Error::lost(
            what,
            "permission denied; add the user auscult runs as to the group `audio`",
        ),
        _ => Error::lost(what, error.to_string()),
    }
}
