//! Reads files of an artifact folder without trusting the folder.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read},
    path::Path,
};

use sha2::{Digest, Sha256};

use super::{
    bytes::FileBytes,
    manifest::{FileEntry, Kind},
};
use crate::error::{Error, Result};

/// A manifest holds names, at most a few thousand numbers and provenance. As values, JSON may take thirty times its length.
pub(super) const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// How the text starts that git leaves in place of a file without git-lfs, and how long it may be.
const LFS_POINTER: &[u8; 39] = b"version https://git-lfs.github.com/spec";
const LFS_POINTER_BYTES: u64 = 1024;

/// All listed files together, for they are read into memory: 1 GiB, or 64 GiB for networks and for millions of battles.
pub(super) fn max_file_bytes(kind: Kind) -> u64 {
    match kind {
        Kind::Mf => 1 << 30,
        Kind::SwRanking | Kind::Bert | Kind::CausalLm => 64 << 30,
    }
}

/// Whether a name is a plain file name: no separators, no leading dot, nothing a shell or another system reads differently.
pub(super) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 128
        && !name.starts_with('.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Opens a regular file that lies in `folder` itself and has at most `limit` bytes; with its size.
fn open_inside(folder: &Path, name: &str, limit: u64) -> Result<(File, u64)> {
    let path = folder.join(name);
    let io_error = |error: std::io::Error| Error::artifact_from(&path, "file", error);
    let metadata = fs::symlink_metadata(&path).map_err(io_error)?;
    if metadata.is_symlink() {
        let inside = fs::canonicalize(folder).map_err(io_error)?;
        let target = fs::canonicalize(&path).map_err(io_error)?;
        if !target.starts_with(&inside) {
            return Err(Error::artifact(&path, "file", "is a link that leads out of the artifact folder"));
        }
    }
    open_regular(&path, limit)
}

/// Opens a regular file of at most `limit` bytes; with its size.
fn open_regular(path: &Path, limit: u64) -> Result<(File, u64)> {
    let io_error = |error: std::io::Error| Error::artifact_from(path, "file", error);
    // Checked before opening: opening a named pipe would wait for a writer that never comes.
    if !fs::metadata(path).map_err(io_error)?.is_file() {
        return Err(Error::artifact(path, "file", "expected a regular file"));
    }
    let file = File::open(path).map_err(io_error)?;
    let size = file.metadata().map_err(io_error)?.len();
    if size > limit {
        return Err(Error::artifact(path, "size", format!("{size} bytes, expected at most {limit}")));
    }
    // Whether there is room is asked for here: the allocation of a shared slice has no way to say no.
    if Vec::<u8>::new().try_reserve_exact(size as usize + FileBytes::MAX_SPARE).is_err() {
        return Err(Error::artifact(path, "size", format!("{size} bytes, more than this machine has memory for")));
    }
    Ok((file, size))
}

/// Reads a regular file that lies in `folder` itself, at most `limit` bytes.
pub(super) fn read_inside(folder: &Path, name: &str, limit: u64) -> Result<Vec<u8>> {
    let (file, size) = open_inside(folder, name, limit)?;
    read_open(&folder.join(name), file, size, limit)
}

/// Reads a regular file, wherever it lies, at most `limit` bytes.
pub(crate) fn read_file(path: &Path, limit: u64) -> Result<Vec<u8>> {
    let (file, size) = open_regular(path, limit)?;
    read_open(path, file, size, limit)
}

fn read_open(path: &Path, file: File, size: u64, limit: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(size as usize);
    let read = file.take(limit + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::artifact_from(path, "file", error))?;
    if bytes.len() as u64 > limit {
        return Err(Error::artifact(path, "size", format!("grew while it was read, expected at most {limit} bytes")));
    }
    Ok(bytes)
}

/// Reads a listed file and checks its size before and its hash after.
pub(super) fn read_checked(folder: &Path, name: &str, entry: &FileEntry) -> Result<FileBytes> {
    let path = folder.join(name);
    let other_size = |found: u64| {
        let message =
            format!("{found} bytes, the manifest says {}: the file is truncated or was replaced", entry.bytes);
        Error::artifact(&path, "size", message)
    };
    // A little more than the pointer of git-lfs, so that one is named as such in place of a smaller file, too.
    let (mut file, size) = open_inside(folder, name, entry.bytes.max(LFS_POINTER_BYTES))?;
    if size != entry.bytes {
        let mut start = [0; LFS_POINTER.len()];
        if size <= LFS_POINTER_BYTES && file.read_exact(&mut start).is_ok() && start == *LFS_POINTER {
            let message = "is a git-lfs pointer, not the file itself; fetch it with `git lfs pull`";
            return Err(Error::artifact(&path, "file", message));
        }
        return Err(other_size(size));
    }
    let bytes =
        FileBytes::filled(size as usize, |bytes| file.read_exact(bytes)).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => other_size(file.metadata().map_or(0, |metadata| metadata.len())),
            _ => Error::artifact_from(&path, "file", error),
        })?;
    let found = hex::encode(Sha256::digest(&*bytes));
    if found != entry.sha256 {
        return Err(Error::artifact(
            &path,
            "sha256",
            format!("{found}, the manifest says {}: the file was altered", entry.sha256),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_pass() {
        for good in ["model.onnx", "tokenizer.json", "a-b_c.1"] {
            assert!(is_plain_name(good), "{good}");
        }
        for bad in ["", "..", ".hidden", "a/b", "a\\b", "/etc/passwd", "c:x", "a\0b", "ü", "../x"] {
            assert!(!is_plain_name(bad), "{bad}");
        }
    }
}
