//! Waiting callers, leaders and the order of runs: the rules of the batcher without a lock, a thread or a clock of its own.
//!
//! A slot is a session. The caller that holds a slot is the leader of its next run. A caller that arrives while a slot is free gets it at
//! once; otherwise it waits, and the leader that ends a run hands the slot to the caller that has waited longest. A leader may also
//! gather: requests of its kind then wait for it, even if another slot is free. So while a slot is free, waiting requests have a leader
//! that gathers them, and none is lost: an entry is in the queue, or a leader has it.

use std::{collections::VecDeque, time::Instant};

/// One caller's prompts.
#[derive(Debug, Clone)]
pub(super) struct Entry<T> {
    /// Its own, for [`Queue::withdraw`].
    pub id: u64,
    /// Only entries of the same kind share a run.
    pub kind: Kind,
    /// Prompts.
    pub rows: usize,
    /// Tokens of the longest prompt.
    pub tokens: usize,
    /// When the caller will have gone.
    pub deadline: Option<Instant>,
    /// Whether a full queue may refuse it.
    pub admission: Admission,
    /// What is to be run and who is to be told.
    pub item: T,
}

impl<T> Entry<T> {
    pub fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }
}

/// What entries must have in common to share a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    /// Which inputs and outputs of the graph.
    pub graph_side: u8,
    /// Prompts of much different length would be padding for the most part.
    pub bucket: usize,
}

/// Whether work may be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is new.
    Asked,
    /// It goes on with what was let in: the next part of a batch, the next token of a text.
    Given,
}

/// What one run may hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub rows: usize,
    /// Tokens with padding.
    pub tokens: usize,
    /// Where shapes are rounded up: the most tokens of a prompt that the network reads.
    pub fixed_shapes: Option<usize>,
}

impl Limits {
    /// Whether a run may have so many prompts, the longest of so many tokens.
    pub fn allow(&self, rows: usize, tokens: usize) -> bool {
        let padded = match self.fixed_shapes {
            Some(most) => fixed_rows(rows) * fixed_length(tokens, most),
            None => rows * tokens,
        };
        rows <= self.rows && padded <= self.tokens
    }
}

/// What becomes of an entry that arrives.
#[derive(Debug)]
pub(super) enum Arrival<T> {
    /// The slot is the caller's, and nobody else waits.
    Lead(usize, Entry<T>),
    /// It waits.
    Waits,
    /// The queue is full; so many prompts wait.
    Overloaded(Entry<T>, usize),
    /// The queue is closed.
    Closed(Entry<T>),
}

/// A run is not cut below this many prompts to keep another session busy: smaller ones cost more a prompt.
pub(super) const FAIR_ROWS: usize = 8;

/// The waiting entries and the free slots.
#[derive(Debug, Clone)]
pub(super) struct Queue<T> {
    waiting: VecDeque<Entry<T>>,
    rows: usize,
    slots: usize,
    free: Vec<usize>,
    /// Whether who finds a slot free waits for more.
    gathers: bool,
    /// Kinds that a leader waits for.
    gathering: Vec<Kind>,
    limit: usize,
    closed: bool,
}

impl<T> Queue<T> {
    /// A queue before `slots` sessions that lets `limit` prompts wait. `gathers`: a caller that finds a slot free waits for more before it
    /// runs.
    pub fn new(slots: usize, limit: usize, gathers: bool) -> Self {
        let free = (0..slots).rev().collect();
        Self { waiting: VecDeque::new(), rows: 0, slots, free, gathers, gathering: vec![], limit, closed: false }
    }

    /// Takes in an entry. Where it leads and the queue gathers, entries of its kind wait for it from now on, until
    /// [`end_gathering`](Self::end_gathering).
    pub fn arrive(&mut self, entry: Entry<T>) -> Arrival<T> {
        if self.closed {
            return Arrival::Closed(entry);
        }
        if !self.gathering.contains(&entry.kind)
            && let Some(slot) = self.free.pop()
        {
            if self.gathers {
                self.gathering.push(entry.kind);
            }
            return Arrival::Lead(slot, entry);
        }
        if entry.admission == Admission::Asked && self.is_full() {
            return Arrival::Overloaded(entry, self.rows);
        }
        self.rows += entry.rows;
        self.waiting.push_back(entry);
        Arrival::Waits
    }

