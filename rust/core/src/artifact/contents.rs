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

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with two files of which one was altered, `a` of more than a MiB, so that it is read on a thread.
    fn altered(name: &str) -> (tempfile::TempDir, Contents) {
        let folder = tempfile::tempdir().unwrap();
        let files = [("a", vec![1; MIN_THREAD_BYTES as usize]), ("b", vec![2; 10])];
        let entries = files.map(|(file, mut bytes)| {
            let path = folder.path().join(file);
            let entry = FileEntry { bytes: bytes.len() as u64, sha256: sha256(&bytes) };
            check_hash(&path, &bytes, &entry).unwrap();
            bytes[9] ^= u8::from(file == name);
            std::fs::write(path, bytes).unwrap();
            (file.to_owned(), entry)
        });
        let contents = Contents::of(folder.path(), &BTreeMap::from(entries));
        (folder, contents)
    }

    fn sha256(bytes: &[u8]) -> String {
        use sha2::{Digest, Sha256};
        hex::encode(Sha256::digest(bytes))
    }

    #[test]
    fn an_altered_file_may_be_parsed_but_passes_no_check() {
        for name in ["a", "b"] {
            let (_folder, contents) = altered(name);
            assert_eq!(contents.unchecked(name).unwrap().unwrap()[9], if name == "a" { 0 } else { 3 });
            let found = [contents.get(name).unwrap().unwrap_err(), contents.check().unwrap_err()];
            assert!(found.iter().all(|error| error.to_string().contains("the file was altered")), "{found:?}");
            assert!(contents.get(if name == "a" { "b" } else { "a" }).unwrap().is_ok() && contents.get("c").is_none());
        }
        let (_folder, contents) = altered("neither");
        contents.check().unwrap();
    }
}
