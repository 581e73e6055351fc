//! The batcher with threads and a runner that tells what it was asked.

use std::{
    sync::{
        atomic::{AtomicBool, AtomicUsize},
        mpsc,
    },
    thread,
};

use super::{
    Admission::{Asked, Given},
    *,
};

/// Answers the first id of each prompt; id 13 panics, id 7 fails. Counts what runs.
#[derive(Clone, Default)]
struct Echo {
    runs: Arc<Mutex<Vec<usize>>>,
    at_work: Arc<AtomicUsize>,
    pause: Duration,
    /// Runs go on while this is set.
    is_held: Arc<AtomicBool>,
}

impl Runner for Echo {
    fn run(&mut self, batch: &[&Request]) -> std::result::Result<Vec<Row>, RunError> {
        assert_eq!(self.at_work.fetch_add(1, Ordering::SeqCst), 0, "two runs of one session at once");
        lock(&self.runs).push(batch.len());
        thread::sleep(self.pause);
        until(|| !self.is_held.load(Ordering::SeqCst));
        self.at_work.fetch_sub(1, Ordering::SeqCst);
        let first = |request: &&Request| match request {
            Request::Scores(ids) => ids.first().copied().unwrap_or_default(),
            _ => 0,
        };
        assert!(!batch.iter().any(|request| first(request) == 13), "unlucky");
        if batch.iter().any(|request| first(request) == 7) {
            return Err(RunError::Failed(Error::inference("seven")));
        }
        Ok(batch.iter().map(|request| vec![first(request) as f32]).collect())
    }
}

fn batcher(echo: &Echo, config: BatchConfig) -> Batcher<Echo> {
    let fresh = echo.clone();
    Batcher::new(vec![echo.clone()], &config, None, Box::new(move |_| Ok(fresh.clone())))
}

/// Nobody ends the call.
static RUNS_ON: AtomicBool = AtomicBool::new(false);

fn ask(id: u32) -> Request {
    Request::scores(vec![id])
}

fn slow(milliseconds: u64) -> Echo {
    Echo { pause: Duration::from_millis(milliseconds), ..Echo::default() }
}

/// Its runs go on until they are released.
fn held() -> Echo {
    Echo { is_held: Arc::new(AtomicBool::new(true)), ..Echo::default() }
}

fn release(echo: &Echo) {
    echo.is_held.store(false, Ordering::SeqCst);
}

/// Waits for something that other threads do.
fn until(holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !holds() {
        assert!(Instant::now() < end, "not within 30 seconds");
        thread::yield_now();
    }
}

/// Waits until so many prompts are in the queue.
fn until_waiting(batcher: &Batcher<Echo>, rows: usize) {
    until(|| lock(&batcher.0.queue).rows() >= rows);
}

fn until_running(echo: &Echo, runs: usize) {
    until(|| lock(&echo.runs).len() >= runs);
}

#[test]
fn a_caller_alone_runs_at_once() {
    let echo = Echo::default();
    let batcher = batcher(&echo, BatchConfig::default());
    assert_eq!(batcher.run(ask(3), None, Asked).unwrap(), [3.0]);
    assert_eq!(*lock(&echo.runs), [1]);
}

#[test]
fn what_arrives_during_a_run_forms_the_next_batch() {
    let echo = held();
    let batcher = batcher(&echo, BatchConfig::default());
    thread::scope(|scope| {
        let first = scope.spawn(|| batcher.run(ask(1), None, Asked).unwrap());
        until_running(&echo, 1);
        let others: Vec<_> = (20..26)
            .map(|id| {
                scope.spawn({
                    let batcher = &batcher;
                    move || batcher.run(ask(id), None, Asked).unwrap()
                })
            })
            .collect();
        until_waiting(&batcher, 6);
        release(&echo);
        assert_eq!(first.join().unwrap(), [1.0]);
        let rows: Vec<Row> = others.into_iter().map(|other| other.join().unwrap()).collect();
        assert_eq!(rows, (20..26).map(|id| vec![id as f32]).collect::<Vec<_>>());
    });
    assert_eq!(lock(&echo.runs).iter().sum::<usize>(), 7);
    assert!(lock(&echo.runs).len() <= 4, "{:?}", lock(&echo.runs));
}

