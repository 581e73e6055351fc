//! Reads files of an artifact folder without trusting the folder.

use std::{
    fs::{self, File},
    io::Read,
    path::Path,
    sync::Arc,
};

use sha2::{Digest, Sha256};

use super::manifest::{FileEntry, Kind};
use crate::error::{Error, Result};

/// A manifest holds names, at most a few thousand numbers and provenance. As values, JSON may take thirty times its length.
pub(super) const MAX_MANIFEST_BYTES: u64 = 1 << 20;

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

/// Reads a regular file that lies in `folder` itself, at most `limit` bytes.
pub(super) fn read_inside(folder: &Path, name: &str, limit: u64) -> Result<Vec<u8>> {
    let path = folder.join(name);
    let io_error = |error: std::io::Error| Error::artifact(&path, "file", error.to_string());
    let metadata = fs::symlink_metadata(&path).map_err(io_error)?;
    if metadata.is_symlink() {
        let inside = fs::canonicalize(folder).map_err(io_error)?;
        let target = fs::canonicalize(&path).map_err(io_error)?;
        if !target.starts_with(&inside) {
            return Err(Error::artifact(&path, "file", "is a link that leads out of the artifact folder"));
        }
    }
    // Checked before opening: opening a named pipe would wait for a writer that never comes.
    if !fs::metadata(&path).map_err(io_error)?.is_file() {
        return Err(Error::artifact(&path, "file", "expected a regular file"));
    }
    let file = File::open(&path).map_err(io_error)?;
    let size = file.metadata().map_err(io_error)?.len();
    if size > limit {
        return Err(Error::artifact(&path, "size", format!("{size} bytes, expected at most {limit}")));
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(size as usize)
        .map_err(|_| Error::artifact(&path, "size", format!("{size} bytes, more than this machine has memory for")))?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > limit {
        return Err(Error::artifact(&path, "size", format!("grew while it was read, expected at most {limit} bytes")));
    }
    Ok(bytes)
}

/// Reads a listed file and checks its size before and its hash after.
pub(super) fn read_checked(folder: &Path, name: &str, entry: &FileEntry) -> Result<Arc<Vec<u8>>> {
    let path = folder.join(name);
    let bytes = read_inside(folder, name, entry.bytes)?;
    if bytes.len() as u64 != entry.bytes {
        return Err(Error::artifact(
            &path,
            "size",
            format!("{} bytes, the manifest says {}: the file is truncated or was replaced", bytes.len(), entry.bytes),
        ));
    }
    let found = hex::encode(Sha256::digest(&bytes));
    if found != entry.sha256 {
        return Err(Error::artifact(
            &path,
            "sha256",
            format!("{found}, the manifest says {}: the file was altered", entry.sha256),
        ));
    }
    Ok(Arc::new(bytes))
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
