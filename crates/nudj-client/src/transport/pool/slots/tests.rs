mod any_order;
mod several;

use super::*;

type Numbers = Slots<u32, u32, u32>;

fn limits() -> Limits {
    Limits {
        max_open: 3,
        max_shared: 1,
        max_idle: 2,
        max_waiting: 4,
        idle_timeout: Duration::from_secs(90),
        max_age: Some(Duration::from_secs(600)),
    }
}

fn seconds(after: u64) -> Duration {
    Duration::from_secs(after)
}

fn take(slots: &mut Numbers, now: Instant) -> Option<u32> {
    match slots.take(now, |_| true, any_number)? {
        Taken::One(kept, _) => Some(kept.connection),
        Taken::Shared(connection, ..) => Some(connection),
    }
}

fn any_number(_: &u32) -> Option<usize> {
    Some(usize::MAX)
}

fn heard(_: &u32) -> bool {
    false
}

fn kept(slots: &mut Numbers, connection: u32, now: Instant) {
    assert!(matches!(slots.made_one(connection, now), Put::Kept));
}

#[test]
fn the_one_used_last_is_taken_first_and_the_dead_on_the_way_are_dropped() {
    let now = Instant::now();
    let mut slots = Numbers::new(Limits { max_idle: 9, ..limits() }, Protocol::Http1);
    for connection in 1..=4 {
        kept(&mut slots, connection, now);
    }
    let taken = slots.take(now, |connection| *connection < 3, any_number);
    assert!(matches!(taken, Some(Taken::One(Kept { connection: 2, .. }, _))));
    assert_eq!(take(&mut slots, now), Some(1));
    assert_eq!(take(&mut slots, now), None);
}

#[test]
fn of_too_many_the_one_used_longest_ago_is_given_up() {
    let now = Instant::now();
    let mut slots = Numbers::new(limits(), Protocol::Http1);
    kept(&mut slots, 1, now);
    kept(&mut slots, 2, now);
    assert!(matches!(slots.made_one(3, now), Put::Surplus(Kept { connection: 1, .. })));
    assert_eq!((take(&mut slots, now), take(&mut slots, now), take(&mut slots, now)), (Some(3), Some(2), None));
    let mut slots = Numbers::new(Limits { max_idle: 0, ..limits() }, Protocol::Http1);
    assert!(matches!(slots.made_one(1, now), Put::Surplus(Kept { connection: 1, .. })));
}

#[test]
fn a_wait_is_for_connections_only_while_none_of_them_is_made() {
    let now = Instant::now();
    let mut slots = Numbers::new(limits(), Protocol::Http1);
    assert!(!slots.only_making());
    for waiter in 0..3 {
        slots.enqueue(waiter).unwrap();
    }
    assert_eq!((slots.reserve(now, heard), slots.only_making()), (3, true));
    assert!(matches!(slots.made_one(1, now), Put::For(..)));
    assert!(!slots.only_making(), "one is made, and in use");
}

#[test]
fn idle_time_and_age_end_a_connection_at_their_limit() {
    let start = Instant::now();
    for (after, taken) in [(89, Some(1)), (90, None)] {
        let mut slots = Numbers::new(limits(), Protocol::Http1);
        kept(&mut slots, 1, start);
        assert_eq!(take(&mut slots, start + seconds(after)), taken);
    }
    let mut slots = Numbers::new(limits(), Protocol::Http1);
    let mut old = || {
        kept(&mut slots, 1, start);
        match slots.take(start, |_| true, any_number) {
            Some(Taken::One(kept, _)) => kept,
            other => panic!("it was kept: {other:?}"),
        }
    };
    let (late, in_time) = (old(), old());
    assert!(matches!(slots.put(late, start + seconds(600)), Put::Surplus(_)));
    assert!(matches!(slots.put(in_time, start + seconds(599)), Put::Kept));
    assert_eq!(take(&mut slots, start + seconds(600)), None);
    let mut slots = Numbers::new(limits(), Protocol::Http2);
    slots.made_shared(1, 9, start);
    assert_eq!(take(&mut slots, start + seconds(599)), None, "unused for too long");
    slots.made_shared(2, 9, start);
    assert_eq!(take(&mut slots, start), Some(2));
    assert_eq!(take(&mut slots, start + seconds(599)), Some(2), "in use all the time");
    assert_eq!(take(&mut slots, start + seconds(600)), None);
}