#[test]
fn many_requests_come_back_in_their_order() {
    let echo = Echo::default();
    let batcher = batcher(&echo, BatchConfig { max_rows: 8, max_tokens: 100, ..BatchConfig::default() });
    let requests: Vec<Request> = (0..50).map(|n| Request::scores(vec![100 + n; 1 + (n as usize * 7) % 60])).collect();
    let rows = batcher.run_many(requests, None, Asked, &RUNS_ON).unwrap();
    assert_eq!(rows, (0..50).map(|n| vec![(100 + n) as f32]).collect::<Vec<_>>());
    assert!(lock(&echo.runs).iter().all(|&rows| rows <= 8));
    assert!(batcher.run_many(vec![], None, Asked, &RUNS_ON).unwrap().is_empty());
}

#[test]
fn a_full_queue_says_so_at_once() {
    let echo = held();
    let batcher = batcher(&echo, BatchConfig { max_queue: 2, ..BatchConfig::default() });
    thread::scope(|scope| {
        scope.spawn(|| batcher.run(ask(1), None, Asked).unwrap());
        until_running(&echo, 1);
        for id in 2..4 {
            scope.spawn({
                let batcher = &batcher;
                move || batcher.run(ask(id), None, Asked).unwrap()
            });
        }
        until_waiting(&batcher, 2);
        let refused = batcher.run(ask(5), None, Asked).unwrap_err();
        assert!(matches!(&refused, Error::Overloaded { waiting: 2, limit: 2 }), "{refused:?}");
        release(&echo);
    });
}

#[test]
fn a_deadline_takes_no_place_in_a_batch() {
    let echo = held();
    let batcher = batcher(&echo, BatchConfig::default());
    let past = batcher.run(ask(1), Some(Instant::now()), Asked).unwrap_err();
    assert!(matches!(past, Error::DeadlineExceeded));
    thread::scope(|scope| {
        scope.spawn(|| batcher.run(ask(1), None, Asked).unwrap());
        until_running(&echo, 1);
        let soon = Some(Instant::now() + Duration::from_millis(5));
        assert!(matches!(batcher.run(ask(2), soon, Asked).unwrap_err(), Error::DeadlineExceeded));
        release(&echo);
    });
    assert_eq!(*lock(&echo.runs), [1]);
    let later = Some(Instant::now() + Duration::from_secs(60));
    assert_eq!(batcher.run(ask(2), later, Asked).unwrap(), [2.0]);
}

#[test]
fn a_panic_is_an_error_for_its_batch_and_a_restart_for_the_next() {
    let echo = Echo::default();
    let batcher = batcher(&echo, BatchConfig::default());
    assert!(matches!(batcher.run(ask(13), None, Asked).unwrap_err(), Error::WorkerStopped(_)));
    assert_eq!(batcher.run(ask(2), None, Asked).unwrap(), [2.0]);
    assert!(matches!(batcher.run(ask(7), None, Asked).unwrap_err(), Error::Inference { .. }));
    assert_eq!(batcher.run(ask(3), None, Asked).unwrap(), [3.0]);
}

#[test]
fn a_restart_that_fails_is_tried_again_by_the_next() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = attempts.clone();
    let restart = move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => Err(Error::engine(None, "not yet")),
        _ => Ok(Echo::default()),
    };
    let batcher = Batcher::new(vec![Echo::default()], &BatchConfig::default(), None, Box::new(restart));
    assert!(batcher.run(ask(13), None, Asked).is_err());
    assert!(matches!(batcher.run(ask(1), None, Asked).unwrap_err(), Error::Engine { .. }));
    assert_eq!(batcher.run(ask(1), None, Asked).unwrap(), [1.0]);
}

#[test]
fn closing_wakes_everyone_and_refuses_the_rest() {
    let echo = held();
    let batcher = batcher(&echo, BatchConfig::default());
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        let running = scope.spawn(|| batcher.run(ask(1), None, Asked));
        until_running(&echo, 1);
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| batcher.run(ask(2), None, Asked))).collect();
        batcher.submit(ask(4), None, Asked, move |row| sender.send(row).unwrap());
        until_waiting(&batcher, 4);
        batcher.close();
        for caller in waiting {
            assert!(matches!(caller.join().unwrap().unwrap_err(), Error::WorkerStopped(_)));
        }
        assert!(matches!(receiver.recv().unwrap().unwrap_err(), Error::WorkerStopped(_)));
        release(&echo);
        assert_eq!(running.join().unwrap().unwrap(), [1.0]);
    });
    assert!(matches!(batcher.run(ask(1), None, Asked).unwrap_err(), Error::WorkerStopped(_)));
}

