//! The protobuf wire format: tags, varints and length-delimited fields, borrowed from the input.

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64,
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8], String> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            other => Err(format!("expected a length-delimited field, found {other:?}")),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, String> {
        std::str::from_utf8(self.bytes()?).map_err(|error| format!("expected UTF-8: {error}"))
    }

    pub(super) fn integer(self) -> Result<i64, String> {
        match self {
            Self::Varint(value) => Ok(value as i64),
            other => Err(format!("expected an integer, found {other:?}")),
        }
    }
}

/// Iterates over the fields of one message; ends after the first error.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or("the message ends inside a number")?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a number is longer than ten bytes".into())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        if length > self.rest.len() as u64 {
            return Err(format!("a field of {length} bytes, but only {} are left", self.rest.len()));
        }
        let (field, rest) = self.rest.split_at(length as usize);
        self.rest = rest;
        Ok(field)
    }

    fn field(&mut self) -> Result<(u64, Value<'a>), String> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed64)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                let bytes = self.take(4)?;
                Value::Fixed32([bytes[0], bytes[1], bytes[2], bytes[3]])
            }
            other => return Err(format!("wire type {other}, which ONNX does not use")),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let item = self.field();
        if item.is_err() {
            self.rest = &[];
        }
        Some(item)
    }
}

/// The integers of a repeated field, packed or not.
pub(super) fn push_integers(value: Value<'_>, into: &mut Vec<i64>, limit: usize) -> Result<(), String> {
    match value {
        Value::Varint(one) => into.push(one as i64),
        other => {
            let mut packed = Fields::new(other.bytes()?);
            while !packed.rest.is_empty() {
                into.push(packed.varint()? as i64);
                if into.len() > limit {
                    break;
                }
            }
        }
    }
    if into.len() > limit {
        return Err(format!("more than {limit} integers"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_four_wire_types() {
        let message = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1d, 0, 0, 0x80, 0x3f, 0x21, 0, 0, 0, 0, 0, 0, 0, 0];
        let fields: Vec<_> = Fields::new(&message).map(|field| field.unwrap()).collect();
        assert_eq!(
            fields,
            [
                (1, Value::Varint(150)),
                (2, Value::Bytes(b"hi")),
                (3, Value::Fixed32([0, 0, 0x80, 0x3f])),
                (4, Value::Fixed64)
            ]
        );
    }

    #[test]
    fn a_length_beyond_the_end_is_an_error_and_the_last_item() {
        let mut fields = Fields::new(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f, 1]);
        assert!(fields.next().unwrap().unwrap_err().contains("only 1 are left"));
        assert!(fields.next().is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_end_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(Fields::new(&bytes).count() <= bytes.len());
        }
    }
}
