//! Reads protobuf messages as far as ONNX needs it: field by field, checked, nothing copied.

/// What is wrong with a file.
pub(super) type Fault = &'static str;

/// The value of one field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    /// An integer of any kind.
    Number(u64),
    /// Four bytes: a float.
    Four([u8; 4]),
    /// A string, a message or packed numbers.
    Bytes(&'a [u8]),
}

/// The fields of a message, in order.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Of a message in these bytes.
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or("cut off within a number")?;
            self.0 = rest;
            number |= u64::from(byte & 127) << shift;
            if byte & 128 == 0 {
                return Ok(number);
            }
        }
        Err("a number of more than 64 bits")
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], Fault> {
        let n = usize::try_from(n).map_err(|_| "a length beyond the end")?;
        let (taken, rest) = self.0.split_at_checked(n).ok_or("a length beyond the end")?;
        self.0 = rest;
        Ok(taken)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), Fault> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Four(*self.take(4)?.first_chunk().ok_or("cut off within a float")?),
            _ => return Err("a field of unknown kind"),
        };
        Ok((key >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| {
            let field = self.field();
            if field.is_err() {
                self.0 = &[];
            }
            field
        })
    }
}

/// The integers of a repeated field, at most `max`: packed, or one.
pub(super) fn numbers(value: Value<'_>, max: usize) -> Result<Vec<i64>, Fault> {
    match value {
        Value::Number(number) => Ok(vec![number as i64]),
        Value::Bytes(bytes) => {
            let mut fields = Fields(bytes);
            let mut numbers = Vec::new();
            while !fields.0.is_empty() {
                if numbers.len() == max {
                    return Err("too many numbers");
                }
                numbers.push(fields.varint()? as i64);
            }
            Ok(numbers)
        }
        Value::Four(_) => Err("a float where an integer belongs"),
    }
}

/// Text.
pub(super) fn text(value: Value<'_>) -> Result<&str, Fault> {
    match value {
        Value::Bytes(bytes) => std::str::from_utf8(bytes).map_err(|_| "a name that is no text"),
        _ => Err("a number where text belongs"),
    }
}

/// Bytes: a message within.
pub(super) fn bytes(value: Value<'_>) -> Result<&[u8], Fault> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err("a number where a message belongs"),
    }
}