#[test]
fn callbacks_and_threads_share_the_queue() {
    let echo = slow(20);
    let batcher = batcher(&echo, BatchConfig::default());
    let (sender, receiver) = mpsc::channel();
    for id in 30..40 {
        let sender = sender.clone();
        batcher.submit(ask(id), None, Asked, move |row| sender.send((id, row.unwrap())).unwrap());
    }
    assert_eq!(batcher.run(ask(2), None, Asked).unwrap(), [2.0]);
    let mut told: Vec<_> = receiver.iter().take(10).collect();
    told.sort_by_key(|(id, _)| *id);
    assert_eq!(told, (30..40).map(|id| (id, vec![id as f32])).collect::<Vec<_>>());
    assert!(lock(&echo.runs).len() < 11, "{:?}", lock(&echo.runs));
}

#[test]
fn a_withdrawn_request_is_not_run() {
    let echo = held();
    let batcher = batcher(&echo, BatchConfig::default());
    thread::scope(|scope| {
        scope.spawn(|| batcher.run(ask(1), None, Asked).unwrap());
        until_running(&echo, 1);
        let id = batcher.submit(ask(2), None, Asked, |_| panic!("nobody waits for this"));
        batcher.withdraw(id);
        batcher.withdraw(id);
        release(&echo);
    });
    assert_eq!(batcher.run(ask(3), None, Asked).unwrap(), [3.0]);
    assert_eq!(*lock(&echo.runs), [1, 1]);
}

#[test]
fn a_free_session_waits_for_more_where_it_is_told_to() {
    let echo = Echo::default();
    let config = BatchConfig { max_wait_us: 10_000_000, max_rows: 4, ..BatchConfig::default() };
    let batcher = batcher(&echo, config);
    thread::scope(|scope| {
        for id in 1..5 {
            scope.spawn({
                let batcher = &batcher;
                move || batcher.run(ask(id), None, Asked).unwrap()
            });
        }
    });
    // The fourth arrival fills the batch; the ten seconds are never waited for.
    assert_eq!(*lock(&echo.runs), [4]);
}

#[test]
fn several_sessions_serve_one_queue() {
    let (first, second) = (held(), held());
    let fresh = first.clone();
    let sessions = vec![first.clone(), second.clone()];
    let batcher = Batcher::new(sessions, &BatchConfig::default(), None, Box::new(move |_| Ok(fresh.clone())));
    thread::scope(|scope| {
        for id in 20..24 {
            scope.spawn({
                let batcher = &batcher;
                move || assert_eq!(batcher.run(ask(id), None, Asked).unwrap(), [id as f32])
            });
        }
        for echo in [&first, &second] {
            until_running(echo, 1);
        }
        release(&first);
        release(&second);
    });
    assert_eq!(lock(&first.runs).iter().sum::<usize>() + lock(&second.runs).iter().sum::<usize>(), 4);
    assert!(!lock(&first.runs).is_empty() && !lock(&second.runs).is_empty());
}

