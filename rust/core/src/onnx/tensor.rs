//! Weights of a graph, and whether the file holds what it declares of them.

use super::{
    parse::Parser,
    wire::{Fields, Value, push_integers},
};

const MAX_RANK: usize = 8;
/// Integers of a constant that are kept: shapes are no longer.
const MAX_SHAPE: usize = 16;

/// Element types that native graphs hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataType {
    /// 32-bit float.
    F32,
    /// 8-bit signed integer.
    I8,
    /// 64-bit signed integer.
    I64,
    /// Anything else, by its ONNX number.
    Other(i64),
}

/// 16-bit float.
pub(super) const FLOAT16: DataType = DataType::Other(10);
/// Texts, which have no raw form.
const STRING: DataType = DataType::Other(8);

impl DataType {
    /// The type of that number.
    pub(super) fn of(number: i64) -> Self {
        match number {
            1 => Self::F32,
            3 => Self::I8,
            7 => Self::I64,
            other => Self::Other(other),
        }
    }

    /// Bits of an element in raw data.
    fn bits(self) -> Option<usize> {
        match self {
            Self::Other(25 | 26) => Some(2),
            Self::Other(21..=23) => Some(4),
            Self::I8 | Self::Other(2 | 9 | 17..=20 | 24) => Some(8),
            Self::Other(4 | 5 | 10 | 16) => Some(16),
            Self::F32 | Self::Other(6 | 12) => Some(32),
            Self::I64 | Self::Other(11 | 13 | 14) => Some(64),
            Self::Other(15) => Some(128),
            Self::Other(_) => None,
        }
    }
}

/// A weight of the graph.
#[derive(Debug, Clone)]
pub struct Tensor<'a> {
    /// Name by which nodes refer to it.
    pub name: &'a str,
    /// Shape.
    pub dims: Vec<i64>,
    /// Element type.
    pub data_type: DataType,
    /// Little-endian elements; empty where the file stores them in another way.
    pub raw: &'a [u8],
    /// Number of elements that are stored one by one, in a field of their type.
    pub typed: Option<usize>,
    /// Whether the elements lie in another file.
    pub external: bool,
    /// Where in which file, as `location`, `offset` and `length`; empty where the file does not say.
    pub place: [&'a str; 3],
}

/// A file beside the graph that may hold elements of its tensors.
#[derive(Debug, Clone, Copy)]
pub struct DataFile<'a> {
    /// Plain name.
    pub name: &'a str,
    /// Length in bytes.
    pub bytes: u64,
}

impl<'a> Tensor<'a> {
    /// Number of elements of a shape without negative or overflowing sizes.
    fn elements(&self) -> Result<usize, String> {
        self.dims
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?))
            .ok_or_else(|| format!("tensor {:?} has the shape {:?}", self.name, self.dims))
    }

    /// Bytes of that many elements in raw data.
    fn raw_bytes(&self, elements: usize) -> Result<Option<usize>, String> {
        let bits = self.data_type.bits();
        let bits =
            bits.ok_or_else(|| format!("tensor {:?} has elements of the type {:?}", self.name, self.data_type))?;
        Ok(elements.checked_mul(bits).map(|bits| bits.div_ceil(8)))
    }

    /// Says what no engine could make sense of: elements outside of the file, an impossible shape, more or fewer elements than the
    /// shape has, weights that are not numbers. Infinite numbers pass where all others are zero: such tensors mask attention.
    fn check_defects(&self, files: &[DataFile<'_>]) -> Result<(), String> {
        if self.external {
            return self.check_place(files);
        }
        let elements = self.elements()?;
        match self.typed {
            Some(found) if self.raw.is_empty() => self.check_typed(found, elements)?,
            _ if self.data_type == STRING => self.check_typed(self.typed.unwrap_or(0), elements)?,
            _ => self.check(self.data_type)?,
        }
        if self.data_type != DataType::F32 || elements == 0 {
            return Ok(());
        }
        match self.not_finite() {
            Some((at, found)) if !self.values().all(|value| value == 0.0 || value == f32::NEG_INFINITY) => {
                Err(format!("tensor {:?} holds {found} at element {at}, expected finite numbers", self.name))
            }
            _ => Ok(()),
        }
    }

    /// Raw data as floats.
    fn values(&self) -> impl Iterator<Item = f32> {
        self.raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes))
    }

    /// The first of them that is infinite or not a number, and its index.
    fn not_finite(&self) -> Option<(usize, f32)> {
        // A loop without an exit compares several numbers at a time.
        if self.values().fold(true, |all, value| all & value.is_finite()) {
            return None;
        }
        self.values().enumerate().find(|(_, value)| !value.is_finite())
    }

    /// Elements in a field of their type: an entry each, two for complex numbers; small ones may share an entry.
    fn check_typed(&self, found: usize, elements: usize) -> Result<(), String> {
        let fits = match (self.data_type, self.data_type.bits()) {
            (DataType::Other(14 | 15), _) => found.is_multiple_of(2) && found / 2 == elements,
            (_, Some(bits @ 1..8)) => found == elements || found == elements.div_ceil(8 / bits),
            _ => found == elements,
        };
        if fits {
            return Ok(());
        }
        Err(format!("tensor {:?} of shape {:?} holds {found} elements, expected {elements}", self.name, self.dims))
    }

    /// Elements in another file must lie inside one that the manifest lists.
    fn check_place(&self, files: &[DataFile<'_>]) -> Result<(), String> {
        let [location, offset, length] = self.place;
        let Some(file) = files.iter().find(|file| file.name == location) else {
            return Err(format!(
                "tensor {:?} keeps its elements in another file, {location:?}, which is not listed",
                self.name
            ));
        };
        let number = |text: &str| text.parse::<u64>().ok();
        let offset = if offset.is_empty() { Some(0) } else { number(offset) };
        let expected = self.raw_bytes(self.elements()?)?;
        match (offset, number(length), expected) {
            (Some(offset), Some(length), Some(expected))
                if length == expected as u64 && offset.checked_add(length).is_some_and(|end| end <= file.bytes) =>
            {
                Ok(())
            }
            _ => Err(format!(
                "tensor {:?} of shape {:?} lies at {:?} of the {} bytes of {location:?}",
                self.name, self.dims, self.place, file.bytes
            )),
        }
    }

    /// Whether raw data of that type is as long as the shape says.
    fn check(&self, data_type: DataType) -> Result<(), String> {
        if self.data_type != data_type {
            return Err(format!("tensor {:?} is {:?}, expected {data_type:?}", self.name, self.data_type));
        }
        let expected = self.raw_bytes(self.elements()?)?;
        if expected != Some(self.raw.len()) {
            return Err(format!(
                "tensor {:?} of shape {:?} holds {} bytes of raw data, expected {expected:?}",
                self.name,
                self.dims,
                self.raw.len()
            ));
        }
        Ok(())
    }

    /// The elements as finite floats.
    pub fn floats(&self) -> Result<Vec<f32>, String> {
        self.check(DataType::F32)?;
        match self.not_finite() {
            None => Ok(self.values().collect()),
            Some((at, found)) => {
                Err(format!("tensor {:?} holds {found} at element {at}, expected finite numbers", self.name))
            }
        }
    }

    /// The elements as bytes.
    pub fn int8(&self) -> Result<&'a [i8], String> {
        self.check(DataType::I8)?;
        Ok(bytemuck::cast_slice(self.raw))
    }

    /// The elements as 64-bit integers.
    pub fn integers(&self) -> Result<Vec<i64>, String> {
        self.check(DataType::I64)?;
        Ok(self.raw.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b)).collect())
    }
}

