//! Numbers that lie in a file read into memory, used where they are: large artifacts exist once.

use std::{marker::PhantomData, ops::Range, sync::Arc};

use bytemuck::Pod;

use crate::artifact::FileBytes;

/// A slice of `T`, either a part of a file's bytes or owned; cloning is cheap.
#[derive(Debug, Clone)]
pub(crate) enum View<T> {
    /// Aligned and a whole number of `T` long: [`View::of_file`] has checked.
    File {
        bytes: FileBytes,
        range: Range<usize>,
        kind: PhantomData<T>,
    },
    Owned(Arc<[T]>),
}

impl<T: Pod> View<T> {
    /// A part of a file, or the reason why it is no slice of `T`.
    pub(crate) fn of_file(bytes: &FileBytes, range: Range<usize>) -> Result<Self, String> {
        let part = bytes.get(range.clone()).ok_or_else(|| format!("ends at byte {}, after the file", range.end))?;
        bytemuck::try_cast_slice::<u8, T>(part).map_err(|error| {
            format!("starts at byte {}, and numbers of {} bytes cannot: {error}", range.start, size_of::<T>())
        })?;
        Ok(Self::File { bytes: bytes.clone(), range, kind: PhantomData })
    }

    /// As [`of_file`](Self::of_file), of a part that was borrowed from the file.
    pub(crate) fn of_part(bytes: &FileBytes, part: &[T]) -> Result<Self, String> {
        let start = part.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
        Self::of_file(bytes, start..start.saturating_add(size_of_val(part)))
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        match self {
            Self::File { bytes, range, .. } => bytemuck::cast_slice(&bytes[range.clone()]),
            Self::Owned(values) => values,
        }
    }
}

impl<T> From<Vec<T>> for View<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Owned(values.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_are_no_whole_numbers_or_lie_outside_are_refused() {
        let bytes = FileBytes::from(&[0; 64][..]);
        let start = bytes.as_ptr().align_offset(8);
        assert_eq!(View::<f32>::of_file(&bytes, start..start + 16).unwrap().as_slice(), [0.0; 4]);
        for wrong in [start..start + 15, start + 1..start + 17, 60..68, 100..104] {
            assert!(View::<f32>::of_file(&bytes, wrong.clone()).is_err(), "{wrong:?}");
        }
        assert_eq!(View::of_part(&bytes, &bytes[3..9]).unwrap().as_slice().as_ptr(), bytes[3..].as_ptr());
        assert!(View::of_part(&bytes, &[0u8; 4]).is_err(), "of another allocation");
    }
}