#[test]
fn an_error_of_some_rows_moves_no_other_rows() {
    /// Has no room for more than four rows, nor for those of a batch with id 7.
    struct Small(Echo);
    impl Runner for Small {
        fn run(&mut self, batch: &[&Request]) -> std::result::Result<Vec<Row>, RunError> {
            if batch.len() > 4 || batch.contains(&&ask(7)) {
                return Err(RunError::OutOfMemory("no room".into()));
            }
            self.0.run(batch)
        }
    }
    let batcher = Batcher::new(
        vec![Small(Echo::default())],
        &BatchConfig::default(),
        None,
        Box::new(|_| Ok(Small(Echo::default()))),
    );
    let (sender, receiver) = mpsc::channel();
    let entry = |requests: Vec<Request>, caller: u32| {
        let sender = sender.clone();
        let told = move |rows: Result<Vec<Row>>| sender.send((caller, rows.ok())).unwrap();
        batcher.0.entry(requests, None, Asked, Reply::Callback(Box::new(told)))
    };
    let head = batcher.0.entry(vec![ask(7), ask(2), ask(3)], None, Asked, Reply::Own);
    let Arrival::Lead(0, head) = lock(&batcher.0.queue).arrive(head) else { panic!("the session was free") };
    for (id, caller) in [(4, 0), (5, 1), (6, 2)] {
        lock(&batcher.0.queue).arrive(entry(vec![ask(id)], caller));
    }
    assert!(Shared::lead(&batcher.0, 0, head, Start::Appointed).is_err());
    let told: Vec<_> = receiver.iter().take(3).collect();
    assert_eq!(told, [4.0, 5.0, 6.0].into_iter().zip(0..).map(|(id, n)| (n, Some(vec![vec![id]]))).collect::<Vec<_>>());
}

#[test]
fn waiting_for_more_ends_with_the_callers_deadline() {
    let config = BatchConfig { max_wait_us: 20_000_000, ..BatchConfig::default() };
    let echo = Echo::default();
    let batcher = batcher(&echo, config);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let soon = Some(Instant::now() + Duration::from_millis(5));
            sender.send(batcher.run(ask(1), soon, Asked)).unwrap();
        });
        let told = receiver.recv_timeout(Duration::from_secs(10)).expect("long before the wait is over");
        assert!(matches!(told.unwrap_err(), Error::DeadlineExceeded));
    });
    assert!(lock(&echo.runs).is_empty());
}

#[test]
fn sessions_that_are_free_leave_arrivals_to_the_one_that_waits() {
    let (first, second) = (Echo::default(), Echo::default());
    let fresh = first.clone();
    let config = BatchConfig { max_wait_us: 10_000_000, max_rows: 2, ..BatchConfig::default() };
    let sessions = vec![first.clone(), second.clone()];
    let batcher = Batcher::new(sessions, &config, None, Box::new(move |_| Ok(fresh.clone())));
    thread::scope(|scope| {
        for id in 20..22 {
            let batcher = &batcher;
            scope.spawn(move || assert_eq!(batcher.run(ask(id), None, Asked).unwrap(), [id as f32]));
        }
    });
    assert_eq!([lock(&first.runs).as_slice(), lock(&second.runs).as_slice()].concat(), [2]);
}

#[test]
fn many_requests_run_in_all_sessions() {
    let (first, second) = (slow(10), slow(10));
    let fresh = first.clone();
    let sessions = vec![first.clone(), second.clone()];
    let config = BatchConfig { max_rows: 4, ..BatchConfig::default() };
    let batcher = Batcher::new(sessions, &config, None, Box::new(move |_| Ok(fresh.clone())));
    let rows = batcher.run_many((20..52).map(ask).collect(), None, Asked, &RUNS_ON).unwrap();
    assert_eq!(rows, (20..52).map(|id| vec![id as f32]).collect::<Vec<_>>());
    assert!(lock(&first.runs).len() > 1 && lock(&second.runs).len() > 1);
    let failed = batcher.run_many((0..60).map(ask).collect(), None, Asked, &RUNS_ON).unwrap_err();
    assert!(matches!(failed, Error::Inference { .. } | Error::WorkerStopped(_)), "{failed:?}");
}

#[test]
fn a_batch_that_was_let_in_is_not_refused_between_its_runs() {
    let echo = held();
    let batcher = batcher(&echo, BatchConfig { max_queue: 1, max_rows: 1, ..BatchConfig::default() });
    thread::scope(|scope| {
        let many = scope.spawn(|| batcher.run_many(vec![ask(1), ask(2)], None, Asked, &RUNS_ON));
        until_running(&echo, 1);
        // One of them runs next, so two still wait when the second part comes.
        for id in 3..6 {
            batcher.submit(ask(id), None, Given, |_| ());
        }
        assert!(matches!(batcher.run_many(vec![ask(6)], None, Asked, &RUNS_ON).unwrap_err(), Error::Overloaded { .. }));
        release(&echo);
        assert_eq!(many.join().unwrap().unwrap(), [[1.0], [2.0]]);
    });
}

