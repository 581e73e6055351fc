//! Submitted prompts and under which number each waits now: a text that is read on from is submitted again for every token.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What is under way. A number that is not here has ended or was withdrawn.
#[derive(Debug, Default)]
pub(super) struct FollowUps {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Waiting>>,
}

/// The latest run of a submission, by the tokens generated before it, and its number in the batcher's queue.
#[derive(Debug, Default, Clone, Copy)]
struct Waiting {
    place: usize,
    id: Option<u64>,
}

impl FollowUps {
    /// A new submission.
    pub(super) fn begin(&self) -> u64 {
        let submission = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(submission, Waiting::default());
        submission
    }

    /// Takes note of a run. The next one may have begun before: the number of a run that is over withdraws nothing.
    pub(super) fn waits_as(&self, submission: u64, place: usize, id: u64) {
        if let Some(waiting) = self.lock().get_mut(&submission).filter(|waiting| waiting.place <= place) {
            *waiting = Waiting { place, id: Some(id) };
        }
    }

    /// Whether anybody still waits for it.
    pub(super) fn goes_on(&self, submission: u64) -> bool {
        self.lock().contains_key(&submission)
    }

    /// Ends a submission; the number under which it waited last.
    pub(super) fn end(&self, submission: u64) -> Option<u64> {
        self.lock().remove(&submission)?.id
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waiting>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_run_is_the_one_to_withdraw() {
        let follow_ups = FollowUps::default();
        let (one, other) = (follow_ups.begin(), follow_ups.begin());
        follow_ups.waits_as(one, 0, 10);
        follow_ups.waits_as(one, 2, 30);
        // Told late, by a thread that was overtaken.
        follow_ups.waits_as(one, 1, 20);
        assert!(follow_ups.goes_on(one));
        assert_eq!(follow_ups.end(one), Some(30));
        assert!(!follow_ups.goes_on(one) && follow_ups.goes_on(other));
        follow_ups.waits_as(one, 3, 40);
        assert_eq!((follow_ups.end(one), follow_ups.end(other)), (None, None));
    }
}
