//! The rules of the queue, and every order in which events can come.

use std::time::Duration;

use super::*;

const LIMITS: Limits = Limits { rows: 4, tokens: 100, fixed_shapes: None };

fn entry(id: u64, rows: usize, tokens: usize) -> Entry<()> {
    let kind = Kind { graph_side: 0, bucket: bucket(tokens) };
    Entry { id, kind, rows, tokens, deadline: None, admission: Admission::Asked, item: () }
}

fn ids(entries: &[Entry<()>]) -> Vec<u64> {
    entries.iter().map(|entry| entry.id).collect()
}

#[test]
fn buckets_hold_at_most_a_third_of_padding() {
    assert_eq!([1, 16, 17, 24, 25, 32, 33, 49, 500].map(bucket), [16, 16, 24, 24, 32, 32, 48, 64, 512]);
    for tokens in 16..5000 {
        assert!(tokens <= bucket(tokens) && bucket(tokens) * 2 <= tokens * 3, "{tokens}");
    }
}

#[test]
fn a_batch_leaves_other_sessions_their_share() {
    for (waiting, taken) in [(9, 7), (23, 11), (63, 31)] {
        let mut queue = Queue::new(2, 100, false);
        for id in 0..waiting + 2 {
            queue.arrive(entry(id, 1, 20));
        }
        let now = Instant::now();
        queue.finish(0);
        let head = queue.next(now, &mut vec![]).unwrap().1;
        let limits = Limits { rows: 64, tokens: 10_000, fixed_shapes: None };
        assert_eq!(queue.gather(&head, limits, now, &mut vec![]).len(), taken, "of {waiting}");
    }
}

#[test]
fn a_batch_is_cut_by_rows_padded_tokens_and_length() {
    let mut queue = Queue::new(1, 100, false);
    let Arrival::Lead(0, head) = queue.arrive(entry(0, 1, 20)) else { panic!("the slot was free") };
    for (id, rows, tokens) in [(1, 1, 24), (2, 1, 200), (3, 2, 18), (4, 1, 17), (5, 1, 17)] {
        assert!(matches!(queue.arrive(entry(id, rows, tokens)), Arrival::Waits));
    }
    let now = Instant::now();
    // 1 + 1 + 2 rows of 24 tokens are 96; the next would be a fifth row.
    assert_eq!(ids(&queue.gather(&head, LIMITS, now, &mut vec![])), [1, 3]);
    queue.finish(0);
    let head = queue.next(now, &mut vec![]).unwrap().1;
    assert_eq!((head.id, queue.gather(&head, LIMITS, now, &mut vec![]).len()), (2, 0));
    queue.finish(0);
    let head = queue.next(now, &mut vec![]).unwrap().1;
    assert_eq!((head.id, ids(&queue.gather(&head, LIMITS, now, &mut vec![]))), (4, vec![5]));
    queue.finish(0);
    assert!(queue.next(now, &mut vec![]).is_none());
}

#[test]
fn limits_count_the_padding_of_fixed_shapes() {
    let fixed = Limits { rows: 64, tokens: 16_384, fixed_shapes: Some(500) };
    assert!(fixed.allow(32, 500) && fixed.allow(40, 256), "64 x 256 are the limit");
    assert!(!fixed.allow(33, 385), "which run as 64 x 500");
    assert!(Limits { fixed_shapes: None, ..fixed }.allow(33, 385));
}

#[test]
fn what_goes_on_with_what_was_let_in_is_not_refused() {
    let mut queue = Queue::new(1, 2, false);
    let Arrival::Lead(0, _) = queue.arrive(entry(0, 1, 20)) else { panic!("the slot was free") };
    assert!(matches!(queue.arrive(entry(1, 5, 20)), Arrival::Waits), "a batch of any size");
    assert!(queue.is_full() && matches!(queue.arrive(entry(2, 1, 20)), Arrival::Overloaded(_, 5)));
    assert!(matches!(queue.arrive(Entry { admission: Admission::Given, ..entry(3, 1, 20) }), Arrival::Waits));
}

#[test]
fn what_a_leader_gathers_waits_for_it_and_the_rest_does_not() {
    let mut queue = Queue::new(3, 100, true);
    let Arrival::Lead(0, head) = queue.arrive(entry(0, 1, 20)) else { panic!("the slot was free") };
    for id in 1..6 {
        assert!(matches!(queue.arrive(entry(id, 1, 20)), Arrival::Waits));
    }
    assert!(matches!(queue.arrive(entry(6, 1, 90)), Arrival::Lead(1, _)), "of another length");
    let now = Instant::now();
    assert!(queue.next(now, &mut vec![]).is_none(), "they are waited for");
    queue.end_gathering(head.kind);
    assert_eq!(ids(&queue.gather(&head, LIMITS, now, &mut vec![])), [1, 2, 3]);
    let (slot, next) = queue.next(now, &mut vec![]).unwrap();
    assert_eq!((slot, next.id), (2, 4));
    assert!(queue.next(now, &mut vec![]).is_none(), "no slot is free for the last");
}

