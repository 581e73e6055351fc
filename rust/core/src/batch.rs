//! Spreads a batch over threads.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::error::{Error, Result};

/// Calls `work` for ranges of `share` items until `count` are done, on up to `threads` threads, and puts the results in order.
pub(crate) fn in_shares(
    count: usize,
    share: usize,
    threads: usize,
    work: impl Fn(Range<usize>) -> Result<Vec<f32>> + Sync,
) -> Result<Vec<f32>> {
    if threads <= 1 {
        let mut results = Vec::with_capacity(count);
        for start in (0..count).step_by(share) {
            results.extend(work(start..count.min(start + share))?);
        }
        return Ok(results);
    }
    // Threads live for this call only: a pool would not survive a fork of the host process.
    let next = AtomicUsize::new(0);
    let take = || -> Result<Vec<(usize, Vec<f32>)>> {
        let mut done = Vec::new();
        loop {
            let start = next.fetch_add(share, Ordering::Relaxed);
            if start >= count {
                return Ok(done);
            }
            done.push((start, work(start..count.min(start + share))?));
        }
    };
    let shares = std::thread::scope(|scope| {
        let spawn = || std::thread::Builder::new().name("turnout-batch".into()).spawn_scoped(scope, take);
        // A thread that cannot be had costs time, not answers: the shares go to the others.
        let helpers: Vec<_> = (1..threads).map_while(|_| spawn().ok()).collect();
        let mut shares = take()?;
        for helper in helpers {
            shares.extend(helper.join().map_err(|_| Error::Inference("a batch thread panicked".into()))??);
        }
        Ok::<_, Error>(shares)
    })?;
    let mut results = vec![0.0; count];
    for (start, share) in shares {
        results[start..start + share.len()].copy_from_slice(&share);
    }
    Ok(results)
}
