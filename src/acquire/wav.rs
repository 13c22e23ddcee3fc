//! WAV recordings: RIFF, RF64 and BW64, integer and float, as plain or extensible formats.
//!
//! Sizes in a header are claims: nothing is allocated for them, and the file's own length wins.
//!
//! # Source
//! Microsoft, Multimedia Programming Interface 1.0 (1991); ITU-R BS.2088-1 (2019) for RF64/BW64.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};

use super::recording::Meta;

/// Chunks looked at before the samples, at the most.
const CHUNKS_MAX: usize = 1024;
/// Channels, at the most.
const CHANNELS_MAX: u16 = 64;
/// Samples per second and channel, at the most.
const RATE_MAX: u32 = 10_000_000;
/// The part of a `WAVE_FORMAT_EXTENSIBLE` GUID after its format tag.
const GUID_TAIL: [u8; 14] = [0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
/// A size that says the real one is elsewhere, or unknown.
const SIZE_UNKNOWN: u32 = u32::MAX;

/// How one sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    U8,
    I16,
    I24,
    I32,
    F32,
    F64,
}

impl Coding {
    fn n_bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I16 => 2,
            Self::I24 => 3,
            Self::I32 | Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// Integers become fractions of full scale by 2^(bits-1); floats are taken as written.
    fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        match self {
            Self::U8 => out.extend(bytes.iter().map(|b| (f32::from(*b) - 128.0) / 128.0)),
            Self::I16 => out.extend(
                bytes
                    .as_chunks::<2>()
                    .0
                    .iter()
                    .map(|b| f32::from(i16::from_le_bytes(*b)) / 32_768.0),
            ),
            Self::I24 => {
                out.extend(
                    bytes.as_chunks::<3>().0.iter().map(|[a, b, c]| {
                        i32::from_le_bytes([0, *a, *b, *c]) as f32 / 2_147_483_648.0
                    }),
                );
            }
            Self::I32 => out.extend(
                bytes
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|b| i32::from_le_bytes(*b) as f32 / 2_147_483_648.0),
            ),
            Self::F32 => {
                out.extend(bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
            }
            Self::F64 => {
                out.extend(bytes.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32));
            }
        }
    }
}

/// What the `fmt ` chunk says.
#[derive(Clone, Copy, Debug)]
struct Format {
    coding: Coding,
    n_channels: usize,
    rate_hz: u32,
    /// Bytes of one sample of every channel.
    n_frame_bytes: usize,
}

/// An open WAV file, standing at its next sample.
#[derive(Debug)]
pub(super) struct Wav {
    file: BufReader<File>,
    format: Format,
    /// Samples per channel that are really there.
    n_frames: u64,
    next_frame: u64,
    /// Set where the header promises more than the file holds.
    pub(super) cut: Option<String>,
    bytes: Vec<u8>,
}

impl Wav {
    /// Whether a file that begins like this is for this reader.
    pub(super) fn recognises(head: &[u8]) -> bool {
        head.len() >= 4 && matches!(&head[..4], b"RIFF" | b"RF64" | b"BW64" | b"RIFX")
    }

    /// Reads the header.
    ///
    /// # Errors
    /// In words, if the file is not a WAV that can be read.
    pub(super) fn open(file: File) -> Result<Self, String> {
        let n_file = file.metadata().map_err(|why| format!("cannot be read: {why}"))?.len();
        let mut file = BufReader::new(file);
        let header = walk(&mut file, n_file)?;
        let Header { format, data_from, data_claim } = header;
        let there = n_file.saturating_sub(data_from);
        let n_frame_bytes = format.n_frame_bytes as u64;
        let n_bytes = data_claim.map_or(there, |claim| claim.min(there));
        let n_frames = n_bytes / n_frame_bytes;
        let cut = data_claim.filter(|claim| *claim > there).map(|claim| {
            let seconds = |bytes: u64| (bytes / n_frame_bytes) as f64 / f64::from(format.rate_hz);
            format!(
                "is cut short: its header promises {:.3} s, {:.3} s are there; was the recorder \
                 stopped?",
                seconds(claim),
                seconds(there)
            )
        });
        if n_frames == 0 {
            return Err("holds no samples; was the recorder stopped at once?".into());
        }
        Ok(Self { file, format, n_frames, next_frame: 0, cut, bytes: Vec::new() })
    }

    /// What the header says.
    pub(super) fn meta(&self) -> Meta {
        let counts_full_scale = match self.format.coding {
            Coding::U8 => Some(128.0),
            Coding::I16 => Some(32_768.0),
            Coding::I24 => Some(8_388_608.0),
            Coding::I32 => Some(2_147_483_648.0),
            Coding::F32 | Coding::F64 => None,
        };
        Meta {
            rate_hz: f64::from(self.format.rate_hz),
            n_channels: self.format.n_channels,
            n_frames: Some(self.n_frames),
            counts_full_scale,
            unit: None,
            start: None,
        }
    }

    /// Appends up to `n_frames` samples of every channel to `out`; fewer only at the end.
    pub(super) fn read(&mut self, out: &mut Vec<f32>, n_frames: usize) -> Result<(), String> {
        let n = (self.n_frames - self.next_frame).min(n_frames as u64) as usize;
        self.bytes.resize(n * self.format.n_frame_bytes, 0);
        self.file
            .read_exact(&mut self.bytes)
            .map_err(|why| format!("cannot be read at sample {}: {why}", self.next_frame))?;
        self.format.coding.decode(&self.bytes, out);
        self.next_frame += n as u64;
        Ok(())
    }

    /// Whether the last sample has been read.
    pub(super) fn is_done(&self) -> bool {
        self.next_frame == self.n_frames
    }