#[test]
fn the_sweep_drops_the_stale_and_says_when_the_next_one_is() {
    let start = Instant::now();
    let mut slots = Numbers::new(limits(), Protocol::Http1);
    assert_eq!(slots.sweep(start), None);
    kept(&mut slots, 1, start);
    kept(&mut slots, 2, start + seconds(30));
    assert_eq!(slots.sweep(start + seconds(89)), Some(start + seconds(90)));
    assert_eq!(slots.sweep(start + seconds(90)), Some(start + seconds(120)));
    assert_eq!(slots.sweep(start + seconds(120)), None);
    let (id, _) = slots.made_shared(3, 9, start);
    assert_eq!(take(&mut slots, start), Some(3));
    assert_eq!(slots.sweep(start + seconds(500)), Some(start + seconds(590)), "in use");
    slots.release(id, true, || start + seconds(500));
    assert_eq!(slots.sweep(start + seconds(590)), None);
    assert_eq!(take(&mut slots, start + seconds(590)), None);
}

#[test]
fn while_a_connection_is_in_use_the_next_look_is_when_it_could_be_stale_at_the_earliest() {
    let start = Instant::now();
    let mut slots = Numbers::new(limits(), Protocol::Http1);
    slots.enqueue(1).unwrap();
    assert_eq!(slots.reserve(start, heard), 1);
    assert!(matches!(slots.made_one(1, start), Put::For(1, _)));
    assert_eq!(slots.sweep(start + seconds(5)), Some(start + seconds(95)), "in use");
    assert_eq!(slots.ended(start, |_| true, heard), 0);
    assert_eq!(slots.sweep(start + seconds(6)), None, "nothing is open");
}

#[test]
fn where_nothing_is_kept_there_is_nothing_to_look_for() {
    let now = Instant::now();
    let limits = Limits { idle_timeout: Duration::ZERO, ..limits() };
    let mut slots = Numbers::new(limits, Protocol::Http2);
    slots.enqueue(1).unwrap();
    assert_eq!(slots.reserve(now, heard), 1);
    let (id, waiters) = slots.made_shared(7, 9, now);
    assert_eq!(waiters, [1]);
    assert_eq!(slots.sweep(now), None, "one is in use: a look would come at once, and again at once");
    slots.release(id, true, || now);
    assert!(take(&mut slots, now).is_none(), "the last user was the last");
}

#[test]
fn beyond_what_the_peer_takes_calls_wait_their_turn_and_another_connection_is_made_only_in_place_of_this_one() {
    let now = Instant::now();
    let two = |_: &u32| Some(2);
    let mut slots = Numbers::new(limits(), Protocol::Http2);
    for waiter in 0..3 {
        slots.enqueue(waiter).unwrap();
    }
    assert_eq!(slots.reserve(now, heard), 1);
    let (first, served) = slots.made_shared(7, 2, now);
    assert_eq!((served, slots.reserve(now, heard)), (vec![0, 1], 0));
    assert_eq!(slots.grant(now, two), None);
    assert!(slots.take(now, |_| true, any_number).is_none(), "a newcomer passes nobody");
    slots.release(first, true, || now);
    assert_eq!(slots.grant(now, two), Some((2, 7, first)));
    assert!(slots.take(now, |_| true, two).is_none() && slots.is_in_use(first));
    slots.enqueue(3).unwrap();
    assert_eq!(slots.reserve(now, heard), 0);
    slots.retire(first, now);
    assert_eq!(slots.reserve(now, heard), 1);
    let (second, served) = slots.made_shared(8, 2, now);
    slots.release(first, true, || now);
    assert_eq!((served, slots.grant(now, two)), (vec![3], None));
    assert!(slots.is_in_use(first) && slots.is_in_use(second), "who uses a retired one is not known");
    slots.release(second, true, || now);
    assert!(!slots.is_in_use(second));
}