    /// Whether as many prompts wait as may. Until then a batch of any size is taken: it could not be had in smaller pieces.
    pub fn is_full(&self) -> bool {
        self.rows >= self.limit
    }

    /// Ends a run: the slot is free. [`next`](Self::next) says who gets it.
    pub fn finish(&mut self, slot: usize) {
        self.free.push(slot);
    }

    /// A free slot and the entry that gets it, which has left the queue; to be asked until there is none.
    pub fn next(&mut self, now: Instant, expired: &mut Vec<Entry<T>>) -> Option<(usize, Entry<T>)> {
        if self.free.is_empty() || self.waiting.is_empty() {
            return None;
        }
        self.expire(now, expired);
        let place = self.waiting.iter().position(|entry| !self.gathering.contains(&entry.kind))?;
        let head = self.take(place)?;
        self.free.pop().map(|slot| (slot, head))
    }

    /// The leader has waited long enough. Of what it leaves, [`next`](Self::next) has to be asked.
    pub fn end_gathering(&mut self, kind: Kind) {
        if let Some(place) = self.gathering.iter().position(|one| *one == kind) {
            self.gathering.swap_remove(place);
        }
    }

    /// Takes what may run together with `head`, oldest first, and leaves other sessions their share.
    pub fn gather(
        &mut self,
        head: &Entry<T>,
        limits: Limits,
        now: Instant,
        expired: &mut Vec<Entry<T>>,
    ) -> Vec<Entry<T>> {
        self.expire(now, expired);
        let (mut rows, mut tokens) = (head.rows, head.tokens);
        let share = (rows + self.rows).div_ceil(self.slots).max(FAIR_ROWS).min(limits.rows);
        let mut batch = Vec::new();
        let mut place = 0;
        while place < self.waiting.len() && rows < share {
            let entry = &self.waiting[place];
            if entry.kind == head.kind && limits.allow(rows + entry.rows, tokens.max(entry.tokens)) {
                (rows, tokens) = (rows + entry.rows, tokens.max(entry.tokens));
                batch.extend(self.take(place));
            } else {
                place += 1;
            }
        }
        batch
    }

    /// Takes an entry out whose caller has gone; `None` if it has left the queue already.
    pub fn withdraw(&mut self, id: u64) -> Option<Entry<T>> {
        let place = self.waiting.iter().position(|entry| entry.id == id)?;
        self.take(place)
    }

    /// Refuses whatever comes from now on; what waited is returned.
    pub fn close(&mut self) -> Vec<Entry<T>> {
        self.closed = true;
        self.rows = 0;
        self.waiting.drain(..).collect()
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Prompts that wait.
    pub fn rows(&self) -> usize {
        self.rows
    }

    fn expire(&mut self, now: Instant, expired: &mut Vec<Entry<T>>) {
        let mut place = 0;
        while place < self.waiting.len() {
            if self.waiting[place].deadline.is_some_and(|deadline| deadline <= now) {
                expired.extend(self.take(place));
            } else {
                place += 1;
            }
        }
    }

    fn take(&mut self, place: usize) -> Option<Entry<T>> {
        let entry = self.waiting.remove(place)?;
        self.rows -= entry.rows;
        Some(entry)
    }
}

/// The length up to which prompts share a run: 16, 24, 32, 48, 64, 96 and so on, so that at most a third is padding from 16 on.
pub(crate) fn bucket(tokens: usize) -> usize {
    let power = tokens.max(16).next_power_of_two();
    if tokens <= power / 4 * 3 && power > 16 { power / 4 * 3 } else { power }
}

/// Tokens of a fixed shape for prompts of so many, where the network reads at most `most`.
pub(crate) fn fixed_length(tokens: usize, most: usize) -> usize {
    bucket(tokens).min(most).max(tokens)
}

/// Rows of a fixed shape for so many prompts.
pub(crate) fn fixed_rows(rows: usize) -> usize {
    rows.next_power_of_two()
}

#[cfg(test)]
mod tests;
