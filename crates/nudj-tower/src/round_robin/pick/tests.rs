use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;

fn places(list: impl IntoIterator<Item = usize>) -> Many {
    let mut places = Many::default();
    list.into_iter().for_each(|place| places.insert(place));
    places
}

fn picks(picker: &Picker, among: &impl Places, count: usize) -> Vec<usize> {
    (0..count).map(|_| picker.pick(false, among).unwrap()).collect()
}

#[test]
fn the_order_is_strict() {
    let picker = Picker::new([1, 1, 1]);
    assert_eq!(picks(&picker, &places(0..3), 7), [0, 1, 2, 0, 1, 2, 0]);
}

#[test]
fn who_stands_behind_a_sick_one_gets_no_second_share() {
    let picker = Picker::new([1, 1, 1]);
    assert_eq!(picks(&picker, &places([0, 2]), 6), [0, 2, 0, 2, 0, 2]);
    assert_eq!(picks(&picker, &places(0..3), 4), [0, 1, 2, 0], "and the one that is back is in the ring again");
}

#[test]
fn repeats_do_not_shift_the_turns_of_first_tries() {
    let picker = Picker::new([1, 1]);
    let mut first = vec![];
    for _ in 0..4 {
        let place = picker.pick(false, &places(0..2)).unwrap();
        first.push(place);
        if place == 0 {
            assert_eq!(picker.pick(true, &places([1])), Some(1));
        }
    }
    assert_eq!(first, [0, 1, 0, 1]);
}

#[test]
fn repeats_are_spread_as_well() {
    let picker = Picker::new([1, 1, 1]);
    let repeats: Vec<_> = (0..4).map(|_| picker.pick(true, &places([1, 2])).unwrap()).collect();
    assert_eq!(repeats, [1, 2, 1, 2]);
}

#[test]
fn weights_are_smooth() {
    let picker = Picker::new([5, 1, 1]);
    assert_eq!(picks(&Picker::new([2, 1]), &places(0..2), 6), [0, 1, 0, 0, 1, 0]);
    assert_eq!(picks(&picker, &places(0..3), 7), [0, 0, 0, 1, 0, 2, 0]);
}

#[test]
fn while_the_heavy_one_is_skipped_the_light_ones_share() {
    let picker = Picker::new([100, 1, 1]);
    picks(&picker, &places(0..3), 52);
    let light = picks(&picker, &places([1, 2]), 10);
    let of_one = light.iter().filter(|place| **place == 1).count();
    assert!((4..=6).contains(&of_one), "{light:?}");
}

#[test]
fn nobody_to_pick_is_nobody() {
    assert_eq!(Picker::new([]).pick(false, &0_u64), None);
    assert_eq!(Picker::new([1, 2]).pick(false, &0_u64), None);
}

#[test]
fn candidates_are_preferred_healthy_then_untried_then_out() {
    let mut candidates = Candidates::<u64>::default();
    assert_eq!(candidates.preferred(), None);
    candidates.tried = 0b101;
    candidates.out = 0b1;
    assert_eq!(candidates.preferred(), Some(0b1));
    candidates.out = 0b11;
    assert_eq!(candidates.preferred(), Some(0b10));
    candidates.healthy = 0b100;
    assert_eq!(candidates.preferred(), Some(0b100), "one that is well, although this call has been there");
    assert_eq!(candidates.untried_after(2), 0);
    candidates.healthy = 0b1_1100;
    assert_eq!(candidates.preferred(), Some(0b1_1000));
    assert_eq!((candidates.untried_after(3), candidates.untried_after(2)), (1, 2));
}

#[test]
fn a_changed_list_goes_on_where_the_old_one_stood() {
    let picker = Picker::new([1, 1, 1, 1]);
    picks(&picker, &places(0..4), 2);
    // 2 would be next; it goes, and 3 is now at 1.
    let picker = picker.resume([1, 1], |old| [(0, 0), (3, 1)].iter().find(|pair| pair.0 == old).map(|pair| pair.1));
    assert_eq!(picks(&picker, &places(0..2), 3), [1, 0, 1]);
    let weighted = Picker::new([3, 1]);
    assert_eq!(picks(&weighted, &places(0..2), 2), [0, 0]);
    let weighted = weighted.resume([3, 1, 4], Some);
    assert_eq!(picks(&weighted, &places(0..2), 2), [1, 0], "the light one's turn is not lost");
}

