//! Spreads a batch over threads.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    error::{Error, Result},
    interrupt::{self, Interrupt},
};

/// Calls `work` for ranges of `share` items until `count` are done, on up to `threads` threads, and puts the results in order. The
/// calling thread asks `interrupt` between its shares.
pub(crate) fn in_shares<T: Send>(
    count: usize,
    share: usize,
    threads: usize,
    interrupt: &mut Option<Interrupt<'_>>,
    work: impl Fn(Range<usize>) -> Result<Vec<T>> + Sync,
) -> Result<Vec<T>> {
    if threads <= 1 {
        let mut results = Vec::with_capacity(count);
        for start in (0..count).step_by(share) {
            interrupt::check(interrupt)?;
            results.extend(work(start..count.min(start + share))?);
        }
        return Ok(results);
    }
    // Threads live for this call only: a pool would not survive a fork of the host process.
    let next = AtomicUsize::new(0);
    let take = |interrupt: &mut Option<Interrupt<'_>>| -> Result<Vec<(usize, Vec<T>)>> {
        let mut done = Vec::new();
        loop {
            interrupt::check(interrupt).inspect_err(|_| next.store(count, Ordering::Relaxed))?;
            let start = next.fetch_add(share, Ordering::Relaxed);
            if start >= count {
                return Ok(done);
            }
            // After an error no thread begins another share.
            let results =
                work(start..count.min(start + share)).inspect_err(|_| next.store(count, Ordering::Relaxed))?;
            done.push((start, results));
        }
    };
    let mut shares = std::thread::scope(|scope| {
        let spawn = || std::thread::Builder::new().name("turnout-batch".into()).spawn_scoped(scope, || take(&mut None));
        // A thread that cannot be started costs time, not answers: its shares go to the others.
        let helpers: Vec<_> = (1..threads).map_while(|_| spawn().ok()).collect();
        let mut shares = take(interrupt)?;
        for helper in helpers {
            shares.extend(helper.join().map_err(|_| Error::inference("a batch thread panicked"))??);
        }
        Ok::<_, Error>(shares)
    })?;
    shares.sort_unstable_by_key(|(start, _)| *start);
    Ok(shares.into_iter().flat_map(|(_, results)| results).collect())
}