/// Everything that can happen to four callers, two of them with deadlines, in every order: 1 or 2 sessions, a queue of 2.
#[test]
fn every_order_of_events_answers_every_caller_once() {
    #[derive(Clone)]
    struct World {
        queue: Queue<()>,
        leading: Vec<Option<Lead>>,
        /// Outcome of each caller: none yet, or how many times answered.
        answers: [u8; 4],
        arrived: [bool; 4],
        late: bool,
        steps: usize,
    }
    #[derive(Clone)]
    enum Lead {
        Gathers(Entry<()>),
        Runs(Vec<u64>),
    }
    let start = Instant::now();
    let later = start + Duration::from_secs(1);
    fn answer(world: &mut World, entries: &[Entry<()>]) {
        entries.iter().for_each(|entry| world.answers[entry.id as usize] += 1);
    }
    fn lead(world: &mut World, slot: usize, head: Entry<()>, now: Instant) {
        let mut expired = vec![];
        let mut batch = ids(&world.queue.gather(&head, LIMITS, now, &mut expired));
        answer(world, &expired);
        batch.push(head.id);
        assert!(world.leading[slot].replace(Lead::Runs(batch)).is_none(), "two leaders of one session");
    }
    fn appoint(world: &mut World, now: Instant) {
        let mut expired = vec![];
        while let Some((slot, head)) = world.queue.next(now, &mut expired) {
            lead(world, slot, head, now);
        }
        answer(world, &expired);
    }
    let mut seen = 0u64;
    let mut open = vec![];
    for (slots, gathers) in [(1, false), (2, false), (1, true), (2, true)] {
        open.push(World {
            queue: Queue::new(slots, 2, gathers),
            leading: vec![None; slots],
            answers: [0; 4],
            arrived: [false; 4],
            late: false,
            steps: 0,
        });
    }
    while let Some(world) = open.pop() {
        seen += 1;
        let now = if world.late { later } else { start };
        let free = world.leading.iter().filter(|batch| batch.is_none()).count();
        assert_eq!(free, world.queue.free.len());
        let is_gathered = |entry: &Entry<()>| world.queue.gathering.contains(&entry.kind);
        assert!(free == 0 || world.queue.waiting.iter().all(is_gathered), "a session is free while somebody waits");
        assert!(world.queue.rows() <= 2 && world.answers.iter().all(|&times| times <= 1));
        let waiting = |id: u64| world.queue.waiting.iter().any(|entry| entry.id == id);
        for id in 0..4u64 {
            let in_run = world.leading.iter().flatten().any(|lead| match lead {
                Lead::Gathers(head) => head.id == id,
                Lead::Runs(batch) => batch.contains(&id),
            });
            let places = u8::from(waiting(id)) + u8::from(in_run) + world.answers[id as usize];
            assert_eq!(places, u8::from(world.arrived[id as usize]), "caller {id} is lost or counted twice");
        }
        let mut moved = false;
        let mut go = |next: World| {
            moved = true;
            open.push(World { steps: next.steps + 1, ..next });
        };
        for id in (0..4u64).filter(|&id| !world.arrived[id as usize]) {
            let mut next = world.clone();
            next.arrived[id as usize] = true;
            let deadline = (id % 2 == 1).then_some(later);
            match next.queue.arrive(Entry { deadline, ..entry(id, 1, 20 + 20 * (id as usize / 2)) }) {
                Arrival::Lead(slot, head) if next.queue.gathers => next.leading[slot] = Some(Lead::Gathers(head)),
                Arrival::Lead(slot, head) => lead(&mut next, slot, head, now),
                Arrival::Waits => {}
                Arrival::Overloaded(..) | Arrival::Closed(_) => next.answers[id as usize] += 1,
            }
            go(next);
        }
        for slot in 0..world.leading.len() {
            let mut next = world.clone();
            match next.leading[slot].take() {
                Some(Lead::Runs(batch)) => {
                    batch.iter().for_each(|&id| next.answers[id as usize] += 1);
                    next.queue.finish(slot);
                }
                Some(Lead::Gathers(head)) => {
                    next.queue.end_gathering(head.kind);
                    if head.deadline.is_some_and(|deadline| deadline <= now) {
                        answer(&mut next, &[head]);
                        next.queue.finish(slot);
                    } else {
                        lead(&mut next, slot, head, now);
                    }
                }
                None => continue,
            }
            appoint(&mut next, now);
            go(next);
        }
        for id in (0..4u64).filter(|&id| waiting(id)) {
            let mut next = world.clone();
            let gone = next.queue.withdraw(id).unwrap();
            answer(&mut next, &[gone]);
            go(next);
        }
        if !world.late {
            go(World { late: true, ..world.clone() });
        }
        if !world.queue.is_closed() && world.steps < 4 {
            let mut next = world.clone();
            let left = next.queue.close();
            answer(&mut next, &left);
            go(next);
        }
        if !moved {
            assert_eq!(world.answers, [1; 4], "somebody was never answered");
        }
    }
    assert!(seen > 10_000, "{seen} states");
}
