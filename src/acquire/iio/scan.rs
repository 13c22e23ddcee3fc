//! The layout of one scan in an IIO buffer, and its values.

/// How one element is stored, from a type such as `le:s20/32X2>>12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) big_endian: bool,
    pub(super) signed: bool,
    /// Meaningful bits, 1-64.
    pub(super) n_bits: u32,
    /// Bytes of one value: 1, 2, 4 or 8.
    pub(super) n_bytes: usize,
    /// Values of that kind in a row, at least 1.
    pub(super) repeat: usize,
    /// Bits to shift down by.
    pub(super) shift: u32,
}

/// The most values one element may hold.
const REPEAT_MAX: usize = 16;

impl Storage {
    /// Reads `[be|le]:[s|u]bits/storagebits[Xrepeat][>>shift]`.
    ///
    /// `None` if it is not of that form, or describes what cannot be.
    ///
    /// # Source
    /// Linux, Documentation/ABI/testing/sysfs-bus-iio: `in_..._type`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (endian, rest) = text.trim().split_once(':')?;
        let big_endian = match endian {
            "be" => true,
            "le" => false,
            _ => return None,
        };
        let (rest, shift) = match rest.split_once(">>") {
            Some((rest, shift)) => (rest, shift.parse().ok()?),
            None => (rest, 0),
        };
        let (bits, storage) = rest.split_once('/')?;
        let signed = match bits.get(..1)? {
            "s" | "S" => true,
            "u" | "U" => false,
            _ => return None,
        };
        let n_bits: u32 = bits[1..].parse().ok()?;
        let (storage, repeat) = match storage.split_once('X') {
            Some((storage, repeat)) => (storage, repeat.parse().ok()?),
            None => (storage, 1),
        };
        let n_storage: u32 = storage.parse().ok()?;
        let fits = matches!(n_storage, 8 | 16 | 32 | 64)
            && n_bits >= 1
            && n_bits.checked_add(shift)? <= n_storage
            && (1..=REPEAT_MAX).contains(&repeat);
        let n_bytes = n_storage as usize / 8;
        fits.then_some(Self { big_endian, signed, n_bits, n_bytes, repeat, shift })
    }

    /// The value in the first `n_bytes` of `bytes`, shifted and sign-extended.
    pub(super) fn value(&self, bytes: &[u8]) -> i64 {
        let mut raw = [0_u8; 8];
        for (k, out) in raw[..self.n_bytes].iter_mut().enumerate() {
            *out = bytes[if self.big_endian { self.n_bytes - 1 - k } else { k }];
        }
        let spare = 64 - self.n_bits;
        let top = (u64::from_le_bytes(raw) >> self.shift) << spare;
        if self.signed { top as i64 >> spare } else { (top >> spare) as i64 }
    }

    /// Bytes of the whole element.
    fn size(&self) -> usize {
        self.n_bytes * self.repeat
    }
}

/// Where each wanted element sits in a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Offset of each element, in the order given.
    pub(super) offsets: Vec<usize>,
    /// Bytes of one scan.
    pub(super) n_bytes: usize,
}

impl Layout {
    /// `elements`: every enabled element by ascending index. Each is aligned to its own size and
    /// the scan to the largest of them.
    pub(super) fn new(elements: &[Storage]) -> Self {
        let mut at = 0_usize;
        let mut offsets = Vec::with_capacity(elements.len());
        for element in elements {
            at = at.next_multiple_of(element.size());
            offsets.push(at);
            at += element.size();
        }
        let largest = elements.iter().map(Storage::size).max().unwrap_or(1);
        Self { offsets, n_bytes: at.next_multiple_of(largest) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_out_as_the_kernel_describes_them() {
        let check = |kind: &str, bytes: &[u8], expect: i64| {
            assert_eq!(Storage::parse(kind).unwrap().value(bytes), expect, "{kind}");
        };
        check("le:s16/16>>0", &[0xfe, 0xff], -2);
        check("be:s16/16>>0", &[0xff, 0xfe], -2);
        check("le:u16/16", &[0xfe, 0xff], 65_534);
        check("be:s12/16>>4", &[0x80, 0x0f], -2048);
        check("be:s12/16>>4", &[0x7f, 0xff], 2047);
        check("le:u12/16>>4", &[0x0f, 0x80], 2048);
        check("le:s20/32>>12", &[0xff, 0x0f, 0, 0x80], -524_288);
        check("be:s20/32>>12", &[0xff, 0xff, 0xf0, 0x00], -1);
        check("le:s24/32", &[0xff, 0xff, 0xff, 0x55], -1);
        check("le:s64/64>>0", &i64::MIN.to_le_bytes(), i64::MIN);
        check("le:s8/8", &[0x80], -128);
    }

    #[test]
    fn a_type_that_cannot_be_is_refused() {
        for text in [
            "",
            "le",
            "le:s16",
            "xx:s16/16",
            "le:f16/16",
            "le:s0/16",
            "le:s17/16",
            "le:s16/16>>1",
            "le:s16/24",
            "le:s16/16X0",
            "le:s16/16X999",
            "le:s/16",
            "le:s16/16>>4294967295",
            "é:s1",
        ] {
            assert_eq!(Storage::parse(text), None, "{text}");
        }
    }

    #[test]
    fn elements_are_aligned_to_themselves_and_the_scan_to_the_largest() {
        let check = |kinds: &[&str], offsets: &[usize], n_bytes: usize| {
            let storages: Vec<_> = kinds.iter().map(|k| Storage::parse(k).unwrap()).collect();
            let layout = Layout::new(&storages);
            assert_eq!((layout.offsets.as_slice(), layout.n_bytes), (offsets, n_bytes));
        };
        check(&["le:s16/16", "le:s16/16", "le:s16/16"], &[0, 2, 4], 6);
        check(&["le:s16/16", "le:s16/16", "le:s16/16", "le:s64/64"], &[0, 2, 4, 8], 16);
        check(&["le:s8/8", "le:s32/32", "le:s16/16"], &[0, 4, 8], 12);
        check(&["le:s16/16X4"], &[0], 8);
    }
}
