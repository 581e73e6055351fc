//! The log of battles that were added since an artifact was built: `battles.log` beside `router.json`.
//!
//! ```text
//! file    = "turnout battles\n" version:u32 dim:u32 record*
//! record  = length:u32 crc32(length):u32 crc32(payload):u32 payload      (length of the payload; all numbers little-endian)
//! payload = count:u32 battle*
//! battle  = id:u64 outcome:u8 model_a:text model_b:text prompt:text embedding:f32[dim]
//! text    = length:u32 UTF-8
//! ```
//!
//! A record is one call. It is acknowledged when it is on the disk; a crash before that leaves a part of it at the end of the file,
//! which readers ignore and the next writer cuts off. A record that is damaged anywhere else is an error, not a loss in silence.
//! Writers hold a lock on the file and look whether another process has appended, or folded the log into the artifact, meanwhile.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

const MAGIC: &[u8; 16] = b"turnout battles\n";
const VERSION: u32 = 1;
const HEADER: usize = 24;
/// Bytes of a record before its payload.
const HEAD: usize = 12;
/// Longest record: a call of some hundred thousand battles.
const MAX_RECORD: usize = 1 << 30;

/// A battle as it is logged: by names, because numbers of models change when the log is folded in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LoggedBattle {
    pub(crate) id: u64,
    pub(crate) outcome: u8,
    pub(crate) model_a: String,
    pub(crate) model_b: String,
    pub(crate) prompt: String,
    /// Unit length, or all zeros.
    pub(crate) embedding: Vec<f32>,
}

/// Where the log of an artifact lies and how far it has been read.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    dim: usize,
    /// Bytes read and found whole.
    end: u64,
}

impl Log {
    /// The log of the artifact in `folder`; nothing has been read.
    pub(crate) fn new(folder: &Path, dim: usize) -> Self {
        Self { path: folder.join("battles.log"), dim, end: 0 }
    }

