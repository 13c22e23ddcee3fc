//! Reads flatbuffers as far as `.tflite` needs it; every offset is checked, nothing is copied.
//!
//! # Source
//! FlatBuffers internals: a table begins with the offset back to its vtable, which holds the place
//! of each field; vectors begin with their length.

/// What is wrong with a file.
pub(super) type Fault = &'static str;

/// A place in a buffer where a table begins.
#[derive(Clone, Copy)]
pub(super) struct Table<'a> {
    buffer: &'a [u8],
    at: usize,
}

/// Vectors of tables, numbers and bytes.
#[derive(Clone, Copy)]
pub(super) struct Vector<'a> {
    buffer: &'a [u8],
    at: usize,
    pub len: usize,
}

fn bytes<const N: usize>(buffer: &[u8], at: usize) -> Result<[u8; N], Fault> {
    let found = buffer.get(at..).and_then(|rest| rest.first_chunk::<N>());
    found.copied().ok_or("an offset beyond the end")
}

fn u32_at(buffer: &[u8], at: usize) -> Result<usize, Fault> {
    Ok(u32::from_le_bytes(bytes(buffer, at)?) as usize)
}

fn follow(buffer: &[u8], at: usize) -> Result<usize, Fault> {
    at.checked_add(u32_at(buffer, at)?).filter(|to| *to < buffer.len()).ok_or("a wild offset")
}

impl<'a> Table<'a> {
    /// The root of a file with this identifier.
    pub(super) fn root(buffer: &'a [u8], identifier: [u8; 4]) -> Result<Self, Fault> {
        if bytes::<4>(buffer, 4)? != identifier {
            return Err("not the right kind of file");
        }
        Ok(Self { buffer, at: follow(buffer, 0)? })
    }

    /// Where field number `idx` lies; `None` if it is left out.
    fn field(self, idx: usize) -> Result<Option<usize>, Fault> {
        let back = i64::from(i32::from_le_bytes(bytes(self.buffer, self.at)?));
        let vtable = usize::try_from(self.at as i64 - back).map_err(|_| "a wild vtable")?;
        let size = usize::from(u16::from_le_bytes(bytes(self.buffer, vtable)?));
        let entry = 4 + 2 * idx;
        if entry + 2 > size {
            return Ok(None);
        }
        let offset = usize::from(u16::from_le_bytes(bytes(self.buffer, vtable + entry)?));
        Ok((offset != 0).then_some(self.at + offset))
    }

    /// A byte, 0 if left out.
    pub(super) fn byte(self, idx: usize) -> Result<u8, Fault> {
        self.field(idx)?.map_or(Ok(0), |at| bytes::<1>(self.buffer, at).map(|[b]| b))
    }

    /// A 32-bit number, 0 if left out.
    pub(super) fn number(self, idx: usize) -> Result<i32, Fault> {
        self.field(idx)?.map_or(Ok(0), |at| bytes(self.buffer, at).map(i32::from_le_bytes))
    }

    /// A table, if there.
    pub(super) fn table(self, idx: usize) -> Result<Option<Self>, Fault> {
        let Some(at) = self.field(idx)? else { return Ok(None) };
        Ok(Some(Self { buffer: self.buffer, at: follow(self.buffer, at)? }))
    }

    /// A vector with items of `width` bytes; empty if left out.
    pub(super) fn vector(self, idx: usize, width: usize) -> Result<Vector<'a>, Fault> {
        let Some(at) = self.field(idx)? else {
            return Ok(Vector { buffer: self.buffer, at: 0, len: 0 });
        };
        let at = follow(self.buffer, at)?;
        let len = u32_at(self.buffer, at)?;
        let end = len.checked_mul(width).and_then(|n| n.checked_add(at + 4));
        if end.is_none_or(|end| end > self.buffer.len()) {
            return Err("a vector beyond the end");
        }
        Ok(Vector { buffer: self.buffer, at: at + 4, len })
    }
}

impl<'a> Vector<'a> {
    /// Table number `idx`.
    pub(super) fn table(self, idx: usize) -> Result<Table<'a>, Fault> {
        if idx >= self.len {
            return Err("an index beyond the end");
        }
        Ok(Table { buffer: self.buffer, at: follow(self.buffer, self.at + 4 * idx)? })
    }

    /// The bytes of a vector of bytes.
    pub(super) fn bytes(self) -> &'a [u8] {
        &self.buffer[self.at..self.at + self.len]
    }

    /// The numbers of a vector of `N` bytes each.
    pub(super) fn numbers<const N: usize, T>(
        self,
        of: impl Fn([u8; N]) -> T,
    ) -> impl Iterator<Item = T> {
        let chunks = self.buffer[self.at..self.at + N * self.len].as_chunks().0;
        chunks.iter().map(move |chunk| of(*chunk))
    }
}
