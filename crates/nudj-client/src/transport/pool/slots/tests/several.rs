//! More than one connection that calls share.

use super::{super::shared::PAUSE, *};

/// One connection that is full, and one who waits.
fn full(max_shared: usize, now: Instant) -> Numbers {
    let mut slots = Numbers::new(Limits { max_shared, ..limits() }, Protocol::Http2);
    slots.made_shared(1, 1, now);
    assert!(matches!(slots.take(now, |_| true, one), Some(Taken::Shared(1, ..))));
    assert!(slots.take(now, |_| true, one).is_none());
    slots.enqueue(1).unwrap();
    slots
}

fn one(_: &u32) -> Option<usize> {
    Some(1)
}

#[test]
fn a_further_connection_is_made_when_those_there_are_full_as_far_as_that_is_allowed() {
    let now = Instant::now();
    assert_eq!(full(1, now).reserve(now, heard), 0);
    let mut slots = full(2, now);
    assert_eq!((slots.reserve(now, heard), slots.reserve(now, heard)), (1, 0));
    assert_eq!(slots.made_shared(2, 1, now).1, [1]);
    slots.enqueue(2).unwrap();
    assert_eq!(slots.reserve(now, heard), 0, "there are two");
}

#[test]
fn calls_go_to_the_oldest_connection_that_has_room_and_one_made_for_a_crowd_goes_with_it() {
    let start = Instant::now();
    let mut slots = full(2, start);
    let first = slots.shared[0].id;
    let (second, _) = slots.made_shared(2, 1, start);
    slots.release(second, true, || start);
    let later = start + seconds(89);
    assert!(matches!(slots.take(later, |_| true, one), Some(Taken::Shared(2, ..))));
    slots.release(second, true, || later);
    slots.release(first, true, || later);
    assert_eq!(take(&mut slots, later), Some(1));
    assert_eq!(slots.sweep(later + seconds(90)), Some(later + seconds(180)));
    assert_eq!(slots.shared.iter().map(|shared| shared.id).collect::<Vec<_>>(), [first]);
}

#[test]
fn of_several_only_the_one_that_has_ended_is_given_up() {
    let now = Instant::now();
    let mut slots = full(2, now);
    let (second, _) = slots.made_shared(2, 1, now);
    slots.enqueue(2).unwrap();
    let first_ended = |connection: &u32| (*connection != 1).then_some(2);
    assert_eq!(slots.grant(now, first_ended), Some((2, 2, second)));
    assert_eq!(slots.shared.len(), 1);
    let mut slots = full(2, now);
    let (second, _) = slots.made_shared(2, 1, now);
    slots.retire(slots.shared[0].id, now);
    assert_eq!(slots.shared.iter().map(|shared| shared.id).collect::<Vec<_>>(), [second]);
    let mut slots = full(2, now);
    slots.made_shared(2, 1, now);
    assert!(slots.lost(false, |connection| (*connection != 1).then_some(1)).is_empty());
    assert_eq!(slots.shared.len(), 1);
}

#[test]
fn those_who_wait_for_a_stream_are_not_told_that_a_further_connection_failed_which_is_tried_again_in_time() {
    let now = Instant::now();
    let mut slots = full(2, now);
    assert_eq!(slots.reserve(now, heard), 1);
    assert!(slots.failed(now).is_empty());
    assert_eq!(slots.ended(now, |_| true, heard), 0);
    let later = now + PAUSE;
    assert_eq!((slots.reserve(later - Duration::from_nanos(1), heard), slots.reserve(later, heard)), (0, 1));
    // Once the first has gone as well, they wait for nothing else.
    slots.retire(slots.shared[0].id, now);
    assert_eq!(slots.failed(later), [1]);
    slots.enqueue(2).unwrap();
    assert_eq!(slots.ended(later, |_| true, heard), 1, "without a pause");
}

#[test]
fn beside_one_whose_peer_has_not_spoken_none_is_made() {
    let now = Instant::now();
    let mut slots = full(3, now);
    slots.made_shared(2, 1, now);
    slots.enqueue(2).unwrap();
    assert_eq!((slots.reserve(now, |connection| *connection == 2), slots.reserve(now, heard)), (0, 1));
}

#[test]
fn one_that_ends_without_an_answer_while_there_are_others_is_followed_by_a_pause_and_no_other_is() {
    let now = Instant::now();
    let ended = |connection: &u32| (*connection != 2).then_some(1);
    for (has_answered, rests) in [(false, true), (true, false)] {
        // Found by who retires it, and by who looks for one.
        for is_told in [true, false] {
            let mut slots = full(2, now);
            let (second, _) = slots.made_shared(2, 1, now);
            slots.release(second, has_answered, || now);
            slots.enqueue(2).unwrap();
            if is_told {
                slots.retire(second, now);
            } else {
                assert_eq!(slots.grant(now, ended), None);
            }
            assert_eq!(slots.rests_until(now), rests.then_some(now + PAUSE));
            assert_eq!(slots.reserve(now, heard), usize::from(!rests));
        }
    }
    let mut slots = full(2, now);
    slots.retire(slots.shared[0].id, now);
    assert_eq!((slots.rests_until(now), slots.reserve(now, heard)), (None, 1), "there is nothing else");
}

#[test]
fn where_a_further_connection_speaks_http1_those_who_wait_have_streams_to_wait_for_all_the_same() {
    let now = Instant::now();
    let mut slots = full(2, now);
    assert_eq!(slots.reserve(now, heard), 1);
    assert!(matches!(slots.made_one(9, now), Put::For(1, _)));
    slots.enqueue(2).unwrap();
    slots.enqueue(3).unwrap();
    assert_eq!(slots.reserve(now, heard), 1, "a further one, and not one for each");
    assert!(slots.failed(now).is_empty());
    assert_eq!(slots.ended(now, |_| true, heard), 0);
}

#[test]
fn one_too_many_is_kept_in_place_of_the_oldest_only_if_somebody_waited_for_it() {
    let now = Instant::now();
    let mut slots = full(1, now);
    let oldest = slots.shared[0].id;
    let (newer, served) = slots.made_shared(2, 1, now);
    assert_eq!((served, slots.shared.len(), slots.shared[0].id), (vec![1], 1, newer));
    let mut slots = full(1, now);
    assert_eq!(slots.waiting.pop_front().map(|(_, waiter)| waiter), Some(1));
    slots.made_shared(2, 1, now);
    assert_eq!((slots.shared.len(), slots.shared[0].id), (1, oldest));
}