    /// Battles that the file holds beyond what was read before; none where there is no file.
    pub(crate) fn read(&mut self) -> Result<Vec<LoggedBattle>> {
        match File::open(&self.path) {
            Ok(mut file) => self.read_on(&mut file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn read_on(&mut self, file: &mut File) -> Result<Vec<LoggedBattle>> {
        if !file.metadata().map_err(|error| self.failed(&error))?.is_file() {
            return Err(Error::artifact(&self.path, "file", "expected a regular file"));
        }
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(self.end)).map_err(|error| self.failed(&error))?;
        file.read_to_end(&mut bytes).map_err(|error| self.failed(&error))?;
        let mut at = 0;
        if self.end == 0 {
            if is_unwritten(&bytes) || (bytes.len() < HEADER && self.header().starts_with(&bytes)) {
                return Ok(Vec::new());
            }
            let found = &bytes[..HEADER.min(bytes.len())];
            if found != self.header() {
                let message = format!(
                    "starts with {found:02x?}, expected {:02x?} (format 1, embeddings of length {})",
                    self.header(),
                    self.dim
                );
                return Err(Error::artifact(&self.path, "header", message));
            }
            at = HEADER;
        }
        let mut battles = Vec::new();
        while let Some((payload, next)) = self.record(&bytes, at)? {
            let own = Payload { bytes: payload, dim: self.dim }.battles();
            battles.extend(own.ok_or_else(|| self.damaged(at, "its checksum is right, its content is not"))?);
            at = next;
        }
        self.end += at as u64;
        Ok(battles)
    }

    /// The payload of the record at `at` and where the next one starts; `None` at the end or at a record that was not finished.
    fn record<'a>(&self, bytes: &'a [u8], at: usize) -> Result<Option<(&'a [u8], usize)>> {
        let rest = &bytes[at..];
        if is_unwritten(rest) {
            return Ok(None);
        }
        let Some((head, body)) = rest.split_at_checked(HEAD) else { return Ok(None) };
        let number = |at: usize| number(&head[at..at + 4]);
        let (length, checksum) = (number(0) as usize, number(8));
        if crc32fast::hash(&head[..4]) != number(4) || length > MAX_RECORD {
            return Err(self.damaged(at, "the checksum of its length is wrong"));
        }
        let Some(payload) = body.get(..length) else { return Ok(None) };
        if crc32fast::hash(payload) != checksum {
            return match body.len() == length {
                true => Ok(None),
                false => Err(self.damaged(at, "its checksum is wrong")),
            };
        }
        Ok(Some((payload, at + HEAD + length)))
    }

    /// Appends one record and waits until it is on the disk. Before that, `catch_up` gets what others appended and says what of the
    /// battles remains to be written. `unchanged` tells whether the artifact is still the one that was loaded.
    pub(crate) fn append(
        &mut self,
        unchanged: impl FnOnce() -> Result<bool>,
        catch_up: impl FnOnce(Vec<LoggedBattle>) -> Result<Vec<LoggedBattle>>,
    ) -> Result<Vec<LoggedBattle>> {
        let mut held = Held::new(self)?;
        let file = &mut held.0;
        if !unchanged()? {
            let message = "the artifact was compacted or replaced since it was loaded: load it again, then add";
            return Err(Error::artifact(&self.path, "artifact", message));
        }
        let length = file.metadata().map_err(|error| self.failed(&error))?.len();
        if length < self.end {
            return Err(Error::artifact(
                &self.path,
                "size",
                "became shorter since it was read: load the artifact again, then add",
            ));
        }
        let others = self.read_on(file)?;
        let battles = catch_up(others)?;
        if battles.is_empty() {
            return Ok(battles);
        }
        let mut bytes = if self.end == 0 { self.header() } else { Vec::new() };
        bytes.extend(self.encode(&battles)?);
        let written = (|| {
            file.set_len(self.end)?;
            file.seek(SeekFrom::Start(self.end))?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            // A file that is new must also be in its folder when the power fails.
            if self.end <= HEADER as u64 {
                File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
            } else {
                Ok(())
            }
        })();
        if let Err(error) = written {
            let _ = file.set_len(self.end);
            return Err(self.failed(&error));
        }
        self.end += bytes.len() as u64;
        Ok(battles)
    }

    fn header(&self) -> Vec<u8> {
        [&MAGIC[..], &VERSION.to_le_bytes(), &(self.dim as u32).to_le_bytes()].concat()
    }

    fn encode(&self, battles: &[LoggedBattle]) -> Result<Vec<u8>> {
        let mut payload = (battles.len() as u32).to_le_bytes().to_vec();
        for battle in battles {
            payload.extend(battle.id.to_le_bytes());
            payload.push(battle.outcome);
            for text in [&battle.model_a, &battle.model_b, &battle.prompt] {
                payload.extend((text.len() as u32).to_le_bytes());
                payload.extend(text.as_bytes());
            }
            battle.embedding.iter().for_each(|value| payload.extend(value.to_le_bytes()));
            if payload.len() > MAX_RECORD {
                return Err(Error::InvalidInput(
                    "too many battles for one call: add them in parts of some ten thousand".into(),
                ));
            }
        }
        let mut record = (payload.len() as u32).to_le_bytes().to_vec();
        record.extend(crc32fast::hash(&record).to_le_bytes());
        record.extend(crc32fast::hash(&payload).to_le_bytes());
        record.extend(payload);
        Ok(record)
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::artifact(&self.path, "file", error.to_string())
    }

    fn damaged(&self, at: usize, what: &str) -> Error {
        let message = format!(
            "the record at byte {} is damaged: {what}; restore the file, or remove it and with it the battles added since the last compaction",
            self.end + at as u64
        );
        Error::artifact(&self.path, "record", message)
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0u32, |sum, &byte| sum << 8 | u32::from(byte))
}

/// Whether these bytes are an append that was never finished: a file system may lengthen a file before it writes the content, and
/// write later pages before the first. No record starts with zeros, so what starts with them and holds no whole record was none.
fn is_unwritten(bytes: &[u8]) -> bool {
    if !bytes.iter().take(HEAD).all(|&byte| byte == 0) {
        return false;
    }
    let is_whole = |at: usize| {
        let head = &bytes[at..at + HEAD];
        let length = number(&head[..4]) as usize;
        crc32fast::hash(&head[..4]) == number(&head[4..8])
            && bytes
                .get(at + HEAD..at + HEAD + length)
                .is_some_and(|payload| crc32fast::hash(payload) == number(&head[8..]))
    };
    !(1..bytes.len().saturating_sub(HEAD)).any(is_whole)
}

/// An open log that nobody else writes to until this is dropped. Let go by name: a process forked meanwhile holds the same lock.
struct Held(File);

impl Held {
    fn new(log: &Log) -> Result<Self> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&log.path);
        let file = open.map_err(|error| log.failed(&error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => {
                let message = format!("{}: another process is adding battles; try again", log.path.display());
                Err(Error::InvalidInput(message))
            }
            Err(TryLockError::Error(error)) => Err(log.failed(&error)),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

/// A payload on its way to being read.
struct Payload<'a> {
    bytes: &'a [u8],
    dim: usize,
}

impl Payload<'_> {
    fn battles(mut self) -> Option<Vec<LoggedBattle>> {
        let count = u32::from_le_bytes(self.take()?);
        let mut battles = Vec::new();
        for _ in 0..count {
            let (id, [outcome]) = (u64::from_le_bytes(self.take()?), self.take()?);
            let (model_a, model_b, prompt) = (self.text()?, self.text()?, self.text()?);
            let embedding =
                (0..self.dim).map(|_| Some(f32::from_le_bytes(self.take()?))).collect::<Option<Vec<f32>>>()?;
            battles.push(LoggedBattle { id, outcome, model_a, model_b, prompt, embedding });
        }
        self.bytes.is_empty().then_some(battles)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (part, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*part)
    }

    fn text(&mut self) -> Option<String> {
        let length = u32::from_le_bytes(self.take()?) as usize;
        let (text, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        String::from_utf8(text.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn battle(id: u64) -> LoggedBattle {
        LoggedBattle {
            id,
            outcome: (id % 3) as u8,
            model_a: "strong".into(),
            model_b: "weak".into(),
            prompt: format!("What is {id} plus {id}? Grüße"),
            embedding: vec![0.6, 0.8],
        }
    }

    fn add(log: &mut Log, ids: &[u64]) -> Result<Vec<LoggedBattle>> {
        log.append(|| Ok(true), |_| Ok(ids.iter().map(|&id| battle(id)).collect()))
    }

    fn ids(battles: &[LoggedBattle]) -> Vec<u64> {
        battles.iter().map(|battle| battle.id).collect()
    }

    #[test]
    fn what_is_added_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::new(folder.path(), 2);
        assert!(log.read().unwrap().is_empty());
        add(&mut log, &[1, 2]).unwrap();
        add(&mut log, &[3]).unwrap();
        let read = Log::new(folder.path(), 2).read().unwrap();
        assert_eq!(read, [battle(1), battle(2), battle(3)]);
        assert!(log.read().unwrap().is_empty(), "its own battles are not news");
    }

    #[test]
    fn a_file_cut_anywhere_keeps_every_whole_record_and_can_be_continued() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("battles.log");
        let mut log = Log::new(folder.path(), 2);
        let mut ends = vec![HEADER as u64];
        for id in 0..4 {
            add(&mut log, &[id]).unwrap();
            ends.push(log.end);
        }
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let mut log = Log::new(folder.path(), 2);
            let kept = ends[1..].iter().filter(|&&end| end <= cut as u64).count() as u64;
            assert_eq!(ids(&log.read().unwrap()), (0..kept).collect::<Vec<_>>(), "cut at {cut}");
            add(&mut log, &[9]).unwrap();
            let again = Log::new(folder.path(), 2).read().unwrap();
            assert_eq!(ids(&again), (0..kept).chain([9]).collect::<Vec<_>>(), "continued after a cut at {cut}");
        }
    }

    #[test]
    fn zeros_at_the_end_are_a_record_that_was_not_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("battles.log");
        add(&mut Log::new(folder.path(), 2), &[1]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for later in [0u8, 7] {
            std::fs::write(&path, [&whole[..], &[0; 100], &[later; 50]].concat()).unwrap();
            assert_eq!(ids(&Log::new(folder.path(), 2).read().unwrap()), [1]);
        }
        std::fs::write(&path, [0; 100]).unwrap();
        assert!(Log::new(folder.path(), 2).read().unwrap().is_empty());
        add(&mut Log::new(folder.path(), 2), &[5]).unwrap();
        assert_eq!(ids(&Log::new(folder.path(), 2).read().unwrap()), [5]);
        // A whole record after zeros was acknowledged: that is damage.
        std::fs::write(&path, [&whole[..HEADER], &[0; 40], &whole[HEADER..]].concat()).unwrap();
        assert!(Log::new(folder.path(), 2).read().is_err());
    }

    #[test]
    fn a_changed_byte_is_never_read_as_another_battle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("battles.log");
        let mut log = Log::new(folder.path(), 2);
        add(&mut log, &[1]).unwrap();
        add(&mut log, &[2]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&path, &bytes).unwrap();
            // In the last record a wrong checksum is a write that did not end; anywhere else it is told.
            match Log::new(folder.path(), 2).read() {
                Ok(read) => assert!(ids(&read) == [1] && at > whole.len() / 2, "byte {at}: {read:?}"),
                Err(error) => assert!(error.to_string().contains("battles.log"), "byte {at}: {error}"),
            }
        }
    }

    #[test]
    fn two_writers_see_each_other_and_a_held_lock_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, mut second) = (Log::new(folder.path(), 2), Log::new(folder.path(), 2));
        add(&mut first, &[1]).unwrap();
        let mut seen = vec![];
        let own = second.append(
            || Ok(true),
            |others| {
                seen = ids(&others);
                Ok(vec![battle(2)])
            },
        );
        assert_eq!((ids(&own.unwrap()), seen), (vec![2], vec![1]));
        let held = File::open(folder.path().join("battles.log")).unwrap();
        held.lock().unwrap();
        assert!(add(&mut first, &[3]).unwrap_err().to_string().contains("another process is adding"));
        drop(held);
        let stale = first.append(|| Ok(false), |_| Ok(vec![battle(3)]));
        assert!(stale.unwrap_err().to_string().contains("load it again"));
        assert_eq!(ids(&Log::new(folder.path(), 2).read().unwrap()), [1, 2]);
    }

    #[test]
    fn a_log_of_other_embeddings_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        add(&mut Log::new(folder.path(), 2), &[1]).unwrap();
        assert!(Log::new(folder.path(), 3).read().unwrap_err().to_string().contains("header"));
    }
}
