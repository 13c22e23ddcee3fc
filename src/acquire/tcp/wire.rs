//! The bytes of a TCP stream: one header, then numbered blocks; little-endian throughout.

/// Opens every stream; the last byte is the version.
pub(super) const MAGIC: [u8; 8] = *b"AUSCULT\x01";
/// Opens every block.
pub(super) const BLOCK_MAGIC: [u8; 4] = *b"BLCK";
/// Bytes of the header before its strings.
pub(super) const HEAD_BYTES: usize = 32;
/// Bytes of a block before its samples.
pub(super) const BLOCK_BYTES: usize = 16;
/// The most channels.
pub(super) const CHANNELS_MAX: u16 = 64;
/// The highest rate, samples per second and channel.
pub(super) const RATE_MAX_HZ: f64 = 1e6;
/// The most samples per channel in one block.
pub(super) const BLOCK_SAMPLES_MAX: u32 = 16_384;
/// The longest gap that counts as a gap of the same stream, seconds.
pub(super) const GAP_MAX_SECS: f64 = 3600.0;

/// How one sample is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    I16,
    I24,
    I32,
    F32,
}

impl Format {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::I16 => 2,
            Self::I24 => 3,
            Self::I32 | Self::F32 => 4,
        }
    }

    /// Integers as they are, in counts; floats as they are.
    pub(super) fn decode(self, bytes: &[u8], out: &mut Vec<f32>) {
        let chunks = bytes.chunks_exact(self.bytes());
        match self {
            Self::I16 => out.extend(chunks.map(|b| f32::from(i16::from_le_bytes([b[0], b[1]])))),
            Self::I24 => {
                out.extend(chunks.map(|b| (i32::from_le_bytes([0, b[0], b[1], b[2]]) >> 8) as f32));
            }
            Self::I32 => {
                out.extend(chunks.map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32));
            }
            Self::F32 => out.extend(chunks.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))),
        }
    }
}

/// What a stream says of itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Head {
    pub(super) n_channels: usize,
    pub(super) format: Format,
    pub(super) rate_hz: f64,
    /// Units per count, or per 1.0 of a float.
    pub(super) scale: f64,
    pub(super) unit: String,
    pub(super) serial: String,
}

/// What came of the bytes so far.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed<T> {
    /// The thing, and how many bytes it took.
    Done(T, usize),
    /// So many bytes are needed in all.
    Need(usize),
}

impl Head {
    /// Reads a header from the first bytes of a connection.
    ///
    /// # Errors
    /// If they can never become one, with the reason.
    pub(super) fn parse(bytes: &[u8]) -> Result<Parsed<Self>, String> {
        let n_seen = bytes.len().min(MAGIC.len());
        if bytes[..n_seen] != MAGIC[..n_seen] {
            let why = "these bytes are no auscult stream, version 1 (docs/stream.md)";
            return Err(why.to_owned());
        }
        if bytes.len() < HEAD_BYTES {
            return Ok(Parsed::Need(HEAD_BYTES));
        }
        let (n_unit, n_serial) = (usize::from(bytes[11]), usize::from(bytes[12]));
        let n_bytes = HEAD_BYTES + n_unit + n_serial;
        let n_channels = u16::from_le_bytes([bytes[8], bytes[9]]);
        if n_channels == 0 || n_channels > CHANNELS_MAX {
            return Err(format!("the stream has {n_channels} channels; 1 to {CHANNELS_MAX}"));
        }
        let format = match bytes[10] {
            1 => Format::I16,
            2 => Format::I24,
            3 => Format::I32,
            4 => Format::F32,
            other => {
                return Err(format!("format {other}; 1 = i16, 2 = i24, 3 = i32, 4 = f32"));
            }
        };
        let rate_hz = f64_at(bytes, 16);
        if !(rate_hz > 0.0 && rate_hz <= RATE_MAX_HZ) {
            return Err(format!("the stream has {rate_hz} Hz; above 0 to {RATE_MAX_HZ}"));
        }
        let scale = f64_at(bytes, 24);
        if !scale.is_normal() {
            return Err(format!("the stream's scale is {scale}; a number other than 0"));
        }
        if bytes.len() < n_bytes {
            return Ok(Parsed::Need(n_bytes));
        }
        let unit = text(&bytes[HEAD_BYTES..HEAD_BYTES + n_unit])?;
        let serial = text(&bytes[HEAD_BYTES + n_unit..n_bytes])?;
        let n_channels = usize::from(n_channels);
        Ok(Parsed::Done(Self { n_channels, format, rate_hz, scale, unit, serial }, n_bytes))
    }
}

/// What stands before the samples of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHead {
    /// Number of its first sample per channel, counted from any start.
    pub(super) first_sample: u64,
    /// Samples per channel.
    pub(super) n_samples: usize,
}

impl BlockHead {
    /// Reads the [`BLOCK_BYTES`] before a block's samples.
    ///
    /// # Errors
    /// If they are not a block's, with the reason.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes[..4] != BLOCK_MAGIC {
            return Err("where a block should begin there is something else".to_owned());
        }
        let n_samples = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        if n_samples > BLOCK_SAMPLES_MAX {
            return Err(format!("a block of {n_samples} samples; {BLOCK_SAMPLES_MAX} at most"));
        }
        let first_sample = f64_at(bytes, 8).to_bits();
        Ok(Self { first_sample, n_samples: n_samples as usize })
    }
}

fn f64_at(bytes: &[u8], at: usize) -> f64 {
    let eight = bytes[at..at + 8].try_into().expect("eight bytes");
    f64::from_le_bytes(eight)
}

fn text(bytes: &[u8]) -> Result<String, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err("unit and serial number must be plain UTF-8 text".to_owned()),
    }
}
