//! How a caller learns its rows: asleep on a ticket, or by a callback.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex},
};

use super::{Job, lock, queue::Entry, runner::Row};
use crate::error::Result;

/// Who is told the rows of an entry.
pub(super) type Callback = Box<dyn FnOnce(Result<Vec<Row>>) + Send>;

pub(super) enum Reply {
    /// The caller sleeps on its ticket.
    Ticket(Arc<Ticket>),
    /// The caller went on.
    Callback(Callback),
    /// The caller leads and has the rows in hand.
    Own,
}

#[derive(Default)]
pub(super) struct Ticket {
    pub(super) state: Mutex<State>,
    pub(super) woken: Condvar,
}

#[derive(Default)]
pub(super) enum State {
    #[default]
    Waiting,
    /// The slot is handed to this caller, and its entry with it.
    Lead(usize, Entry<Job>),
    Done(Result<Vec<Row>>),
}

impl Ticket {
    pub(super) fn set(&self, state: State) {
        *lock(&self.state) = state;
        self.woken.notify_one();
    }
}

impl Reply {
    /// Tells a caller that is not the leader. A callback that panics must not take the leader along.
    pub(super) fn tell(self, rows: Result<Vec<Row>>) {
        match self {
            Self::Ticket(ticket) => ticket.set(State::Done(rows)),
            Self::Callback(callback) => {
                let _ = catch_unwind(AssertUnwindSafe(|| callback(rows)));
            }
            Self::Own => {}
        }
    }
}
