//! Many prompts or embeddings in one call, on all threads.

use std::time::{Duration, Instant};

use super::{Router, deadline};
use crate::{
    batch::in_shares,
    error::{Error, Result},
    interrupt::{self, Interrupt},
    policy::Decision,
    ranking::Ranking,
};

/// Prompts a thread takes at a time from a batch: large enough that taking is cheap, small enough that threads end together.
const BATCH_SHARE: usize = 64;
/// Bytes of prompts in a share, about.
const SHARE_BYTES: usize = 256 * 1024;
/// Prompts for a network that run on the calling thread, without a check for interrupts.
const INLINE_ROWS: usize = 8;
/// Embeddings that are checked or scored by a linear head between two checks for interrupts: less than a millisecond.
const EMBEDDINGS_SHARE: usize = 4096;
/// Starting a thread costs about as much as this many decisions.
const MIN_BATCH_PER_THREAD: usize = 128;

impl Router {
    /// Decides many prompts, on all threads, in their order.
    pub fn route_batch(&self, prompts: &[&str], threshold: Option<f64>) -> Result<Vec<Decision>> {
        self.route_batch_within(prompts, threshold, None, None)
    }

    /// As [`route_batch`](Self::route_batch), with a limit as [`route_within`](Self::route_within) for all of them together, and
    /// somebody who may end the call.
    pub fn route_batch_within(
        &self,
        prompts: &[&str],
        threshold: Option<f64>,
        limit: Option<Duration>,
        interrupt: Option<Interrupt<'_>>,
    ) -> Result<Vec<Decision>> {
        let policy = self.policy(threshold)?;
        let win_rates = self.win_rates_by(prompts, limit.map(deadline), interrupt)?;
        Ok(win_rates.into_iter().map(|win_rate| policy.decide(win_rate)).collect())
    }

    /// Win rates of many prompts, on all threads, in their order. Equal to [`win_rate`](Self::win_rate) of each.
    pub fn win_rates(&self, prompts: &[&str]) -> Result<Vec<f32>> {
        self.win_rates_by(prompts, None, None)
    }

    /// As [`win_rates`](Self::win_rates), with somebody who may end the call.
    ///
    /// # Errors
    /// As [`route`](Self::route), and what `interrupt` gives.
    pub fn win_rates_unless(&self, prompts: &[&str], interrupt: Interrupt<'_>) -> Result<Vec<f32>> {
        self.win_rates_by(prompts, None, Some(interrupt))
    }

    fn win_rates_by(
        &self,
        prompts: &[&str],
        deadline: Option<Instant>,
        mut interrupt: Option<Interrupt<'_>>,
    ) -> Result<Vec<f32>> {
        self.tokenizer()?;
        if !self.engine.is_native() {
            let encodings = self.encodings(prompts, &mut interrupt)?;
            // A thread of its own is for batches that may take long.
            let mut interrupt = interrupt.filter(|_| prompts.len() > INLINE_ROWS);
            let logits = self.engine.logits(encodings, deadline, &mut interrupt)?;
            return self.all_calibrated(logits, 0);
        }
        let (share, threads) = (share_of(prompts).min(self.group()), self.threads_for(prompts.len()));
        in_shares(prompts.len(), share, threads, &mut interrupt, |range| {
            let first = range.start;
            let prompts = prompts[range].iter().zip(first..);
            if self.engine.ranking().is_none() {
                return prompts.map(|(prompt, row)| self.win_rate(prompt).map_err(|error| error.of_row(row))).collect();
            }
            let encodings = prompts.map(|(prompt, row)| self.encoding(prompt, row)).collect::<Result<_>>()?;
            self.all_calibrated(self.engine.logits(encodings, None, &mut None)?, first)
        })
    }

    pub(crate) fn threads_for(&self, prompts: usize) -> usize {
        // A decision over many battles takes longer than starting a thread.
        let least = if self.engine.is_microseconds() { MIN_BATCH_PER_THREAD } else { BATCH_SHARE };
        self.threads.min(prompts / least).max(1)
    }

