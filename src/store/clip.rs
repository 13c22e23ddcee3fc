//! Recordings kept with an alarm: float WAV files of calibrated samples, the oldest aged out.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::replace::replace_with;
use super::{Config, Error, make_dir};

/// A stretch of calibrated samples.
#[derive(Clone, Copy, Debug)]
pub struct Clip<'a> {
    /// Samples per second and channel.
    pub rate_hz: u32,
    /// Channels, at least 1.
    pub n_channels: u16,
    /// `[n_samples, n_channels]`, interleaved, in their physical unit.
    pub samples: &'a [f32],
}

/// The recordings kept.
#[derive(Debug)]
pub struct Clips {
    dir: PathBuf,
    bytes_max: u64,
}

impl Clips {
    /// In `clip/` under the folder of the store.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let dir = config.dir.join("clip");
        make_dir(&dir)?;
        Ok(Self { dir, bytes_max: config.clip_bytes_max })
    }

    /// Keeps a recording as `ID.wav`; the oldest give way to it. Gives the file.
    ///
    /// # Errors
    /// If the disk refuses, or the recording alone is over the limit.
    ///
    /// # Panics
    /// If `id` is not of `[a-z0-9-]`: a bug in the caller.
    pub fn save(&self, id: &str, clip: Clip<'_>) -> Result<PathBuf, Error> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        assert!(!id.is_empty() && id.bytes().all(plain), "a clip's id is of [a-z0-9-]");
        let path = self.dir.join(format!("{id}.wav"));
        let bytes = HEADER_BYTES + 4 * clip.samples.len() as u64;
        if bytes > self.bytes_max || bytes > u64::from(u32::MAX) {
            let why = format!("{bytes} bytes are more than store.clip_bytes_max");
            return Err(Error::Io { path, why });
        }
        self.age_out(self.bytes_max - bytes)?;
        replace_with(&path, |file| {
            file.write_all(&header(clip))?;
            let mut buffer = Vec::with_capacity(4 << 14);
            for piece in clip.samples.chunks(1 << 14) {
                buffer.clear();
                for sample in piece {
                    buffer.extend_from_slice(&sample.to_le_bytes());
                }
                file.write_all(&buffer)?;
            }
            Ok(())
        })?;
        Ok(path)
    }

    /// Where a recording is, if it is still kept.
    pub fn find(&self, id: &str) -> Option<PathBuf> {
        let path = self.dir.join(format!("{id}.wav"));
        (!id.contains(['/', '.']) && path.exists()).then_some(path)
    }

    fn age_out(&self, bytes_max: u64) -> Result<(), Error> {
        let fail = |error| Error::io(&self.dir, &error);
        let mut kept: Vec<(SystemTime, PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let meta = entry.metadata().map_err(fail)?;
            kept.push((meta.modified().map_err(fail)?, entry.path(), meta.len()));
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, _, bytes)| bytes).sum();
        for (_, path, bytes) in kept {
            if total <= bytes_max {
                break;
            }
            remove(&path)?;
            total -= bytes;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    fs::remove_file(path).map_err(|error| Error::io(path, &error))
}

/// RIFF, `fmt ` of 18 bytes, `fact`, `data`.
const HEADER_BYTES: u64 = 58;

/// Header of a 32-bit float WAV.
///
/// # Source
/// Microsoft, Multiple Channel Audio Data and WAVE Files: format tag 3 has a `fact` chunk.
fn header(clip: Clip<'_>) -> Vec<u8> {
    let data_bytes = 4 * clip.samples.len() as u32;
    let frame_bytes = 4 * clip.n_channels;
    let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(HEADER_BYTES as u32 - 8 + data_bytes).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt ");
    bytes.extend_from_slice(&18u32.to_le_bytes());
    bytes.extend_from_slice(&3u16.to_le_bytes());
    bytes.extend_from_slice(&clip.n_channels.to_le_bytes());
    bytes.extend_from_slice(&clip.rate_hz.to_le_bytes());
    bytes.extend_from_slice(&(clip.rate_hz * u32::from(frame_bytes)).to_le_bytes());
    bytes.extend_from_slice(&frame_bytes.to_le_bytes());
    bytes.extend_from_slice(&[32, 0, 0, 0]);
    bytes.extend_from_slice(b"fact");
    bytes.extend_from_slice(&4u32.to_le_bytes());
    let n_samples = clip.samples.len() / usize::from(clip.n_channels);
    bytes.extend_from_slice(&(n_samples as u32).to_le_bytes());
    bytes.extend_from_slice(b"data");
    bytes.extend_from_slice(&data_bytes.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_a_float_wav() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { dir: dir.path().into(), ..Config::default() };
        let clips = Clips::open(&config).unwrap();
        let clip = Clip { rate_hz: 48_000, n_channels: 2, samples: &[0.5, -0.5, 9.81, 0.0] };
        let bytes = fs::read(clips.save("fan-1", clip).unwrap()).unwrap();
        assert_eq!(bytes.len(), 58 + 16);
        let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!(u32_at(4) as usize, bytes.len() - 8, "RIFF size");
        assert_eq!((u32_at(24), u32_at(28)), (48_000, 384_000), "rate, bytes per second");
        assert_eq!((&bytes[50..54], u32_at(54)), (&b"data"[..], 16));
        assert_eq!(f32::from_le_bytes(bytes[66..70].try_into().unwrap()), 9.81);
        assert!(clips.find("fan-1").is_some() && clips.find("../fan-1").is_none());
    }

    #[test]
    fn the_oldest_give_way() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config { dir: dir.path().into(), clip_bytes_max: 1000, ..Config::default() };
        let clips = Clips::open(&config).unwrap();
        let samples = [0.0; 100];
        for id in ["a", "b", "c"] {
            let path =
                clips.save(id, Clip { rate_hz: 1, n_channels: 1, samples: &samples }).unwrap();
            let age = SystemTime::UNIX_EPOCH
                + std::time::Duration::from_secs(u64::from(id.as_bytes()[0]));
            fs::File::options().write(true).open(path).unwrap().set_modified(age).unwrap();
        }
        assert!(
            clips.find("a").is_none() && clips.find("b").is_some() && clips.find("c").is_some()
        );
        let huge = vec![0.0; 1000];
        assert!(clips.save("d", Clip { rate_hz: 1, n_channels: 1, samples: &huge }).is_err());
    }
}
