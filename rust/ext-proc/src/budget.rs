//! One limit for the bytes that requests make the process hold.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bytes that may be held at a time. For several threads, without a lock that a fork could inherit.
///
/// ```
/// let budget = turnout_ext_proc::ByteBudget::new(100);
/// assert!(budget.take(60) && !budget.take(60));
/// budget.give_back(60);
/// assert_eq!(budget.used(), 0);
/// ```
#[derive(Debug)]
pub struct ByteBudget {
    limit: usize,
    used: AtomicUsize,
}

impl ByteBudget {
    /// A budget of so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Whether so many more may be held. Who gets a yes must give them back.
    pub fn take(&self, size: usize) -> bool {
        let more = |used: usize| used.checked_add(size).filter(|&sum| sum <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Releases bytes.
    pub fn give_back(&self, size: usize) {
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(size)));
    }

    /// Bytes that are held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Bytes that one request holds, released when it is dropped.
#[derive(Debug)]
pub struct Held {
    budget: Arc<ByteBudget>,
    size: usize,
}

impl Held {
    /// Nothing yet.
    pub fn new(budget: Arc<ByteBudget>) -> Self {
        Self { budget, size: 0 }
    }

    /// Whether so many more may be held.
    pub fn add(&mut self, size: usize) -> bool {
        let is_taken = self.budget.take(size);
        self.size += if is_taken { size } else { 0 };
        is_taken
    }

    /// Bytes that are held.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Another owner of the same bytes: this one keeps none.
    pub fn hand_over(&mut self) -> Self {
        Self { budget: Arc::clone(&self.budget), size: std::mem::take(&mut self.size) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.give_back(self.size);
    }
}