#[test]
fn those_who_wait_for_a_stream_are_not_told_that_another_connection_is_lost() {
    let now = Instant::now();
    let mut slots = Numbers::new(limits(), Protocol::Http2);
    for waiter in 0..2 {
        slots.enqueue(waiter).unwrap();
    }
    assert_eq!(slots.reserve(now, heard), 1);
    slots.made_shared(7, 1, now);
    assert!(slots.lost(false, |_| Some(1)).is_empty());
    assert_eq!(slots.lost(false, |_| None), [1], "it was theirs, and nobody makes another");
}

#[test]
fn who_waited_for_a_connection_that_is_not_kept_unused_gets_it() {
    let now = Instant::now();
    let mut slots = Numbers::new(Limits { idle_timeout: Duration::ZERO, ..limits() }, Protocol::Http2);
    for waiter in 0..2 {
        slots.enqueue(waiter).unwrap();
    }
    assert_eq!(slots.reserve(now, heard), 1);
    let (id, _) = slots.made_shared(7, 1, now);
    slots.release(id, true, || now);
    assert_eq!(slots.grant(now, |_| Some(1)), Some((1, 7, id)));
}

#[test]
fn a_connection_that_is_not_kept_goes_also_when_who_waited_for_it_has_gone() {
    let now = Instant::now();
    let mut slots = Numbers::new(limits(), Protocol::Http2);
    let (id, _) = slots.made_shared(7, 1, now);
    assert_eq!(take(&mut slots, now), Some(7));
    let waiter = slots.enqueue(1).unwrap();
    slots.drain_off();
    slots.release(id, true, || now);
    assert_eq!(slots.abandon(waiter), Some(1));
    assert_eq!(slots.grant(now, |_| Some(1)), None);
    assert!(slots.shared.is_empty());
}

#[test]
fn a_peer_that_takes_no_calls_is_asked_by_one() {
    let now = Instant::now();
    let mut slots = Numbers::new(limits(), Protocol::Http2);
    slots.made_shared(7, 0, now);
    let none = |_: &u32| Some(0);
    assert!(matches!(slots.take(now, |_| true, none), Some(Taken::Shared(7, ..))));
    assert!(slots.take(now, |_| true, none).is_none());
}

#[test]
fn as_many_connections_are_made_as_the_protocol_needs() {
    let now = Instant::now();
    for (protocol, made) in [(Protocol::Unknown, 1), (Protocol::Http2, 1), (Protocol::Http1, 3)] {
        let mut slots = Numbers::new(limits(), protocol);
        for waiter in 0..4 {
            slots.enqueue(waiter).unwrap();
        }
        assert_eq!(
            (slots.reserve(now, heard), slots.reserve(now, heard), slots.open()),
            (made, 0, made),
            "{protocol:?}"
        );
        assert_eq!(slots.enqueue(4), Err(Refused::Full));
    }
}

#[test]
fn http1_found_by_the_first_connection_brings_the_others() {
    let now = Instant::now();
    let mut slots = Numbers::new(limits(), Protocol::Unknown);
    for waiter in 0..4 {
        slots.enqueue(waiter).unwrap();
    }
    assert_eq!(slots.reserve(now, heard), 1);
    assert!(matches!(slots.made_one(7, now), Put::For(0, Kept { connection: 7, .. })));
    assert_eq!(slots.reserve(now, heard), 2, "three wait, and three may be open");
}

#[test]
fn a_failure_is_told_to_the_first_or_to_all_whom_one_connection_would_have_served() {
    let now = Instant::now();
    for (protocol, told) in [(Protocol::Unknown, vec![0, 1, 2]), (Protocol::Http1, vec![0])] {
        let mut slots = Numbers::new(limits(), protocol);
        for waiter in 0..3 {
            slots.enqueue(waiter).unwrap();
        }
        let made = slots.reserve(now, heard);
        assert_eq!(slots.failed(now), told);
        assert_eq!(slots.ended(now, |_| true, heard), 0, "{protocol:?}, {made}");
    }
}

#[test]
fn once_closed_nothing_is_kept_or_given() {
    let now = Instant::now();
    let mut slots = Numbers::new(limits(), Protocol::Http1);
    kept(&mut slots, 1, now);
    assert!(slots.close().is_empty());
    assert_eq!((take(&mut slots, now), slots.enqueue(1)), (None, Err(Refused::Closed)));
    assert!(matches!(slots.put(Kept { connection: 2, until: None, since: now }, now), Put::Surplus(_)));
}
