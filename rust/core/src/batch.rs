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

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, thread::sleep};

    use super::*;
    use crate::interrupt::CHECK_EVERY;

    #[test]
    fn a_call_is_checked_between_shares_and_begins_none_after_its_end() {
        for threads in [1, 4] {
            let (begun, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
            let late = AtomicUsize::new(0);
            let mut checks = 0;
            let mut ask = || {
                checks += 1;
                if checks < 3 {
                    return Ok(());
                }
                ended.store(true, Ordering::SeqCst);
                Err(Error::Interrupted)
            };
            let found = in_shares(1000, 1, threads, &mut Some(Interrupt::new(&mut ask)), |range| {
                late.fetch_add(usize::from(ended.load(Ordering::SeqCst)), Ordering::SeqCst);
                begun.fetch_add(1, Ordering::SeqCst);
                sleep(CHECK_EVERY);
                Ok(range.collect())
            });
            assert!(matches!(found, Err(Error::Interrupted)), "{found:?}");
            assert_eq!(checks, 3);
            if threads == 1 {
                assert_eq!(begun.load(Ordering::SeqCst), 3, "a check after every share that takes so long");
            }
            // Other threads may take a share before they can see the end.
            assert!(late.load(Ordering::SeqCst) <= 100, "{late:?} of 1,000 shares after the end");
        }
    }
}
