//! One index, read from a file or lent by the caller.

use std::{
    any::Any,
    ffi::c_void,
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    file,
    library::{Head, Library},
};
use crate::error::{Error, Result};

/// An index that lives in the caller's process, kept alive as long as anything uses it.
#[derive(Clone)]
pub struct LiveIndex {
    address: usize,
    _keep: Arc<dyn Any + Send + Sync>,
    one_at_a_time: bool,
}

impl LiveIndex {
    /// An index by the address of its C++ object; `keep` is dropped after the last use. Indexes on a GPU take one search at a time.
    ///
    /// # Safety
    /// `address` must be that of a `faiss::Index` of the library that will search it, alive until `keep` is dropped and not
    /// changed while a router uses it.
    pub unsafe fn new(address: usize, keep: Arc<dyn Any + Send + Sync>, one_at_a_time: bool) -> Self {
        Self { address, _keep: keep, one_at_a_time }
    }
}

impl fmt::Debug for LiveIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiveIndex").field("one_at_a_time", &self.one_at_a_time).finish_non_exhaustive()
    }
}

/// A FAISS index ready to search.
#[derive(Debug)]
pub(crate) struct FaissIndex {
    library: &'static Library,
    pointer: Pointer,
    dim: usize,
    one_at_a_time: bool,
}

/// Searches that must not overlap take turns across all routers: indexes on a GPU share its memory.
static TURN: Mutex<()> = Mutex::new(());

#[derive(Debug)]
enum Pointer {
    Read(*mut c_void),
    Live(LiveIndex),
}

// SAFETY: searching a FAISS index on the CPU is safe from many threads ("thread safety" in its documentation), those on a GPU
// take turns; nothing else is done with it until it is dropped.
unsafe impl Send for FaissIndex {}
// SAFETY: as above.
unsafe impl Sync for FaissIndex {}

impl FaissIndex {
    /// Reads an index from a file's bytes; `name` is for messages.
    pub(crate) fn read(library: Option<&Path>, bytes: &[u8], name: &Path) -> Result<Self> {
        let library = Library::open(library)?;
        file::check(bytes).map_err(|message| Error::artifact(name, "index", message))?;
        let pointer = library
            .read(bytes)
            .map_err(|message| Error::artifact(name, "index", format!("FAISS refused it: {message}")))?;
        Ok(Self { library, pointer: Pointer::Read(pointer), dim: 0, one_at_a_time: false })
    }

    /// Takes an index that the caller made.
    pub(crate) fn live(library: Option<&Path>, index: &LiveIndex) -> Result<Self> {
        let library = Library::open(library)?;
        Ok(Self { library, pointer: Pointer::Live(index.clone()), dim: 0, one_at_a_time: index.one_at_a_time })
    }

    /// Compares the index with the vectors that it should hold.
    pub(crate) fn checked(mut self, dim: usize, count: usize) -> std::result::Result<Self, String> {
        let head = Head::of(self.address());
        if !head.trained {
            return Err("is not trained".into());
        }
        if usize::try_from(head.dim) != Ok(dim) {
            return Err(format!("holds vectors of length {}, expected {dim}", head.dim));
        }
        if usize::try_from(head.count) != Ok(count) {
            return Err(format!(
                "holds {} vectors, expected one for each of {count} prompts, in their order",
                head.count
            ));
        }
        self.dim = dim;
        Ok(self)
    }

    fn address(&self) -> *const c_void {
        match &self.pointer {
            Pointer::Read(pointer) => *pointer,
            Pointer::Live(index) => index.address as *const c_void,
        }
    }

    /// Numbers of the nearest vectors, best first.
    pub(crate) fn nearest(&self, vector: &[f32], k: usize) -> Result<Vec<i64>> {
        if vector.len() != self.dim {
            return Err(Error::inference(format!(
                "a query of length {} for an index of length {}",
                vector.len(),
                self.dim
            )));
        }
        self.library.check_process()?;
        let _turn = self.one_at_a_time.then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        self.library.search(self.address(), vector, k).map_err(|message| Error::inference(format!("FAISS: {message}")))
    }
}

impl Drop for FaissIndex {
    fn drop(&mut self) {
        if let Pointer::Read(pointer) = self.pointer {
            self.library.delete(pointer);
        }
    }
}
