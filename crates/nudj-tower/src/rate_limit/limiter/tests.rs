use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::Wake,
    time::Duration,
};

use proptest::prelude::*;

use super::{super::config::RateLimitConfig, *};

const MS: Nanos = 1_000_000;

fn patience(max_wait: Nanos, max_queue: usize) -> Patience {
    let max_wait = Duration::from_nanos(max_wait);
    Patience::new(&RateLimitConfig { max_wait, max_queue, ..RateLimitConfig::default() })
}

fn limiter(max_requests: u32, window: Nanos) -> Limiter {
    Limiter::new(Algorithm::SlidingWindow, Quota { max_requests, window: Duration::from_nanos(window) }, true)
}

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn advance(limiter: &mut Limiter, now: Nanos) {
    let mut wakes = Wakes::default();
    loop {
        limiter.advance(now, &mut wakes);
        wakes.wake_all();
        if !wakes.more {
            return;
        }
    }
}

#[test]
fn who_would_wait_too_long_is_refused_at_once() {
    let mut limiter = limiter(1, 100 * MS);
    let ask = |limiter: &mut Limiter, max_wait, deadline| {
        limiter.admit(10 * MS, patience(max_wait, 2), deadline, Waker::noop())
    };
    limiter.take(0).unwrap();
    let late = |by, ms| Admission::Refused(Refusal::Late { by, retry_after: Some(Duration::from_millis(ms)) });
    assert_eq!(ask(&mut limiter, 90 * MS - 1, None), late(LimitedBy::MaxWait, 90));
    assert_eq!(
        ask(&mut limiter, 1000 * MS, Some(110 * MS - 10)),
        late(LimitedBy::Deadline, 90),
        "a tenth is the call's"
    );
    assert_eq!(ask(&mut limiter, 0, None), late(LimitedBy::MaxWait, 90));
    assert!(
        matches!(ask(&mut limiter, 90 * MS, Some(110 * MS)), Admission::Waits { alarm: Some(at), .. } if at == 100 * MS)
    );
    assert_eq!(ask(&mut limiter, 190 * MS - 1, None), late(LimitedBy::MaxWait, 190), "one is ahead");
    assert!(matches!(ask(&mut limiter, 190 * MS, None), Admission::Waits { alarm: None, .. }));
    let full = Refusal::Full { limit: 2, retry_after: Some(Duration::from_millis(290)) };
    assert_eq!(ask(&mut limiter, 1000 * MS, None), Admission::Refused(full));
    assert_eq!(limiter.counts.refused, 5);
}

#[test]
fn a_pause_refuses_those_who_cannot_make_it_and_lets_the_rest_wait() {
    let mut limiter = limiter(1, 100 * MS);
    limiter.take(0).unwrap();
    let bells: Vec<_> = (0..3).map(|_| Arc::new(Bell::default())).collect();
    for (bell, max_wait) in bells.iter().zip([150, 1000, 450]) {
        let waker = Waker::from(Arc::clone(bell));
        assert!(matches!(limiter.admit(0, patience(max_wait * MS, 9), None, &waker), Admission::Waits { .. }));
    }
    let late = limiter.pause(400 * MS, 0);
    assert_eq!(late.len(), 2, "the first cannot wait for the pause's end, the third not for the second as well");
    late.into_iter().for_each(Waker::wake);
    advance(&mut limiter, 0);
    assert_eq!(bells.each_ref_counts(), [1, 1, 1], "the second is told that it is the head now");
    assert_eq!((limiter.waiting(), limiter.available(0), limiter.pause_left(0)), (1, 0, 400 * MS));
    assert!(limiter.pause(300 * MS, 0).is_empty() && limiter.pause_left(0) == 400 * MS, "a pause is never shortened");
}

trait Counted {
    fn each_ref_counts(&self) -> Vec<usize>;
}

impl Counted for Vec<Arc<Bell>> {
    fn each_ref_counts(&self) -> Vec<usize> {
        self.iter().map(|bell| bell.0.load(Ordering::Relaxed)).collect()
    }
}

#[test]
fn a_clock_read_too_early_by_another_thread_does_not_turn_time_back() {
    let mut limiter = limiter(2, 100);
    limiter.take(1000).unwrap();
    limiter.take(990).unwrap();
    assert!(limiter.take(1099).is_none());
    assert!(limiter.take(1100).is_some());
    let early = limiter.take(1050).expect("seen as at 1100");
    assert!(limiter.take(1100).is_none());
    limiter.give_back(early, 1060);
    assert!(limiter.take(1070).is_some(), "found again although it was read early");
}