#[test]
fn changes_with_every_call_do_not_send_all_to_the_first() {
    let mut picker = Picker::new([1, 1, 1]);
    let mut counts = [0; 3];
    for _ in 0..9 {
        counts[picker.pick(false, &places(0..3)).unwrap()] += 1;
        picker = picker.resume([1, 1, 1], Some);
    }
    assert_eq!(counts, [3, 3, 3]);
}

#[test]
fn counts_differ_by_at_most_one_after_concurrent_picks() {
    const THREADS: usize = 4;
    const EACH: usize = 100_001;
    for sick in [None, Some(1)] {
        let picker = Picker::new([1; 5]);
        let among = places((0..5).filter(|place| Some(*place) != sick));
        let start = std::sync::Barrier::new(THREADS);
        let picks = || {
            start.wait();
            let mut counts = [0_usize; 5];
            (0..EACH).for_each(|_| counts[picker.pick(false, &among).unwrap()] += 1);
            counts
        };
        let counts = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(picks)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).fold([0; 5], |mut sum, counts| {
                sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
                sum
            })
        });
        let counts: Vec<usize> = among.iter().map(|place| counts[place]).collect();
        assert_eq!(counts.iter().sum::<usize>(), THREADS * EACH);
        assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    }
}

fn are_a_set<P: Places>(list: &[usize], other: &[usize], start: usize) -> Result<(), TestCaseError> {
    let set = |list: &[usize]| list.iter().copied().collect::<BTreeSet<_>>();
    let places = |list: &[usize]| {
        let mut places = P::default();
        list.iter().for_each(|place| places.insert(*place));
        places
    };
    let (set, other_set) = (set(list), set(other));
    let (places, other) = (places(list), places(other));
    prop_assert_eq!(places.len() as usize, set.len());
    prop_assert_eq!(places.is_empty(), set.is_empty());
    prop_assert!((0..64).chain(set.clone()).all(|place| places.contains(place) == set.contains(&place)));
    prop_assert_eq!(places.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
    prop_assert_eq!(places.next_from(start), set.range(start..).next().or(set.first()).copied());
    let left: Vec<_> = set.difference(&other_set).copied().collect();
    prop_assert_eq!(places.without(&other).iter().collect::<Vec<_>>(), left);
    Ok(())
}

proptest! {
    #[test]
    fn few_places_are_a_set(list in vec(0_usize..64, 0..60), other in vec(0_usize..64, 0..60), start in 0_usize..70) {
        are_a_set::<u64>(&list, &other, start)?;
    }

    #[test]
    fn many_places_are_a_set(list in vec(0_usize..200, 0..60), other in vec(0_usize..200, 0..60), start in 0_usize..220) {
        are_a_set::<Many>(&list, &other, start)?;
    }

    #[test]
    fn even_counts_differ_by_at_most_one_from_whatever_went_before(
        size in 1_usize..80,
        before in vec(vec(any::<prop::sample::Index>(), 1..8), 0..30),
        now in vec(any::<prop::sample::Index>(), 1..12),
        count in 0_usize..200,
    ) {
        let picker = Picker::new(vec![1; size]);
        let set = |list: &[prop::sample::Index]| places(list.iter().map(|index| index.index(size)));
        for among in &before {
            picker.pick(false, &set(among));
        }
        let among = set(&now);
        let mut counts = vec![0_usize; size];
        picks(&picker, &among, count).into_iter().for_each(|place| counts[place] += 1);
        let counts: Vec<usize> = among.iter().map(|place| counts[place]).collect();
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
        prop_assert_eq!(counts.iter().sum::<usize>(), count, "nobody else was picked");
    }

    #[test]
    fn nobody_is_ever_a_whole_turn_off_its_weighted_share(
        weights in vec(1_u32..1000, 2..8),
        count in 0_usize..400,
    ) {
        let picker = Picker::new(weights.clone());
        let sum: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
        let mut counts = vec![0_i64; weights.len()];
        for (turn, place) in picks(&picker, &places(0..weights.len()), count).into_iter().enumerate() {
            counts[place] += 1;
            for (got, weight) in counts.iter().zip(&weights) {
                let off = got * sum - (turn as i64 + 1) * i64::from(*weight);
                prop_assert!(off.abs() < sum, "{off} of {sum}");
            }
        }
    }

    #[test]
    fn after_other_company_a_weighted_share_is_off_by_two_turns_at_most(
        weights in vec(1_u32..100, 3..8),
        before in vec(vec(any::<prop::sample::Index>(), 1..6), 0..30),
        count in 1_usize..200,
    ) {
        // What was earned when the weights were a hundred times as large buys no more than a turn either.
        let picker = Picker::new(weights.iter().map(|weight| weight * 100).collect::<Vec<_>>());
        for among in &before {
            let among = places(among.iter().map(|index| index.index(weights.len())));
            let place = picker.pick(false, &among).unwrap();
            prop_assert!(among.contains(place));
        }
        let picker = picker.resume(weights.clone(), Some);
        let sum: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
        let mut counts = vec![0_i64; weights.len()];
        picks(&picker, &places(0..weights.len()), count).into_iter().for_each(|place| counts[place] += 1);
        for (got, weight) in counts.iter().zip(&weights) {
            let off = got * sum - count as i64 * i64::from(*weight);
            prop_assert!(off.abs() <= 2 * sum, "{off} of {sum}");
        }
    }

    #[test]
    fn after_the_full_ring_a_weighted_share_of_a_smaller_one_is_off_by_two_of_its_turns_at_most(
        weights in vec(1_u32..1000, 3..8),
        before in 0_usize..400,
        among in vec(any::<prop::sample::Index>(), 1..6),
        count in 1_usize..200,
    ) {
        let picker = Picker::new(weights.clone());
        picks(&picker, &places(0..weights.len()), before);
        let among = places(among.iter().map(|index| index.index(weights.len())));
        let sum: i64 = among.iter().map(|place| i64::from(weights[place])).sum();
        let mut counts = vec![0_i64; weights.len()];
        picks(&picker, &among, count).into_iter().for_each(|place| counts[place] += 1);
        for place in among.iter() {
            let off = counts[place] * sum - count as i64 * i64::from(weights[place]);
            prop_assert!(off.abs() <= 2 * sum, "{off} of {sum}");
        }
    }

    #[test]
    fn after_any_number_of_changes_a_weighted_share_is_off_by_three_turns_at_most(
        lists in vec((vec((0_usize..12, 1_u32..10_000), 2..8), 0_usize..20), 1..60),
        count in 1_usize..200,
    ) {
        let mut list: Vec<usize> = vec![];
        let mut weights: Vec<u32> = vec![];
        let mut picker = Picker::new([]);
        for (next, turns) in lists {
            let old = std::mem::take(&mut list);
            weights.clear();
            for (name, weight) in next {
                if !list.contains(&name) {
                    list.push(name);
                    weights.push(weight);
                }
            }
            picker = picker.resume(weights.clone(), |place| list.iter().position(|name| *name == old[place]));
            picks(&picker, &places(0..list.len()), turns);
        }
        let sum: i64 = weights.iter().map(|weight| i64::from(*weight)).sum();
        let mut counts = vec![0_i64; weights.len()];
        picks(&picker, &places(0..list.len()), count).into_iter().for_each(|place| counts[place] += 1);
        for (got, weight) in counts.iter().zip(&weights) {
            let off = got * sum - count as i64 * i64::from(*weight);
            prop_assert!(off.abs() <= 3 * sum, "{off} of {sum}");
        }
    }
}
