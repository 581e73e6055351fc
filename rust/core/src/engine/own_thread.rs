//! A session that is run by one thread only.
//!
//! ONNX Runtime keeps a captured CUDA graph in the context of the thread that captured it; on another thread the same run would be
//! captured again. Callers of the batcher run their batches themselves, so here they hand them to the one thread, for 10 to 20 us.

use std::{
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::{Builder, JoinHandle},
};

use crate::{
    batcher::{Request, Row, RunError, Runner},
    error::{Error, Result},
};

/// What the thread tells of a run: the rows, and whether the session is lost.
type Answer = (std::result::Result<Vec<Row>, RunError>, bool);

/// A runner on a thread of its own, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct OwnThread {
    /// Gone first, which ends the thread.
    batches: Option<SyncSender<Vec<Request>>>,
    answers: Receiver<Answer>,
    thread: Option<JoinHandle<()>>,
    lost: bool,
}

impl OwnThread {
    pub(super) fn new(mut runner: impl Runner + 'static) -> Result<Self> {
        let (batches, to_run) = sync_channel::<Vec<Request>>(1);
        let (to_tell, answers) = sync_channel(1);
        let serve = move || {
            for batch in to_run {
                let rows = runner.run(&batch.iter().collect::<Vec<_>>());
                if to_tell.send((rows, runner.is_lost())).is_err() {
                    return;
                }
            }
        };
        let thread = Builder::new().name("turnout-session".into()).spawn(serve);
        let thread =
            thread.map_err(|error| Error::Engine(format!("no thread could be started for a session: {error}")))?;
        Ok(Self { batches: Some(batches), answers, thread: Some(thread), lost: false })
    }
}

impl Runner for OwnThread {
    fn run(&mut self, batch: &[&Request]) -> std::result::Result<Vec<Row>, RunError> {
        let batch = batch.iter().map(|&request| request.clone()).collect();
        let sent = self.batches.as_ref().is_some_and(|batches| batches.send(batch).is_ok());
        match self.answers.recv() {
            Ok((rows, lost)) if sent => {
                self.lost = lost;
                rows
            }
            _ => {
                self.lost = true;
                let message = "the run panicked; the next one starts with a fresh session";
                Err(RunError::Failed(Error::WorkerStopped(message.into())))
            }
        }
    }

    fn is_lost(&self) -> bool {
        self.lost
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        self.batches = None;
        // A panic of the thread was told to the caller whose run it was.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            Arc, Mutex,
            atomic::{AtomicBool, Ordering},
        },
        thread::{self, ThreadId},
    };

    use super::*;

    /// Notes the thread of each run; no ids panic, id 7 fails and loses the session.
    struct Noting {
        threads: Arc<Mutex<Vec<ThreadId>>>,
        dropped: Arc<AtomicBool>,
        lost: bool,
    }

    impl Drop for Noting {
        fn drop(&mut self) {
            self.dropped.store(true, Ordering::SeqCst);
        }
    }

    impl Runner for Noting {
        fn run(&mut self, batch: &[&Request]) -> std::result::Result<Vec<Row>, RunError> {
            self.threads.lock().unwrap().push(thread::current().id());
            let first = |request: &&Request| match request {
                Request::Scores(ids) => ids[0] as f32,
                _ => 0.0,
            };
            if batch.iter().any(|request| first(request) == 7.0) {
                self.lost = true;
                return Err(RunError::Failed(Error::Inference("seven".into())));
            }
            Ok(batch.iter().map(|request| vec![first(request)]).collect())
        }

        fn is_lost(&self) -> bool {
            self.lost
        }
    }

    #[derive(Default)]
    struct Seen {
        threads: Arc<Mutex<Vec<ThreadId>>>,
        dropped: Arc<AtomicBool>,
    }

    fn session(seen: &Seen) -> OwnThread {
        let noting = Noting { threads: seen.threads.clone(), dropped: seen.dropped.clone(), lost: false };
        OwnThread::new(noting).unwrap()
    }

    #[test]
    fn callers_of_all_threads_run_on_one() {
        let seen = Seen::default();
        let session = Mutex::new(session(&seen));
        thread::scope(|scope| {
            for id in 20..28 {
                let session = &session;
                scope.spawn(move || {
                    let rows = session.lock().unwrap().run(&[&Request::scores(vec![id]), &Request::scores(vec![1])]);
                    assert_eq!(rows.unwrap(), [[id as f32], [1.0]]);
                });
            }
        });
        let threads = seen.threads.lock().unwrap();
        assert!(threads.len() == 8 && threads.iter().all(|one| *one == threads[0] && *one != thread::current().id()));
    }

    #[test]
    fn a_lost_session_is_told() {
        let mut session = session(&Seen::default());
        session.run(&[&Request::scores(vec![1])]).unwrap();
        assert!(!session.is_lost());
        assert!(matches!(session.run(&[&Request::scores(vec![7])]), Err(RunError::Failed(Error::Inference(_)))));
        assert!(session.is_lost());
    }

    #[test]
    fn a_panic_is_an_error_and_the_session_is_lost() {
        let mut session = session(&Seen::default());
        for _ in 0..2 {
            let told = session.run(&[&Request::scores(vec![])]);
            assert!(matches!(told, Err(RunError::Failed(Error::WorkerStopped(_)))));
            assert!(session.is_lost());
        }
    }

    #[test]
    fn the_thread_and_the_session_are_gone_after_the_drop() {
        let seen = Seen::default();
        let session = session(&seen);
        assert!(!seen.dropped.load(Ordering::SeqCst));
        drop(session);
        assert!(seen.dropped.load(Ordering::SeqCst));
    }
}
