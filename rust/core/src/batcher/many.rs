//! Batches of one caller: cut into runs of similar lengths, and put back in order.

use std::{
    ops::Range,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use super::{
    Admission, Batcher, lock,
    queue::{FAIR_ROWS, bucket},
    runner::{Request, Row, Runner},
};
use crate::{
    batch::in_shares,
    error::{Error, Result},
};

impl<R: Runner + 'static> Batcher<R> {
    /// The rows of many requests of one variant, in their order, on all sessions. Similar lengths share a run, and other callers get
    /// their turn between the runs. What is let in is run to its end, however many others come meanwhile, unless `stop` becomes true.
    pub(crate) fn run_many(
        &self,
        requests: Vec<Request>,
        deadline: Option<Instant>,
        admission: Admission,
        stop: &AtomicBool,
    ) -> Result<Vec<Row>> {
        let mut order: Vec<usize> = (0..requests.len()).collect();
        order.sort_by_key(|&row| requests[row].length());
        let parts = self.parts(&order.iter().map(|&row| requests[row].length()).collect::<Vec<_>>());
        if admission == Admission::Asked {
            let queue = lock(&self.0.queue);
            if queue.is_full() {
                return Err(self.0.overloaded(queue.rows()));
            }
        }
        let mut requests: Vec<Option<Request>> = requests.into_iter().map(Some).collect();
        let mut take = |part: &Range<usize>| {
            Mutex::new(order[part.clone()].iter().filter_map(|&row| requests[row].take()).collect::<Vec<_>>())
        };
        let entries: Vec<_> = parts.iter().map(&mut take).collect();
        let sessions = self.0.runners.len();
        let found = in_shares(entries.len(), 1, sessions.min(entries.len()), &mut None, |share| {
            let run = |part: usize| {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                let batch_rows = order[parts[part].clone()].to_vec();
                self.run_entry(std::mem::take(&mut *lock(&entries[part])), batch_rows, deadline, Admission::Given)
            };
            share.map(run).collect::<Result<Vec<_>>>().map(|rows| rows.concat())
        })?;
        let mut rows = vec![Row::new(); order.len()];
        for (&row, found) in order.iter().zip(found) {
            rows[row] = found;
        }
        Ok(rows)
    }

    /// Cuts requests of these lengths, which never fall, into the parts that run at once.
    fn parts(&self, lengths: &[usize]) -> Vec<Range<usize>> {
        let share = lengths.len().div_ceil(self.0.runners.len()).max(FAIR_ROWS);
        let most = share.min(self.0.limits.rows).min(self.0.max_queue);
        let mut parts = Vec::new();
        let mut start = 0;
        while start < lengths.len() {
            let longest = bucket(lengths[start]);
            let fits = |end: &usize| {
                let length = lengths[end - 1];
                end - start <= most && length <= longest && self.0.limits.allow(end - start, length)
            };
            let end = (start + 1..=lengths.len()).take_while(fits).last().unwrap_or(start + 1);
            parts.push(start..end);
            start = end;
        }
        parts
    }
}
