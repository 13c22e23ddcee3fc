//! FLAC recordings, decoded by symphonia.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};

use symphonia::core::audio::Channels;
use symphonia::core::audio::sample::Sample as _;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

use super::recording::Meta;

/// An open FLAC file with the samples of the packet it is in.
pub(super) struct Flac {
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    meta: Meta,
    track_id: u32,
    packet: Vec<f32>,
    n_used: usize,
    n_read: u64,
    over: bool,
    /// Set where the file ends, or cannot be decoded, before its time.
    pub(super) cut: Option<String>,
}

impl Flac {
    /// Whether a file that begins like this is for this reader.
    pub(super) fn recognises(head: &[u8]) -> bool {
        head.starts_with(b"fLaC")
    }

    /// Reads the header.
    ///
    /// # Errors
    /// In words, if it is no FLAC that can be read.
    pub(super) fn open(file: File) -> Result<Self, String> {
        guard(|| Self::open_unguarded(file))?
    }

    fn open_unguarded(file: File) -> Result<Self, String> {
        let refuse = |why: Error| format!("is not a FLAC that can be read: {why}");
        let stream = MediaSourceStream::new(Box::new(file), MediaSourceStreamOptions::default());
        let reader = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(refuse)?;
        let track = reader.default_track(TrackType::Audio).ok_or("holds no sound")?;
        let params = track
            .codec_params
            .as_ref()
            .and_then(|params| params.audio())
            .ok_or("does not say how its sound is coded")?;
        let rate_hz = params.sample_rate.filter(|rate| *rate > 0).ok_or("says no rate")?;
        let n_channels = params.channels.as_ref().map_or(0, Channels::count);
        if n_channels == 0 {
            return Err("says it has no channels".into());
        }
        let n_bits = params.bits_per_sample.filter(|bits| (4..=32).contains(bits));
        let meta = Meta {
            rate_hz: f64::from(rate_hz),
            n_channels,
            n_frames: track.num_frames.filter(|n| *n > 0),
            counts_full_scale: n_bits.map(|bits| (1_u64 << (bits - 1)) as f64),
            unit: None,
            start: None,
        };
        let track_id = track.id;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(params, &AudioDecoderOptions::default())
            .map_err(refuse)?;
        let mut flac = Self {
            reader,
            decoder,
            meta,
            track_id,
            packet: Vec::new(),
            n_used: 0,
            n_read: 0,
            over: false,
            cut: None,
        };
        flac.next_packet();
        if flac.is_done() {
            return Err("holds no samples".into());
        }
        Ok(flac)
    }

    /// What the header says.
    pub(super) fn meta(&self) -> Meta {
        self.meta
    }

    /// Whether the last sample has been read.
    pub(super) fn is_done(&self) -> bool {
        self.over && self.n_used == self.packet.len()
    }

    /// Appends up to `n_frames` samples of every channel to `out`; fewer only at the end.
    pub(super) fn read(&mut self, out: &mut Vec<f32>, n_frames: usize) -> Result<(), String> {
        let mut n_left = n_frames * self.meta.n_channels;
        while n_left > 0 && !self.is_done() {
            let n = n_left.min(self.packet.len() - self.n_used);
            out.extend_from_slice(&self.packet[self.n_used..self.n_used + n]);
            self.n_used += n;
            n_left -= n;
            if self.n_used == self.packet.len() {
                guard(|| self.next_packet())?;
            }
        }
        Ok(())
    }

    /// Decodes the next packet that holds samples, or ends.
    fn next_packet(&mut self) {
        self.packet.clear();
        self.n_used = 0;
        while self.packet.is_empty() && !self.over {
            match self.decode() {
                Ok(true) => {}
                Ok(false) => self.end(None),
                Err(why) => self.end(Some(why)),
            }
        }
    }

    /// One packet; false at the end.
    fn decode(&mut self) -> Result<bool, Error> {
        let Some(packet) = self.reader.next_packet()? else { return Ok(false) };
        if packet.track_id != self.track_id {
            return Ok(true);
        }
        let sound = self.decoder.decode(&packet)?;
        if sound.spec().channels().count() != self.meta.n_channels {
            return Err(Error::DecodeError("the number of channels changes"));
        }
        self.packet.resize(sound.samples_interleaved(), f32::MID);
        sound.copy_to_slice_interleaved(&mut self.packet);
        self.n_read += (self.packet.len() / self.meta.n_channels) as u64;
        Ok(true)
    }

    fn end(&mut self, why: Option<Error>) {
        self.over = true;
        let seconds = |n: u64| n as f64 / self.meta.rate_hz;
        let short = self.meta.n_frames.is_some_and(|n| self.n_read < n);
        let read_s = seconds(self.n_read);
        self.cut = match (why, self.meta.n_frames) {
            (Some(Error::IoError(_)) | None, Some(n)) if short => Some(format!(
                "is cut short: its header promises {:.3} s, {read_s:.3} s are there; was the \
                 recorder stopped?",
                seconds(n)
            )),
            (Some(Error::IoError(_)) | None, _) => None,
            (Some(why), _) => Some(format!("cannot be decoded beyond {read_s:.3} s: {why}")),
        };
    }
}

/// A bug in the decoder must not take down what listens to other machines.
fn guard<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "broke the FLAC decoder".to_string())
}
