//! The library, opened once in a process.

use std::{
    ffi::{CStr, c_char, c_void},
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use libloading::Library as Dynamic;

use crate::error::{Error, Result};

/// Room for a message of a C++ exception.
const MESSAGE_BYTES: usize = 1024;

/// Versions with which the layout was checked: from the first, below the second.
const VERSIONS: ((u32, u32), (u32, u32)) = ((1, 15), (1, 17));

/// An `IndexFlatIP` over (1, 0), (0, 1) and (.6, .8), as `faiss.serialize_index` writes it.
const SELF_TEST: &str = "4978464902000000030000000000000000001000000000000000100000000000010000000006000000000000000000803f00000000000000000000803f9a99193fcdcc4c3f";

unsafe extern "C" {
    fn turnout_faiss_version(
        function: *mut c_void,
        version: *mut c_char,
        version_room: usize,
        error: *mut c_char,
        room: usize,
    ) -> bool;
    fn turnout_faiss_read(
        function: *mut c_void,
        data: *const u8,
        length: usize,
        index: *mut *mut c_void,
        error: *mut c_char,
        room: usize,
    ) -> bool;
    fn turnout_faiss_search(
        index: *const c_void,
        slot: usize,
        n: i64,
        x: *const f32,
        k: i64,
        distances: *mut f32,
        labels: *mut i64,
        error: *mut c_char,
        room: usize,
    ) -> bool;
    fn turnout_faiss_delete(index: *mut c_void, slot: usize);
}

/// FAISS in this process.
#[derive(Debug)]
pub(super) struct Library {
    /// Address of `faiss::read_index(faiss::IOReader*, int)`.
    read: usize,
    /// Places in the table of virtual functions of every index.
    search: usize,
    delete: usize,
    path: PathBuf,
    /// The process that opened it. Its threads (OpenMP) do not survive a fork: the first search in a child would wait for them forever.
    process: u32,
}

static LIBRARY: OnceLock<Library> = OnceLock::new();
static OPENING: Mutex<()> = Mutex::new(());

/// A text that a C function wrote into a buffer.
fn text(buffer: &[u8]) -> String {
    CStr::from_bytes_until_nul(buffer).map_or_else(|_| String::new(), |text| text.to_string_lossy().into_owned())
}

impl Library {
    /// Opens the library at `path`, or gives the one that this process has open.
    pub(super) fn open(path: Option<&Path>) -> Result<&'static Self> {
        let _guard = OPENING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = LIBRARY.get() {
            open.check_process()?;
            return match path {
                Some(path) if path != open.path => Err(Error::engine(
                    Some(path),
                    format!(
                        "FAISS was opened from {} before, and a process can hold one only; {} was asked for",
                        open.path.display(),
                        path.display()
                    ),
                )),
                _ => Ok(open),
            };
        }
        let path = path.ok_or_else(|| {
            Error::engine(
                None,
                "FAISS is not installed, or has no library of its own (libfaiss.so): `pip install turnout[faiss]`, or \
                 `turnout[faiss-gpu]` for a GPU; or load with index=\"exact\", which needs none",
            )
        })?;
        let library = Self::load(path)
            .map_err(|message| Error::engine(Some(path), format!("FAISS at {}: {message}", path.display())))?;
        library.check().map_err(|message| {
            Error::engine(Some(path), format!(
                "FAISS at {} does not behave as expected: {message}; install faiss-cpu 1.15 or load with index=\"exact\"",
                path.display()
            ))
        })?;
        Ok(LIBRARY.get_or_init(|| library))
    }

    /// Refuses searches in a fork of the process that opened the library.
    pub(super) fn check_process(&self) -> Result<()> {
        if std::process::id() == self.process {
            return Ok(());
        }
        Err(Error::inference(format!(
            "FAISS was opened before a fork, which its threads do not survive; load the router in this process ({}) of a pool that \
             spawns, or load it with index=\"exact\"",
            std::process::id()
        )))
    }

    fn load(path: &Path) -> std::result::Result<Self, String> {
        // SAFETY: opening runs the library's initialisers; it is the one that `import faiss` opens.
        let dynamic = unsafe { Dynamic::new(path) }.map_err(|error| error.to_string())?;
        // Never closed: FAISS starts threads that live as long as the process.
        let dynamic = Box::leak(Box::new(dynamic));
        let address = |name: &str| {
            // SAFETY: only the address is taken.
            let symbol = unsafe { dynamic.get::<*mut c_void>(name.as_bytes()) };
            symbol.map(|symbol| *symbol as usize).map_err(|_| format!("has no {name}"))
        };
        Self::check_version(address("_ZN5faiss11get_versionB5cxx11Ev")?)?;
        let search = address("_ZNK5faiss9IndexFlat6searchElPKflPfPlPKNS_16SearchParametersE")?;
        let delete = address("_ZN5faiss11IndexRefineD0Ev")?;
        let place = |table: &str, function: usize| {
            let table = address(table)? as *const usize;
            // The first two entries are not functions. An index has some thirty virtual functions, `search` among the first.
            // SAFETY: tables of virtual functions of these classes are longer than that in the accepted versions.
            (0..12)
                .find(|&slot| unsafe { table.add(2 + slot).read() } == function)
                .ok_or_else(|| "its classes are laid out differently".to_string())
        };
        Ok(Self {
            read: address("_ZN5faiss10read_indexEPNS_8IOReaderEi")?,
            search: place("_ZTVN5faiss9IndexFlatE", search)?,
            delete: place("_ZTVN5faiss11IndexRefineE", delete)?,
            path: path.to_path_buf(),
            process: std::process::id(),
        })
    }

    fn check_version(function: usize) -> std::result::Result<(), String> {
        let (mut version, mut error) = ([0u8; 64], [0u8; MESSAGE_BYTES]);
        // SAFETY: the function is `std::string faiss::get_version()`; both buffers are as long as said.
        let told = unsafe {
            turnout_faiss_version(
                function as *mut c_void,
                version.as_mut_ptr().cast(),
                version.len(),
                error.as_mut_ptr().cast(),
                error.len(),
            )
        };
        accepted(&if told { text(&version) } else { text(&error) })
    }

    /// Reads and searches an index whose answer is known.
    fn check(&self) -> std::result::Result<(), String> {
        let bytes = hex::decode(SELF_TEST).map_err(|error| error.to_string())?;
        let index = self.read(&bytes)?;
        let head = Head::of(index);
        let found = if (head.dim, head.count) == (2, 3) {
            self.search(index, &[0.8, 0.6], 3)
        } else {
            Err(format!("an index of 3 vectors of length 2 says that it holds {} of {}", head.count, head.dim))
        };
        self.delete(index);
        match found? {
            labels if labels == [2, 0, 1] => Ok(()),
            labels => Err(format!("the nearest of three vectors are {labels:?}, expected [2, 0, 1]")),
        }
    }

    /// Reads an index; the caller must [`delete`](Self::delete) it.
    pub(super) fn read(&self, bytes: &[u8]) -> std::result::Result<*mut c_void, String> {
        let (mut index, mut error) = (std::ptr::null_mut(), [0u8; MESSAGE_BYTES]);
        // SAFETY: the function is FAISS's reader; the bytes and the buffer are as long as said.
        let read = unsafe {
            turnout_faiss_read(
                self.read as *mut c_void,
                bytes.as_ptr(),
                bytes.len(),
                &mut index,
                error.as_mut_ptr().cast(),
                error.len(),
            )
        };
        if read { Ok(index) } else { Err(text(&error)) }
    }

    /// The `k` nearest of one vector, best first; places that the index could not fill are left out.
    pub(super) fn search(
        &self,
        index: *const c_void,
        vector: &[f32],
        k: usize,
    ) -> std::result::Result<Vec<i64>, String> {
        let (mut distances, mut labels, mut error) = (vec![0.0f32; k], vec![-1i64; k], [0u8; MESSAGE_BYTES]);
        // SAFETY: `index` is a live FAISS index whose vectors are as long as this one (the callers have checked), and the
        // buffers have one place for each of the `k` results.
        let found = unsafe {
            turnout_faiss_search(
                index,
                self.search,
                1,
                vector.as_ptr(),
                k as i64,
                distances.as_mut_ptr(),
                labels.as_mut_ptr(),
                error.as_mut_ptr().cast(),
                error.len(),
            )
        };
        if !found {
            return Err(text(&error));
        }
        labels.retain(|&label| label >= 0);
        Ok(labels)
    }

    /// Ends an index that [`read`](Self::read) made.
    pub(super) fn delete(&self, index: *mut c_void) {
        // SAFETY: the index came from `read` and is used no more.
        unsafe { turnout_faiss_delete(index, self.delete) }
    }
}

