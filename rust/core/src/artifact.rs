//! An artifact: one folder that holds a trained router. `models/README.md` is the contract, file by file.
//!
//! Files are read into memory whole, once, and hashed and parsed from that memory: what was checked is what is used, and a
//! file that somebody truncates later cannot fault the process, which a memory map could. The native artifacts are a few MB.

mod bytes;
mod contents;
mod files;
mod manifest;
mod network;
mod ranking;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest, Sha256};

pub use self::bytes::FileBytes;
pub(crate) use self::{contents::Contents, files::read_file};
pub use manifest::{
    CourtesySpec, EncoderSpec, FORMAT_VERSION, FileEntry, Kind, Manifest, Pair, Precision, ShortPrompts, Thresholds,
    TokenizerSpec, Truncation,
};
pub use network::{Generation, Label};
pub use ranking::{CellsSpec, ErrorSpec, IndexSpec, RankingSpec};

use crate::error::{Error, Result};

/// Name of the manifest inside the folder.
pub const MANIFEST: &str = "router.json";

/// A model folder whose manifest is valid and whose files match their sizes and hashes.
#[derive(Debug)]
pub struct Artifact {
    path: PathBuf,
    manifest: Manifest,
    manifest_text: String,
    hash: String,
    contents: Arc<Contents>,
}

impl Artifact {
    /// Opens and checks a folder: manifest, file names, sizes and hashes.
    ///
    /// # Errors
    /// [`Error::Artifact`] naming the file and the field.
    pub fn open(path: &Path) -> Result<Self> {
        let artifact = Self::begin(path)?;
        artifact.contents.check()?;
        Ok(artifact)
    }

    /// As [`open`](Self::open), but each file is checked when it is asked for, and the others by [`Contents::check`].
    pub(crate) fn begin(path: &Path) -> Result<Self> {
        let manifest_path = path.join(MANIFEST);
        let bytes = files::read_inside(path, MANIFEST, files::MAX_MANIFEST_BYTES)?;
        let manifest_text = String::from_utf8(bytes).map_err(|error| {
            Error::artifact(&manifest_path, "text", format!("expected UTF-8: {error}")).caused_by(error)
        })?;
        let manifest = Manifest::parse(&manifest_path, &manifest_text)?;
        let contents = Arc::new(Contents::of(path, &manifest.files));
        let hash = hex::encode(Sha256::digest(manifest_text.as_bytes()));
        Ok(Self { path: path.to_path_buf(), manifest, manifest_text, hash, contents })
    }

    /// The listed files.
    pub(crate) fn contents(&self) -> Arc<Contents> {
        Arc::clone(&self.contents)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the manifest says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest as it stands in the file (JSON).
    pub fn manifest_text(&self) -> &str {
        &self.manifest_text
    }

    /// SHA-256 of the manifest in hexadecimal. The manifest holds the hash of every other file, so this identifies the artifact.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// The checked bytes of a listed file.
    pub fn file(&self, name: &str) -> Result<FileBytes> {
        self.contents
            .get(name)
            .unwrap_or_else(|| Err(self.manifest_error("files", format!("{name:?} is used but not listed"))))
    }

    /// Name of the graph's file.
    ///
    /// # Errors
    /// [`Error::Artifact`] where there is none.
    pub fn graph(&self) -> Result<&str> {
        self.manifest.graph.as_deref().ok_or_else(|| self.manifest_error("graph", "null, expected a file name"))
    }

    /// Lets go of the files: a loaded router needs them no more, and networks, battles and indexes may be large.
    pub(crate) fn release(&mut self) {
        self.contents = Arc::default();
    }

    /// An error about a field of the manifest.
    pub fn manifest_error(&self, field: &str, message: impl Into<String>) -> Error {
        Error::artifact(&self.manifest_path(), field, message)
    }

    fn manifest_path(&self) -> PathBuf {
        self.path.join(MANIFEST)
    }
}
