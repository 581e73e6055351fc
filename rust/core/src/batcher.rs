//! Prompts of many callers share the runs of one session.
//!
//! There is no thread of our own. A caller that finds the session free runs its prompt itself, without a hand-off. What arrives
//! meanwhile waits and forms the next batch; the caller that ends a run hands the session to the one that has waited longest, which
//! runs the batch for all that fit ([`queue`] has the rules). No timer is involved unless `max_wait_us` asks for one.
//!
//! Callers that cannot wait on a thread (asyncio) leave a callback; a thread is started to run for them and ends with the batch.
//!
//! Performance notes: the free path takes the queue's lock twice and allocates one entry, some 0.2 us. A hand-over wakes one thread,
//! 10 to 20 us during which the session rests; it happens before any result is told, so that both go on at once.

mod leader;
mod many;
mod queue;
mod reply;
mod runner;
mod split;

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

pub(crate) use self::{
    queue::{Admission, fixed_length, fixed_rows},
    runner::{Request, Row, RunError, Runner},
};
use self::{
    queue::{Arrival, Entry, Kind, Limits, Queue, bucket},
    reply::{Reply, State, Ticket},
};
use crate::{
    config::BatchConfig,
    error::{Error, Result, StopReason},
};

/// Makes the runner of a slot anew, after a panic.
type Restart<R> = Box<dyn Fn(usize) -> Result<R> + Send + Sync>;

/// The sessions of a router and the queue before them.
pub(crate) struct Batcher<R: Runner + 'static>(Arc<Shared<R>>);

struct Shared<R> {
    queue: Mutex<Queue<Job>>,
    /// Told of arrivals, for a leader that waits for more of them.
    arrived: Condvar,
    /// A runner is taken by the leader of its slot; none is there after a panic, or after a run that lost the session.
    runners: Vec<Mutex<Option<R>>>,
    restart: Restart<R>,
    limits: Limits,
    max_queue: usize,
    max_wait: Duration,
    next_id: AtomicU64,
    /// Locks may be held for ever, and sessions lack their threads, in a process that this one forks.
    process: u32,
}

/// How a caller came to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// It found a session free and runs itself.
    Inline,
    /// It found a session free, and a thread was started for it.
    OnThread,
    /// It waited and was handed a session.
    Appointed,
}

struct Job {
    requests: Vec<Request>,
    /// Rows of the caller's batch that the requests are, for errors; none where the caller has one request.
    batch_rows: Vec<usize>,
    reply: Reply,
}

/// No invariant is broken where a lock is held, so a poisoned one is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn exceeded() -> Error {
    Error::DeadlineExceeded
}

fn closed() -> Error {
    Error::WorkerStopped(StopReason::Closed)
}

impl<R: Runner + 'static> std::fmt::Debug for Batcher<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batcher").field("sessions", &self.0.runners.len()).finish_non_exhaustive()
    }
}

impl<R: Runner + 'static> Drop for Batcher<R> {
    fn drop(&mut self) {
        self.close();
        if !self.is_of_this_process() {
            // A session that is ended without its threads crashes or hangs; the memory of a fork goes with it.
            std::mem::forget(self.0.clone());
        }
    }
}