/// A tensor and, of a short one of integers, their values.
pub(super) struct Parsed<'a> {
    pub(super) tensor: Tensor<'a>,
    pub(super) shape: Vec<i64>,
}

impl<'a> Parser<'_, 'a> {
    /// Reads a `TensorProto`.
    pub(super) fn tensor(&mut self, message: &'a [u8]) -> Result<Parsed<'a>, String> {
        let mut tensor = Tensor {
            name: "",
            dims: vec![],
            data_type: DataType::Other(0),
            raw: &[],
            typed: None,
            external: false,
            place: [""; 3],
        };
        let (mut once, mut shape, mut extra) = (self.once("a tensor"), vec![], false);
        for field in Fields::new(message) {
            let (number, value) = field?;
            match number {
                1 => push_integers(value, &mut tensor.dims, MAX_RANK)?,
                2 => tensor.data_type = DataType::of(value.integer()?),
                4..=7 | 10 | 11 => {
                    tensor.typed = Some(tensor.typed.unwrap_or(0).saturating_add(entries(number, value)?));
                    if number == 7 && tensor.typed.is_some_and(|count| count <= MAX_SHAPE) {
                        push_integers(value, &mut shape, MAX_SHAPE)?;
                    }
                }
                8 => tensor.name = value.text()?,
                9 => tensor.raw = value.bytes()?,
                12 => drop(value.bytes()?),
                13 => {
                    tensor.external = true;
                    place(value.bytes()?, &mut tensor.place)?;
                }
                14 => tensor.external |= value.integer()? != 0,
                _ => {}
            }
            extra |= !Self::is_native(&mut once, number, matches!(number, 2 | 8 | 9 | 12), number == 1);
        }
        if extra {
            self.foreign(|| format!("tensor {:?} is stored in another way than one field of raw data", tensor.name));
        }
        tensor.check_defects(self.files)?;
        self.float16 |= tensor.data_type == FLOAT16;
        if shape.is_empty()
            && tensor.raw.len() <= 8 * MAX_SHAPE
            && let Ok(values) = tensor.integers()
        {
            shape = values;
        }
        Ok(Parsed { tensor, shape })
    }
}

/// Entries of a repeated field, packed or not.
fn entries(number: u64, value: Value<'_>) -> Result<usize, String> {
    Ok(match (number, value) {
        (6, value) => value.bytes().map(|_| 1)?,
        (4, Value::Bytes(packed)) => packed.len() / 4,
        (10, Value::Bytes(packed)) => packed.len() / 8,
        (_, Value::Bytes(packed)) => packed.iter().filter(|&&byte| byte < 0x80).count(),
        _ => 1,
    })
}

/// One key and value of where elements lie.
fn place<'a>(message: &'a [u8], place: &mut [&'a str; 3]) -> Result<(), String> {
    let (mut key, mut text) = ("", "");
    for field in Fields::new(message) {
        match field? {
            (1, value) => key = value.text()?,
            (2, value) => text = value.text()?,
            _ => {}
        }
    }
    if let Some(at) = ["location", "offset", "length"].iter().position(|name| *name == key) {
        place[at] = text;
    }
    Ok(())
}