#[test]
fn a_head_whose_turn_comes_earlier_is_told() {
    let mut limiter = limiter(1, 100 * MS);
    limiter.take(0).unwrap();
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let Admission::Waits { ticket, alarm: Some(alarm) } = limiter.admit(0, patience(500 * MS, 9), None, &waker) else {
        panic!("it is the head");
    };
    assert_eq!(alarm, 100 * MS);
    limiter.pause(300 * MS, 0);
    advance(&mut limiter, 0);
    assert_eq!(bell.0.load(Ordering::Relaxed), 0, "its timer rings early enough");
    assert_eq!(limiter.check(ticket, 100 * MS, &waker), Admission::Waits { ticket, alarm: Some(300 * MS) });
    limiter.resume();
    let quota = Quota { max_requests: 1, window: Duration::from_millis(200) };
    assert!(limiter.change(quota, 100 * MS).is_empty());
    advance(&mut limiter, 100 * MS);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    assert_eq!(limiter.check(ticket, 100 * MS, &waker), Admission::Waits { ticket, alarm: Some(200 * MS) });
}

#[test]
fn who_moved_to_another_task_is_woken_there() {
    let mut limiter = limiter(1, 100 * MS);
    let grant = limiter.take(0).unwrap();
    let (old, new) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
    let admission = limiter.admit(0, patience(500 * MS, 9), None, &Waker::from(Arc::clone(&old)));
    let Admission::Waits { ticket, .. } = admission else { panic!("it waits") };
    limiter.check(ticket, 0, &Waker::from(Arc::clone(&new)));
    limiter.give_back(grant, 0);
    advance(&mut limiter, 0);
    assert_eq!((old.0.load(Ordering::Relaxed), new.0.load(Ordering::Relaxed)), (0, 1));
}

#[test]
fn a_fork_remembers_what_was_granted() {
    let mut parent = limiter(2, 100);
    parent.take(1).unwrap();
    let mut child = parent.fork();
    assert!(child.take(2).is_some() && child.take(2).is_none());
    assert!(parent.take(2).is_some(), "and goes its own way");
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Wait(Nanos),
    /// Time passes and nobody is polled.
    Stall(Nanos),
    /// With a deadline so far off, where there is one.
    Arrive(Option<Nanos>),
    /// One of those who wait gives up, or one of those who pass does not send.
    Leave(usize),
    Pause(Nanos),
    Resume,
    Change(u32, Nanos),
    /// One task is polled without need.
    Poll(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..60_u64).prop_map(Step::Wait),
        1 => (0..400_u64).prop_map(Step::Stall),
        6 => Just(Step::Arrive(None)),
        4 => (0..600_u64).prop_map(|left| Step::Arrive(Some(left))),
        2 => (0..12_usize).prop_map(Step::Leave),
        1 => (0..200_u64).prop_map(Step::Pause),
        1 => Just(Step::Resume),
        1 => (1..5_u32, 20..300_u64).prop_map(|(max, window)| Step::Change(max, window)),
        2 => (0..12_usize).prop_map(Step::Poll),
    ];
    prop::collection::vec(step, 0..120)
}

/// Tasks that are polled when they are woken and when their timer goes off, and at no other time: as a runtime would.
struct World {
    limiter: Limiter,
    now: Nanos,
    tasks: VecDeque<Task>,
    patience: Patience,
    passed: Vec<usize>,
    polls: usize,
    arrived: usize,
    resolved: usize,
}

struct Task {
    number: usize,
    arrived: Nanos,
    deadline: Option<Nanos>,
    ticket: Ticket,
    bell: Arc<Bell>,
    heard: usize,
    timer: Option<Nanos>,
}

impl World {
    fn arrive(&mut self, left: Option<Nanos>) {
        let number = self.arrived;
        self.arrived += 1;
        let bell = Arc::new(Bell::default());
        let deadline = left.map(|left| self.now + left);
        advance(&mut self.limiter, self.now);
        match self.limiter.admit(self.now, self.patience, deadline, &Waker::from(Arc::clone(&bell))) {
            Admission::Granted(_) => {
                assert!(self.tasks.is_empty(), "nobody passes those who wait");
                assert!(left != Some(0), "its call is over");
                self.passed.push(number);
            }
            Admission::Refused(_) => self.resolved += 1,
            Admission::Waits { ticket, alarm } => {
                let arrived = self.now;
                self.tasks.push_back(Task { number, arrived, deadline, ticket, bell, heard: 0, timer: alarm });
            }
        }
    }