impl<R: Runner + 'static> Batcher<R> {
    /// One queue before one runner or several. `restart` makes the runner of a slot anew after a panic. `fixed_shapes` is the most
    /// tokens of a prompt where runners round the shapes of runs up.
    pub(crate) fn new(runners: Vec<R>, config: &BatchConfig, fixed_shapes: Option<usize>, restart: Restart<R>) -> Self {
        Self(Arc::new(Shared {
            queue: Mutex::new(Queue::new(runners.len(), config.max_queue, config.max_wait_us > 0)),
            arrived: Condvar::new(),
            runners: runners.into_iter().map(|runner| Mutex::new(Some(runner))).collect(),
            restart,
            limits: Limits { rows: config.max_rows, tokens: config.max_tokens, fixed_shapes },
            max_queue: config.max_queue,
            max_wait: Duration::from_micros(config.max_wait_us),
            next_id: AtomicU64::new(0),
            process: std::process::id(),
        }))
    }

    /// Whether this is the process that opened the sessions, and no fork of it.
    pub(crate) fn is_of_this_process(&self) -> bool {
        std::process::id() == self.0.process
    }

    /// The row of one request.
    ///
    /// # Errors
    /// What the run gave; [`Error::Overloaded`], [`Error::DeadlineExceeded`] or [`Error::WorkerStopped`].
    pub(crate) fn run(&self, request: Request, deadline: Option<Instant>, admission: Admission) -> Result<Row> {
        let mut rows = self.run_entry(vec![request], vec![], deadline, admission)?;
        rows.pop().ok_or_else(|| Error::inference("the model gave no row"))
    }

    /// Leaves a request and goes on; `callback` is called once, on another thread, with its row or an error. Returns what
    /// [`withdraw`](Self::withdraw) takes.
    pub(crate) fn submit(
        &self,
        request: Request,
        deadline: Option<Instant>,
        admission: Admission,
        callback: impl FnOnce(Result<Row>) + Send + 'static,
    ) -> u64 {
        let callback = move |rows: Result<Vec<Row>>| {
            callback(rows.and_then(|mut rows| rows.pop().ok_or_else(|| Error::inference("the model gave no row"))));
        };
        let entry = self.0.entry(vec![request], deadline, admission, Reply::Callback(Box::new(callback)));
        let id = entry.id;
        if entry.is_late() {
            entry.item.reply.tell(Err(exceeded()));
        } else {
            self.0.submit(entry);
        }
        id
    }

    /// Forgets a submitted request whose caller has gone. Its callback is dropped if it still waited; a run is not interrupted.
    pub(crate) fn withdraw(&self, id: u64) {
        if !self.is_of_this_process() {
            return;
        }
        let entry = lock(&self.0.queue).withdraw(id);
        drop(entry);
    }

    /// Refuses new requests and wakes everyone that waits with an error. A run that goes on ends normally.
    pub(crate) fn close(&self) {
        if !self.is_of_this_process() {
            return;
        }
        let left = lock(&self.0.queue).close();
        self.0.arrived.notify_all();
        for entry in left {
            entry.item.reply.tell(Err(closed()));
        }
    }

    fn run_entry(
        &self,
        requests: Vec<Request>,
        batch_rows: Vec<usize>,
        deadline: Option<Instant>,
        admission: Admission,
    ) -> Result<Vec<Row>> {
        let ticket = Arc::new(Ticket::default());
        let mut entry = self.0.entry(requests, deadline, admission, Reply::Ticket(ticket.clone()));
        entry.item.batch_rows = batch_rows;
        let id = entry.id;
        if entry.is_late() {
            return Err(exceeded());
        }
        let arrival = lock(&self.0.queue).arrive(entry);
        match arrival {
            Arrival::Lead(slot, entry) => Shared::lead(&self.0, slot, entry, Start::Inline),
            Arrival::Waits => {
                self.0.tell_arrival();
                self.wait(id, &ticket, deadline)
            }
            Arrival::Overloaded(_, rows) => Err(self.0.overloaded(rows)),
            Arrival::Closed(_) => Err(closed()),
        }
    }

    fn wait(&self, id: u64, ticket: &Ticket, deadline: Option<Instant>) -> Result<Vec<Row>> {
        let mut state = lock(&ticket.state);
        loop {
            match std::mem::take(&mut *state) {
                State::Done(rows) => return rows,
                State::Lead(slot, entry) => {
                    drop(state);
                    return Shared::lead(&self.0, slot, entry, Start::Appointed);
                }
                State::Waiting => {}
            }
            let Some(deadline) = deadline else {
                state = ticket.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let now = Instant::now();
            if now < deadline {
                let waited = ticket.woken.wait_timeout(state, deadline - now);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            // The queue's lock comes before the ticket's: a leader is appointed under both.
            drop(state);
            let waited = lock(&self.0.queue).withdraw(id).is_some();
            state = lock(&ticket.state);
            // Out of the queue and still waiting, the prompt is in a run; its row will find nobody.
            if waited || matches!(*state, State::Waiting) {
                return Err(exceeded());
            }
        }
    }
}

impl<R: Runner + 'static> Shared<R> {
    fn entry(
        &self,
        requests: Vec<Request>,
        deadline: Option<Instant>,
        admission: Admission,
        reply: Reply,
    ) -> Entry<Job> {
        let tokens = requests.iter().map(Request::length).max().unwrap_or(1);
        let graph_side = requests.first().map_or(0, Request::graph_side);
        Entry {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            kind: Kind { graph_side, bucket: bucket(tokens) },
            rows: requests.len(),
            tokens,
            deadline,
            admission,
            item: Job { requests, batch_rows: vec![], reply },
        }
    }

    fn overloaded(&self, waiting: usize) -> Error {
        Error::Overloaded { waiting, limit: self.max_queue }
    }

    /// Wakes the leaders that wait for more prompts, if any do.
    fn tell_arrival(&self) {
        if !self.max_wait.is_zero() {
            self.arrived.notify_all();
        }
    }

    fn submit(self: &Arc<Self>, entry: Entry<Job>) {
        let arrival = lock(&self.queue).arrive(entry);
        match arrival {
            Arrival::Lead(slot, entry) => Self::lead_on_a_thread(self, slot, entry, Start::OnThread),
            Arrival::Waits => self.tell_arrival(),
            Arrival::Overloaded(entry, rows) => entry.item.reply.tell(Err(self.overloaded(rows))),
            Arrival::Closed(entry) => entry.item.reply.tell(Err(closed())),
        }
    }
}

#[cfg(test)]
mod tests;
