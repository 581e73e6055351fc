//! The files of an artifact: each is read and checked when it is first asked for, the largest on a thread of its own from the start.
//!
//! Performance notes: nine tenths of the bytes of the shipped routers are the graph. Reading and hashing it takes as long as everything
//! else at load together, so that both go on at once.

use std::{collections::BTreeMap, panic::resume_unwind, path::Path, sync::LazyLock, thread::Builder};

use super::{bytes::FileBytes, files::read_checked, manifest::FileEntry};
use crate::error::Result;

/// Starting a thread costs more than reading a smaller file.
const MIN_THREAD_BYTES: u64 = 1 << 20;

type Bytes = Result<FileBytes>;
type Listed = LazyLock<Bytes, Box<dyn FnOnce() -> Bytes + Send>>;

/// Files by name.
#[derive(Debug, Default)]
pub(crate) struct Contents(BTreeMap<String, Listed>);

impl Contents {
    /// The listed files of a folder.
    pub(super) fn of(folder: &Path, files: &BTreeMap<String, FileEntry>) -> Self {
        let largest = files.iter().max_by_key(|(_, entry)| entry.bytes).map(|(name, _)| name);
        let listed = |(name, entry): (&String, &FileEntry)| {
            let (folder, file, listed) = (folder.to_path_buf(), name.clone(), entry.clone());
            let read = move || read_checked(&folder, &file, &listed);
            let starts = entry.bytes >= MIN_THREAD_BYTES && Some(name) == largest;
            (name.clone(), LazyLock::new(if starts { started(read) } else { Box::new(read) }))
        };
        Self(files.iter().map(listed).collect())
    }

    /// The checked bytes of a file, if it is listed.
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        self.0.get(name).map(|file| LazyLock::force(file).clone())
    }

    /// Reads and checks what has not been yet. The first file with an error, in the order of names, is the one that is told.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.values().try_for_each(|file| LazyLock::force(file).as_ref().map(drop).map_err(Clone::clone))
    }
}

/// Begins to read, on a thread if the system has one to give.
fn started(read: impl Fn() -> Bytes + Clone + Send + 'static) -> Box<dyn FnOnce() -> Bytes + Send> {
    match Builder::new().name("turnout-read".into()).spawn(read.clone()) {
        Ok(thread) => Box::new(|| thread.join().unwrap_or_else(|panic| resume_unwind(panic))),
        Err(_) => Box::new(read),
    }
}
