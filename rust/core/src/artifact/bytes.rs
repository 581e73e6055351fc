//! The bytes of a file in memory.
//!
//! Performance notes: at load, fresh memory costs more than what is done with it: a fault for each page of 4 KiB takes as long as reading
//! the page and hashing it. Files of a few MiB therefore start at a huge page of 2 MiB, which Linux then provides at one fault.

use std::{fmt, ops::Deref, sync::Arc};

const HUGE_PAGE: usize = 2 << 20;
/// Larger files, of which huge pages cover nearly all wherever they start, are shared with ONNX Runtime, which takes no part of a slice.
const MAX_ALIGNED_BYTES: usize = 64 << 20;

/// Bytes of a file; cloning is cheap.
#[derive(Clone, Default)]
pub struct FileBytes {
    memory: Arc<[u8]>,
    start: usize,
    length: usize,
}

impl FileBytes {
    /// Memory that is reserved beyond a file's length, at most.
    pub(super) const MAX_SPARE: usize = 2 * HUGE_PAGE;

    /// So many zeros for `fill` to write into.
    pub(super) fn filled<E>(length: usize, fill: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Result<Self, E> {
        let is_aligned = cfg!(target_os = "linux") && (HUGE_PAGE..=MAX_ALIGNED_BYTES).contains(&length);
        let size = if is_aligned { length.next_multiple_of(HUGE_PAGE) + HUGE_PAGE } else { length };
        // SAFETY: zero is a valid byte. Zeros that were written here would be touched twice; these come from the system where the
        // allocator maps large blocks.
        let mut memory: Arc<[u8]> = unsafe { Arc::new_zeroed_slice(size).assume_init() };
        let whole = Arc::get_mut(&mut memory).expect("the slice was made here and nobody else has it");
        let start = if is_aligned { whole.as_ptr().align_offset(HUGE_PAGE).min(HUGE_PAGE) } else { 0 };
        advise_huge_pages(&mut whole[start..]);
        fill(&mut whole[start..start + length])?;
        Ok(Self { memory, start, length })
    }

    /// The bytes as a whole slice; those of files up to 64 MiB may be copied.
    #[cfg(feature = "onnx")]
    pub(crate) fn shared(&self) -> Arc<[u8]> {
        if self.memory.len() == self.length { Arc::clone(&self.memory) } else { Arc::from(&**self) }
    }
}

impl Deref for FileBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
}

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBytes({})", self.length)
    }
}

impl From<&[u8]> for FileBytes {
    fn from(bytes: &[u8]) -> Self {
        Self { memory: Arc::from(bytes), start: 0, length: bytes.len() }
    }
}

/// Lets Linux back the memory of a large file with huge pages.
#[cfg(target_os = "linux")]
fn advise_huge_pages(bytes: &mut [u8]) {
    if bytes.len() < HUGE_PAGE {
        return;
    }
    // SAFETY: reads a constant of the system.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096).max(1);
    let before = bytes.as_ptr().addr() % page;
    let start = bytes.as_mut_ptr().wrapping_sub(before);
    // SAFETY: the range is that of the slice, from the start of its first page. The advice changes no content, neither the slice's nor
    // that of others on its first and last page. Whether it is taken does not matter.
    unsafe { libc::madvise(start.cast(), before + bytes.len(), libc::MADV_HUGEPAGE) };
}

#[cfg(not(target_os = "linux"))]
fn advise_huge_pages(_: &mut [u8]) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_every_size_hold_what_was_written() {
        for length in [0, 1, HUGE_PAGE - 1, HUGE_PAGE, HUGE_PAGE + 1, MAX_ALIGNED_BYTES + 1] {
            let bytes = FileBytes::filled(length, |bytes| {
                assert!(bytes.len() == length && bytes.iter().all(|&byte| byte == 0));
                bytes.iter_mut().zip(0u64..).for_each(|(byte, at)| *byte = (at % 251) as u8);
                Ok::<_, ()>(())
            });
            let bytes = bytes.unwrap();
            assert!(bytes.len() == length && bytes.iter().zip(0u64..).all(|(&byte, at)| byte == (at % 251) as u8));
            assert_eq!(*FileBytes::from(&*bytes), *bytes);
        }
        assert!(FileBytes::filled(1, |_| Err(())).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn files_of_a_few_huge_pages_start_at_one() {
        let bytes = FileBytes::filled(2 * HUGE_PAGE - 1, |_| Ok::<_, ()>(())).unwrap();
        assert_eq!(bytes.as_ptr().addr() % HUGE_PAGE, 0);
    }

    #[test]
    #[cfg(feature = "onnx")]
    fn only_files_that_are_part_of_a_slice_are_copied() {
        let [small, medium, large] =
            [1, HUGE_PAGE, MAX_ALIGNED_BYTES + 1].map(|length| FileBytes::filled(length, |_| Ok::<_, ()>(())).unwrap());
        assert!([&small, &medium, &large].iter().all(|bytes| *bytes.shared() == ***bytes));
        assert!(Arc::ptr_eq(&small.shared(), &small.memory) && Arc::ptr_eq(&large.shared(), &large.memory));
    }
}