    /// Moves on by `n_frames`, or to the end if there are fewer.
    pub(super) fn skip(&mut self, n_frames: u64) -> Result<(), String> {
        let n = (self.n_frames - self.next_frame).min(n_frames);
        self.next_frame += n;
        seek(&mut self.file, n.saturating_mul(self.format.n_frame_bytes as u64))
    }
}

/// What the chunks before the samples say.
struct Header {
    format: Format,
    /// Byte at which the samples begin.
    data_from: u64,
    /// Bytes of samples as promised; `None` where the recorder did not know.
    data_claim: Option<u64>,
}

fn walk(file: &mut BufReader<File>, n_file: u64) -> Result<Header, String> {
    let mut riff = [0; 12];
    fill(file, &mut riff)?;
    if &riff[..4] == b"RIFX" {
        return Err("is a big-endian WAV (RIFX), which is not read; convert it to RIFF".into());
    }
    if &riff[8..] != b"WAVE" {
        return Err("is a RIFF file but not a WAV".into());
    }
    let mut at = 12;
    let mut format = None;
    let mut long_size = None;
    for _ in 0..CHUNKS_MAX {
        let mut head = [0; 8];
        fill(file, &mut head)?;
        at += 8;
        let size = u32_at(&head, 4);
        match &head[..4] {
            b"data" => {
                let format = format.ok_or("has its samples before their format")?;
                let data_claim = match size {
                    SIZE_UNKNOWN => long_size,
                    0 => None,
                    size => Some(u64::from(size)),
                };
                return Ok(Header { format, data_from: at, data_claim });
            }
            b"fmt " => {
                let mut body = [0; 40];
                let n = (size as usize).min(body.len());
                fill(file, &mut body[..n])?;
                format = Some(parse_format(&body[..n])?);
                at += pass(file, size, n as u64)?;
            }
            b"ds64" => {
                let mut body = [0; 16];
                let n = (size as usize).min(body.len());
                fill(file, &mut body[..n])?;
                long_size = (n == 16).then(|| u64_at(&body, 8)).filter(|n| *n > 0);
                at += pass(file, size, n as u64)?;
            }
            _ => at += pass(file, size, 0)?,
        }
        if at > n_file {
            break;
        }
    }
    Err("ends inside its header: no samples found; copy the file again".into())
}

/// Moves past what is left of a chunk of `size` bytes, `n_read` of them read, and its pad byte;
/// the size of the whole.
fn pass(file: &mut BufReader<File>, size: u32, n_read: u64) -> Result<u64, String> {
    let whole = u64::from(size) + u64::from(size & 1);
    seek(file, whole - n_read)?;
    Ok(whole)
}

fn seek(file: &mut BufReader<File>, n_bytes: u64) -> Result<(), String> {
    let by = i64::try_from(n_bytes).map_err(|_| "has a chunk of absurd size".to_string())?;
    file.seek(SeekFrom::Current(by)).map(|_| ()).map_err(|why| format!("cannot be read: {why}"))
}

fn fill(file: &mut BufReader<File>, bytes: &mut [u8]) -> Result<(), String> {
    file.read_exact(bytes).map_err(|why| match why.kind() {
        io::ErrorKind::UnexpectedEof => {
            "ends inside its header: no samples found; copy the file again".into()
        }
        _ => format!("cannot be read: {why}"),
    })
}

fn parse_format(body: &[u8]) -> Result<Format, String> {
    if body.len() < 16 {
        return Err(format!("has a format chunk of {} bytes; 16 are the least", body.len()));
    }
    let n_channels = u16_at(body, 2);
    let rate_hz = u32_at(body, 4);
    let n_frame_bytes = u16_at(body, 12);
    let n_bits = u16_at(body, 14);
    let tag = match u16_at(body, 0) {
        0xfffe if body.len() >= 40 && body[26..] == GUID_TAIL => u16_at(body, 24),
        0xfffe => return Err("has an extensible format of a kind that is not read".into()),
        tag => tag,
    };
    if n_channels == 0 || n_channels > CHANNELS_MAX {
        return Err(format!("says it has {n_channels} channels; 1 to {CHANNELS_MAX} are read"));
    }
    if rate_hz == 0 || rate_hz > RATE_MAX {
        return Err(format!("says its rate is {rate_hz} Hz; 1 to {RATE_MAX} are read"));
    }
    let n_bytes = n_frame_bytes / n_channels;
    let whole = n_frame_bytes.is_multiple_of(n_channels)
        && (1..=u32::from(n_bytes) * 8).contains(&n_bits.into());
    let coding = match (tag, n_bytes) {
        (1, 1) => Coding::U8,
        (1, 2) => Coding::I16,
        (1, 3) => Coding::I24,
        (1, 4) => Coding::I32,
        (3, 4) if n_bits == 32 => Coding::F32,
        (3, 8) if n_bits == 64 => Coding::F64,
        (1 | 3, _) => return Err(unread(tag, n_bits, n_channels, n_frame_bytes)),
        (tag, _) => {
            return Err(format!(
                "holds compressed sound (format tag {tag:#06x}); save it as PCM or float"
            ));
        }
    };
    if !whole {
        return Err(unread(tag, n_bits, n_channels, n_frame_bytes));
    }
    let n_frame_bytes = coding.n_bytes() * usize::from(n_channels);
    Ok(Format { coding, n_channels: usize::from(n_channels), rate_hz, n_frame_bytes })
}

fn unread(tag: u16, n_bits: u16, n_channels: u16, n_frame_bytes: u16) -> String {
    let kind = if tag == 3 { "float" } else { "integer" };
    format!(
        "says {n_bits}-bit {kind} samples, {n_channels} channels in {n_frame_bytes} bytes, which \
         cannot be; PCM of 8, 16, 24 or 32 bits and float of 32 or 64 are read"
    )
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}