    fn poll(&mut self, index: usize) {
        self.polls += 1;
        let Some(task) = self.tasks.get_mut(index) else { return };
        task.heard = task.bell.0.load(Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&task.bell));
        if self.limiter.is_head(task.ticket) {
            advance(&mut self.limiter, self.now);
        }
        match self.limiter.check(task.ticket, self.now, &waker) {
            Admission::Waits { alarm, .. } => task.timer = alarm,
            Admission::Granted(_) => {
                assert!(task.deadline.is_none_or(|deadline| self.now < deadline), "its call is over");
                self.passed.push(task.number);
                self.tasks.remove(index);
            }
            Admission::Refused(_) => {
                self.resolved += 1;
                self.tasks.remove(index);
            }
        }
    }

    /// Polls whoever was woken, in order, until nobody is.
    fn settle(&mut self) {
        for _ in 0..10_000 {
            let (now, due) = (self.now, |task: &Task| (task.bell.0.load(Ordering::Relaxed), task.heard));
            let next = self.tasks.iter().position(|task| {
                let (rung, heard) = due(task);
                rung > heard || task.timer.is_some_and(|at| at <= now)
            });
            match next {
                Some(index) => self.poll(index),
                None => return,
            }
        }
        panic!("polled for ever");
    }

    /// Time passes from timer to timer.
    fn wait(&mut self, time: Nanos) {
        let end = self.now + time;
        loop {
            self.settle();
            match self.tasks.iter().filter_map(|task| task.timer).filter(|at| *at <= end).min() {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
        }
        self.now = end;
        self.settle();
    }
}

proptest! {
    #[test]
    fn the_line_moves_in_order_with_one_timer_and_nobody_is_forgotten(
        max in 1..4_u32,
        max_wait in 1..500_u64,
        steps in steps(),
    ) {
        let mut world = World {
            limiter: limiter(max, 100),
            now: 0,
            tasks: VecDeque::new(),
            patience: patience(max_wait, 8),
            passed: Vec::new(),
            polls: 0,
            arrived: 0,
            resolved: 0,
        };
        for step in steps {
            match step {
                Step::Wait(time) => world.wait(time),
                Step::Stall(time) => world.now += time,
                Step::Arrive(left) => world.arrive(left),
                Step::Leave(index) => {
                    if let Some(task) = world.tasks.remove(index) {
                        world.limiter.leave(task.ticket, world.now);
                        world.resolved += 1;
                        advance(&mut world.limiter, world.now);
                    }
                }
                Step::Pause(time) => {
                    world.limiter.pause(world.now + time, world.now).into_iter().for_each(Waker::wake);
                    advance(&mut world.limiter, world.now);
                }
                Step::Resume => {
                    world.limiter.resume();
                    advance(&mut world.limiter, world.now);
                }
                Step::Change(max, window) => {
                    let quota = Quota { max_requests: max, window: Duration::from_nanos(window) };
                    world.limiter.change(quota, world.now).into_iter().for_each(Waker::wake);
                    advance(&mut world.limiter, world.now);
                }
                Step::Poll(index) => world.poll(index),
            }
            world.settle();
            prop_assert!(world.tasks.len() <= 8);
            prop_assert_eq!(world.limiter.waiting(), world.tasks.len());
            for task in &world.tasks {
                prop_assert!(world.now - task.arrived <= max_wait, "waits longer than it may");
            }
            if !world.tasks.is_empty() {
                let head = world.tasks.iter().find(|task| world.limiter.is_head(task.ticket)).unwrap();
                let turn = world.limiter.turn(0, world.now);
                prop_assert!(head.timer.is_some_and(|at| at <= turn), "the head has a timer that rings in time");
                prop_assert_eq!(world.limiter.available(world.now), 0);
            }
        }
        prop_assert!(world.passed.is_sorted(), "{:?}", world.passed);
        world.wait(max_wait + 1000);
        prop_assert_eq!(world.tasks.len(), 0, "all have passed or been refused in time");
        prop_assert_eq!(world.passed.len() + world.resolved, world.arrived);
        prop_assert!(world.limiter.queue.as_ref().is_none_or(|queue| queue.is_unused()));
    }
}

#[test]
fn who_is_looked_at_after_his_deadline_gets_no_quota() {
    let mut limiter = limiter(1, 100 * MS);
    limiter.take(0).unwrap();
    let bells = [Arc::new(Bell::default()), Arc::new(Bell::default())];
    let tickets = [Some(300 * MS), None].map(|deadline| {
        let waker = Waker::from(Arc::clone(&bells[usize::from(deadline.is_none())]));
        match limiter.admit(0, patience(500 * MS, 9), deadline, &waker) {
            Admission::Waits { ticket, .. } => ticket,
            other => panic!("it waits: {other:?}"),
        }
    });
    // Nobody was polled for as long, though the first one's turn was at 100.
    advance(&mut limiter, 300 * MS);
    assert!(matches!(limiter.check(tickets[0], 300 * MS, Waker::noop()), Admission::Refused(Refusal::Late { .. })));
    assert!(matches!(limiter.check(tickets[1], 300 * MS, Waker::noop()), Admission::Granted(_)));
    assert!(matches!(
        limiter.admit(400 * MS, patience(500 * MS, 9), Some(400 * MS), Waker::noop()),
        Admission::Refused(Refusal::Late { retry_after: Some(Duration::ZERO), .. })
    ));
    assert_eq!(limiter.available(400 * MS), 1);
}
