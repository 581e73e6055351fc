//! Fields of an index file, little-endian, borrowed from its bytes.

use super::Check;

/// What is left of a file.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

pub(super) fn ensure(holds: bool, message: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(message()) }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Check<&'a [u8]> {
        let left = self.rest.len();
        let (field, rest) = self
            .rest
            .split_at_checked(bytes)
            .ok_or_else(|| format!("the file ends inside a field: {bytes} bytes expected, {left} left"))?;
        self.rest = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Check<[u8; N]> {
        self.take(N).map(|field| std::array::from_fn(|at| field[at]))
    }

    /// The four characters that name a kind of index.
    pub(super) fn kind(&mut self) -> Check<[u8; 4]> {
        self.array()
    }

    pub(super) fn i32(&mut self) -> Check<i32> {
        self.array().map(i32::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Check<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A `bool` of C++, in which any other value is undefined behavior.
    pub(super) fn flag(&mut self) -> Check<bool> {
        match self.array()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(format!("a flag is {other}, expected 0 or 1")),
        }
    }

    /// A `size_t`, at most `most`.
    pub(super) fn size(&mut self, what: &str, most: usize) -> Check<usize> {
        let found = u64::from_le_bytes(self.array()?);
        usize::try_from(found)
            .ok()
            .filter(|&size| size <= most)
            .ok_or_else(|| format!("{what} is {found}, expected at most {most}"))
    }

    /// `count` elements of a vector whose length the file repeats.
    pub(super) fn vector<T: bytemuck::AnyBitPattern>(&mut self, what: &str, count: usize) -> Check<Vec<T>> {
        let found = self.size(what, usize::MAX)?;
        ensure(found == count, || format!("{what}: {found} elements, expected {count}"))?;
        self.elements(count)
    }

    /// The elements of a vector of any length.
    pub(super) fn any_vector<T: bytemuck::AnyBitPattern>(&mut self, what: &str) -> Check<Vec<T>> {
        let count = self.size(what, self.rest.len() / size_of::<T>())?;
        self.elements(count)
    }

    pub(super) fn elements<T: bytemuck::AnyBitPattern>(&mut self, count: usize) -> Check<Vec<T>> {
        let bytes = count.checked_mul(size_of::<T>()).ok_or_else(|| format!("{count} elements"))?;
        Ok(self.take(bytes)?.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
    }

    /// `count` finite numbers.
    pub(super) fn floats(&mut self, what: &str, count: usize) -> Check {
        let values: Vec<f32> = self.vector(what, count)?;
        let at = values.iter().position(|value| !value.is_finite());
        at.map_or(Ok(()), |at| Err(format!("{what}: number {at} is {}, expected finite numbers", values[at])))
    }

    /// `count` bytes of a vector whose length the file repeats.
    pub(super) fn bytes(&mut self, what: &str, count: Option<usize>) -> Check {
        let found = self.size(what, self.rest.len())?;
        ensure(count == Some(found), || format!("{what}: {found} bytes, expected {count:?}"))?;
        self.take(found).map(drop)
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn end(&self) -> Check {
        ensure(self.rest.is_empty(), || format!("{} bytes follow the index", self.rest.len()))
    }
}
