//! What the caller does that holds a session: it gathers a batch, runs it, hands the session over and tells the others.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::{
    Job, Shared, Start, exceeded, lock,
    queue::{Entry, Queue},
    reply::{Reply, State},
    runner::{Request, Row, Runner},
    split,
};
use crate::error::{Error, Result, StopReason};

type Guard<'q> = MutexGuard<'q, Queue<Job>>;

impl<R: Runner + 'static> Shared<R> {
    /// Runs the next batch of a slot, hands the slot over, tells the others of the batch and returns the rows of `head`.
    pub(super) fn lead(self: &Arc<Self>, slot: usize, mut head: Entry<Job>, start: Start) -> Result<Vec<Row>> {
        let own = std::mem::replace(&mut head.item.reply, Reply::Own);
        drop(own);
        let waits = start != Start::Appointed && !self.max_wait.is_zero();
        let followers = if start == Start::Inline && !waits { Some(vec![]) } else { self.gather(&head, waits) };
        let Some(followers) = followers else {
            self.hand_over(slot);
            return Err(exceeded());
        };
        let entries = std::iter::once(&head).chain(&followers);
        let batch: Vec<&Request> = entries.flat_map(|entry| &entry.item.requests).collect();
        let mut rows = self.run(slot, &batch).into_iter();
        self.hand_over(slot);
        // Every row of an entry is taken, also after one that failed: the next entry's rows follow.
        let mut of = |entry: &Entry<Job>| {
            let rows: Vec<Result<Row>> = rows.by_ref().take(entry.rows).collect();
            let in_batch = |(place, row): (usize, Result<Row>)| match entry.item.batch_rows.get(place) {
                Some(&place) => row.map_err(|error| error.of_row(place)),
                None => row,
            };
            rows.into_iter().enumerate().map(in_batch).collect::<Result<Vec<Row>>>()
        };
        let own = of(&head);
        // Those that sleep are woken first: a callback may take its time.
        let mut callbacks = Vec::new();
        for entry in followers {
            let rows = of(&entry);
            match entry.item.reply {
                reply @ Reply::Callback(_) => callbacks.push((reply, rows)),
                reply => reply.tell(rows),
            }
        }
        callbacks.into_iter().for_each(|(reply, rows)| reply.tell(rows));
        own
    }

    /// Takes what shares the run of `head`, once more prompts have come or the time for them is over where it `waits`; `None` if the
    /// caller's deadline passed meanwhile. What is left goes to sessions that are free.
    fn gather(self: &Arc<Self>, head: &Entry<Job>, waits: bool) -> Option<Vec<Entry<Job>>> {
        let mut queue = lock(&self.queue);
        if waits {
            queue = self.wait_for_more(queue, head);
            queue.end_gathering(head.kind);
            if head.is_late() {
                return None;
            }
        }
        let mut expired = Vec::new();
        let batch = queue.gather(head, self.limits, Instant::now(), &mut expired);
        self.appoint(queue, expired);
        Some(batch)
    }

    fn wait_for_more<'q>(&self, mut queue: Guard<'q>, head: &Entry<Job>) -> Guard<'q> {
        let until = Instant::now() + self.max_wait;
        let until = head.deadline.map_or(until, |deadline| deadline.min(until));
        while !queue.is_closed() && head.rows + queue.rows() < self.limits.rows {
            let now = Instant::now();
            if now >= until {
                break;
            }
            queue = self.arrived.wait_timeout(queue, until - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue
    }

    /// Runs a batch on the runner of a slot; a panic costs the runner, and the callers of this batch an error.
    fn run(&self, slot: usize, batch: &[&Request]) -> Vec<Result<Row>> {
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            let runner = lock(&self.runners[slot]).take();
            let mut runner = runner.map_or_else(|| (self.restart)(slot), Ok)?;
            let rows = split::run(&mut runner, batch);
            *lock(&self.runners[slot]) = Some(runner);
            Ok(rows)
        }));
        let error = match attempt {
            Ok(Ok(rows)) => return rows,
            Ok(Err(error)) => error,
            Err(_) => Error::WorkerStopped(StopReason::Panicked),
        };
        vec![Err(error); batch.len()]
    }

    fn hand_over(self: &Arc<Self>, slot: usize) {
        let mut queue = lock(&self.queue);
        queue.finish(slot);
        self.appoint(queue, vec![]);
    }

    /// Gives free sessions to those that wait, and tells those that waited too long.
    fn appoint(self: &Arc<Self>, mut queue: Guard<'_>, mut expired: Vec<Entry<Job>>) {
        let mut callers = Vec::new();
        while let Some((slot, mut head)) = queue.next(Instant::now(), &mut expired) {
            match std::mem::replace(&mut head.item.reply, Reply::Own) {
                // Under the queue's lock: a caller whose deadline passes must find either its entry or its appointment.
                Reply::Ticket(ticket) => ticket.set(State::Lead(slot, head)),
                reply => {
                    head.item.reply = reply;
                    callers.push((slot, head));
                }
            }
        }
        drop(queue);
        callers.into_iter().for_each(|(slot, head)| Self::lead_on_a_thread(self, slot, head, Start::Appointed));
        expired.into_iter().for_each(|entry| entry.item.reply.tell(Err(exceeded())));
    }

    /// Runs a batch for a caller that left a callback. The thread ends with it, so none is left behind by a fork.
    pub(super) fn lead_on_a_thread(self: &Arc<Self>, slot: usize, mut head: Entry<Job>, start: Start) {
        let shared = self.clone();
        let Reply::Callback(callback) = std::mem::replace(&mut head.item.reply, Reply::Own) else { return };
        let work = Arc::new(Mutex::new(Some((head, callback))));
        let task = {
            let work = work.clone();
            move || {
                let taken = lock(&work).take();
                if let Some((head, callback)) = taken {
                    let rows = Self::lead(&shared, slot, head, start);
                    Reply::Callback(callback).tell(rows);
                }
            }
        };
        // Without a thread, the caller runs the batch itself, later than it should.
        if std::thread::Builder::new().name("turnout-batch".into()).spawn(task.clone()).is_err() {
            task();
        }
    }
}