#[test]
fn a_submitted_request_may_have_a_deadline() {
    let echo = held();
    let batcher = batcher(&echo, BatchConfig::default());
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| batcher.run(ask(1), None, Asked).unwrap());
        until_running(&echo, 1);
        for deadline in [Instant::now(), Instant::now() + Duration::from_millis(5)] {
            let sender = sender.clone();
            batcher.submit(ask(2), Some(deadline), Asked, move |row| sender.send(row).unwrap());
        }
        thread::sleep(Duration::from_millis(10));
        release(&echo);
    });
    for row in receiver.iter().take(2) {
        assert!(matches!(row.unwrap_err(), Error::DeadlineExceeded));
    }
    assert_eq!(*lock(&echo.runs), [1]);
}

/// 64 callers of every sort for as long as `TURNOUT_SOAK_SECONDS` says: right answers or honest errors, and nobody hangs.
#[test]
fn a_soak_of_64_threads_with_random_cancellation() {
    let seconds = std::env::var("TURNOUT_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1.0);
    let echo = Echo { pause: Duration::from_micros(300), ..Echo::default() };
    let batcher = batcher(&echo, BatchConfig { max_queue: 40, max_rows: 16, ..BatchConfig::default() });
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    let (sender, receiver) = mpsc::channel::<(u32, Result<Row>)>();
    let submitted = AtomicUsize::new(0);
    thread::scope(|scope| {
        for seed in 0..64u64 {
            let (batcher, sender, submitted) = (&batcher, sender.clone(), &submitted);
            scope.spawn(move || {
                let mut state = seed * 7919 + 1;
                let mut random = move |below: u64| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state % below
                };
                while Instant::now() < end {
                    let id = 100 + random(1000) as u32;
                    let id = if random(500) == 0 { [7, 13][random(2) as usize] } else { id };
                    let request = Request::scores(vec![id; 1 + random(80) as usize]);
                    match random(4) {
                        0 => {
                            submitted.fetch_add(1, Ordering::SeqCst);
                            let place = batcher.submit(request, None, Asked, {
                                let sender = sender.clone();
                                move |row| drop(sender.send((id, row)))
                            });
                            if random(3) == 0 {
                                batcher.withdraw(place);
                            }
                        }
                        1 => {
                            let deadline = Some(Instant::now() + Duration::from_micros(random(1500)));
                            match batcher.run(request, deadline, Asked) {
                                Ok(row) => assert_eq!(row, [id as f32]),
                                Err(Error::Artifact { .. } | Error::Config { .. } | Error::Interrupted) => {
                                    panic!("no such error here")
                                }
                                Err(_) => {}
                            }
                        }
                        2 => {
                            drop(batcher.run_many(vec![request.clone(), ask(200), request], None, Asked, &RUNS_ON).map(
                                |rows| {
                                    assert_eq!(rows, [vec![id as f32], vec![200.0], vec![id as f32]]);
                                },
                            ))
                        }
                        _ => drop(batcher.run(request, None, Asked).map(|row| assert_eq!(row, [id as f32]))),
                    }
                }
            });
        }
    });
    drop(sender);
    let told = receiver.iter().inspect(|(id, row)| row.iter().for_each(|row| assert_eq!(*row, [*id as f32]))).count();
    assert!(told <= submitted.load(Ordering::SeqCst));
    // Nothing is left behind: the session is free again.
    assert_eq!(batcher.run(ask(5), None, Asked).unwrap(), [5.0]);
}

#[test]
fn a_batch_that_is_stopped_begins_no_further_run() {
    let echo = Echo { pause: Duration::from_millis(5), ..Echo::default() };
    let batcher = batcher(&echo, BatchConfig { max_rows: 1, ..BatchConfig::default() });
    let stop = AtomicBool::new(false);
    let found = thread::scope(|scope| {
        let many = scope.spawn(|| batcher.run_many((20..220).map(ask).collect(), None, Asked, &stop));
        while lock(&echo.runs).is_empty() {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        many.join().unwrap()
    });
    assert!(matches!(found, Err(Error::Interrupted)), "{found:?}");
    assert!(lock(&echo.runs).len() < 200);
    assert_eq!(batcher.run(ask(5), None, Asked).unwrap(), [5.0]);
}