/// The first fields of every index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) dim: i32,
    pub(super) count: i64,
    pub(super) trained: bool,
}

impl Head {
    /// Reads the fields of a live index. The self-test has made sure that they lie where they are looked for.
    pub(super) fn of(index: *const c_void) -> Self {
        let bytes = index.cast::<u8>();
        // SAFETY: every index starts with its table (8 bytes), `int d`, padding, `int64 ntotal`, `bool verbose`, `bool is_trained`.
        unsafe {
            Self {
                dim: bytes.add(8).cast::<i32>().read(),
                count: bytes.add(16).cast::<i64>().read(),
                trained: bytes.add(25).read() != 0,
            }
        }
    }
}

/// Whether the shim fits a FAISS of that version.
fn accepted(version: &str) -> std::result::Result<(), String> {
    let mut numbers = version.split('.').map(|part| part.parse::<u32>().ok());
    let (oldest, newest) = VERSIONS;
    match (numbers.next().flatten(), numbers.next().flatten()) {
        (Some(major), Some(minor)) if (major, minor) >= oldest && (major, minor) < newest => Ok(()),
        _ => Err(format!(
            "is version {version:?}, expected at least {}.{} and less than {}.{}",
            oldest.0, oldest.1, newest.0, newest.1
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_accepted_from_the_oldest_to_before_the_newest() {
        let (oldest, newest) = VERSIONS;
        accepted(&format!("{}.{}.0", oldest.0, oldest.1)).unwrap();
        for wrong in [format!("{}.{}.0", newest.0, newest.1), "0.9.1".into(), "1".into(), String::new(), "x.y".into()] {
            assert!(accepted(&wrong).unwrap_err().contains("expected at least"), "{wrong}");
        }
    }
}