    /// Win rates of embeddings in rows of a matrix.
    pub fn win_rates_of_embeddings(&self, matrix: &[f32], mut interrupt: Option<Interrupt<'_>>) -> Result<Vec<f32>> {
        let dim = self.embedding_dim();
        if !matrix.len().is_multiple_of(dim) {
            return Err(Error::invalid_input("embeddings", format!("{} numbers are no rows of {dim}", matrix.len())));
        }
        for (row, embedding) in matrix.chunks_exact(dim).enumerate() {
            if row.is_multiple_of(EMBEDDINGS_SHARE) {
                interrupt::check(&mut interrupt)?;
            }
            self.check_embedding(embedding, Some(row))?;
        }
        let rows = matrix.len() / dim;
        if !self.engine.is_native() {
            // A network cuts the batch itself, by length.
            let mut interrupt = interrupt.filter(|_| rows > INLINE_ROWS);
            let logits = self.engine.logits_of_embeddings(matrix.chunks_exact(dim), &mut interrupt)?;
            return self.all_calibrated(logits, 0);
        }
        let is_ranked = self.engine.ranking().is_some();
        let (share, threads) = if is_ranked { (self.group(), self.threads_for(rows)) } else { (EMBEDDINGS_SHARE, 1) };
        in_shares(rows, share, threads, &mut interrupt, |range| {
            let first = range.start;
            let rows = matrix[range.start * dim..range.end * dim].chunks_exact(dim);
            self.all_calibrated(self.engine.logits_of_embeddings(rows, &mut None)?, first)
        })
    }

    /// Most prompts in a share: with battles, those that are scored in one pass over the battles, which is not interrupted.
    fn group(&self) -> usize {
        self.engine.ranking().map_or(BATCH_SHARE, Ranking::group)
    }

    /// The embeddings of many prompts in rows of a matrix, on all threads.
    pub fn embed_many(&self, prompts: &[&str], mut interrupt: Option<Interrupt<'_>>) -> Result<Vec<f32>> {
        self.tokenizer()?;
        let (share, threads) = if self.engine.is_native() {
            (share_of(prompts), self.threads_for(prompts.len()))
        } else {
            // Prompts that come together share runs.
            (1, self.threads.min(prompts.len()))
        };
        in_shares(prompts.len(), share, threads, &mut interrupt, |range| {
            let first = range.start;
            let embed = |(prompt, row): (&&str, usize)| self.embed(prompt).map_err(|error| error.of_row(row));
            let rows = prompts[range].iter().zip(first..).map(embed).collect::<Result<Vec<_>>>()?;
            Ok(rows.concat())
        })
    }

    fn encodings(&self, prompts: &[&str], interrupt: &mut Option<Interrupt<'_>>) -> Result<Vec<Vec<u32>>> {
        let threads = self.threads.min(prompts.len() / MIN_BATCH_PER_THREAD).max(1);
        in_shares(prompts.len(), share_of(prompts), threads, interrupt, |range| {
            let first = range.start;
            prompts[range].iter().zip(first..).map(|(prompt, row)| self.encoding(prompt, row)).collect()
        })
    }

    /// Token ids of one prompt of a batch.
    fn encoding(&self, prompt: &str, row: usize) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.encode(prompt, &mut ids).map_err(|error| error.of_row(row))?;
        Ok(ids)
    }

    /// Win rates of the rows of a batch from `first` on.
    fn all_calibrated(&self, logits: Vec<f32>, first: usize) -> Result<Vec<f32>> {
        logits.into_iter().zip(first..).map(|(logit, row)| self.calibrated(logit).map_err(|e| e.of_row(row))).collect()
    }
}

/// Prompts that a thread takes at a time: fewer where they are long, so that no share takes much longer than others.
pub(crate) fn share_of(prompts: &[&str]) -> usize {
    let bytes: usize = prompts.iter().map(|prompt| prompt.len()).sum();
    (SHARE_BYTES * prompts.len() / bytes.max(1)).clamp(1, BATCH_SHARE)
}
