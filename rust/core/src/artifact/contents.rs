//! The files of an artifact: each is read, and checked, when it is first asked for; the largest from the start, on a thread of its own.
//!
//! Performance notes: nine tenths of the bytes of the shipped routers are the graph, and hashing it takes longer than reading and parsing
//! it. So files may be parsed while their hashes are computed, on the thread or afterwards, as long as nothing of a file is kept before
//! its hash is known to be right.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    thread::Builder,
};

use super::{
    bytes::FileBytes,
    files::{check_hash, read_listed},
    manifest::FileEntry,
};
use crate::error::Result;

/// Starting a thread costs more than reading a smaller file.
const MIN_THREAD_BYTES: u64 = 1 << 20;

/// One file.
#[derive(Debug)]
struct Listed {
    path: PathBuf,
    entry: FileEntry,
    bytes: OnceLock<Result<FileBytes>>,
    checked: OnceLock<Result<()>>,
}

impl Listed {
    fn bytes(&self) -> Result<FileBytes> {
        self.bytes.get_or_init(|| read_listed(&self.path, &self.entry)).clone()
    }

    fn check(&self) -> Result<()> {
        self.checked.get_or_init(|| check_hash(&self.path, &self.bytes()?, &self.entry)).clone()
    }
}

/// Files by name.
#[derive(Debug, Default)]
pub(crate) struct Contents(BTreeMap<String, Arc<Listed>>);

impl Contents {
    /// The listed files of a folder.
    pub(super) fn of(folder: &Path, files: &BTreeMap<String, FileEntry>) -> Self {
        let listed = |(name, entry): (&String, &FileEntry)| {
            let (path, entry) = (folder.join(name), entry.clone());
            (name.clone(), Arc::new(Listed { path, entry, bytes: OnceLock::new(), checked: OnceLock::new() }))
        };
        let contents = Self(files.iter().map(listed).collect());
        if let Some(largest) = contents.by_size().pop().filter(|file| file.entry.bytes >= MIN_THREAD_BYTES) {
            let file = Arc::clone(largest);
            // Without a thread, the file is read and checked where it is first asked for.
            drop(Builder::new().name("turnout-read".into()).spawn(move || file.check()));
        }
        contents
    }

    /// The smallest first.
    fn by_size(&self) -> Vec<&Arc<Listed>> {
        let mut files: Vec<_> = self.0.values().collect();
        files.sort_by_key(|file| file.entry.bytes);
        files
    }

    /// The bytes of a file, if it is listed. Their hash may be wrong: [`check`](Self::check) comes before anything of them is kept.
    pub(crate) fn unchecked(&self, name: &str) -> Option<Result<FileBytes>> {
        self.0.get(name).map(|file| file.bytes())
    }

    /// The checked bytes of a file, if it is listed.
    pub(crate) fn get(&self, name: &str) -> Option<Result<FileBytes>> {
        self.0.get(name).map(|file| file.check().and_then(|()| file.bytes()))
    }

    /// Reads and checks what has not been yet. The error is that of the first file in the order of names.
    pub(crate) fn check(&self) -> Result<()> {
        // The largest last: another thread is at it.
        self.by_size().into_iter().for_each(|file| drop(file.check()));
        self.0.values().try_for_each(|file| file.check())
    }
}
