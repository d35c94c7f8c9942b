use proptest::{collection::vec, prelude::*};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn rules() -> OutlierConfig {
    OutlierConfig::default()
}

fn in_a_row(consecutive: u32) -> Counts {
    Counts { consecutive, calls: consecutive.into(), failures: consecutive.into() }
}

fn of(failures: u64, calls: u64) -> Counts {
    Counts { consecutive: 1, calls, failures }
}

#[test]
fn failures_in_a_row_take_it_out() {
    let mut record = Record::default();
    assert_eq!(record.failed(&rules(), in_a_row(4), SECOND, || true), None);
    assert_eq!(record.failed(&rules(), in_a_row(5), SECOND, || true), Some(31 * SECOND));
    let off = OutlierConfig { consecutive_failures: 0, ..rules() };
    assert_eq!(Record::default().failed(&off, in_a_row(19), SECOND, || true), None, "0 turns the rule off");
}

#[test]
fn a_failure_rate_takes_it_out_from_the_minimum_of_calls_on() {
    let mut record = Record::default();
    assert_eq!(record.failed(&rules(), of(1, 1), SECOND, || true), None);
    assert_eq!(record.failed(&rules(), of(10, 19), SECOND, || true), None, "too few calls");
    assert_eq!(record.failed(&rules(), of(10, 21), SECOND, || true), None, "less than half");
    assert!(record.failed(&rules(), of(11, 22), SECOND, || true).is_some(), "half is enough");
    let off = OutlierConfig { failure_rate: None, ..rules() };
    let mut record = Record::default();
    assert_eq!(record.failed(&off, of(1, 1), SECOND, || true), None);
    assert_eq!(record.failed(&off, of(99, 99), SECOND, || true), None);
}

#[test]
fn old_failures_are_forgotten() {
    let mut record = Record::default();
    record.failed(&rules(), of(1, 1), SECOND, || true);
    record.failed(&rules(), of(19, 19), SECOND, || true);
    let later = SECOND + rules().window;
    assert_eq!(record.failed(&rules(), of(20, 20), later, || true), None);
    assert_eq!(record.failed(&rules(), of(38, 38), later, || true), None);
    assert!(record.failed(&rules(), of(39, 39), later, || true).is_some());
}

#[test]
fn without_room_it_stays_and_goes_once_there_is_some() {
    let mut record = Record::default();
    assert_eq!(record.failed(&rules(), in_a_row(5), SECOND, || false), None);
    assert!(record.failed(&rules(), in_a_row(6), SECOND, || true).is_some());
}

#[test]
fn results_of_calls_sent_before_change_nothing_while_it_is_out() {
    let mut record = Record::default();
    let back = record.failed(&rules(), in_a_row(5), SECOND, || true).unwrap();
    for count in 6..50 {
        assert_eq!(record.failed(&rules(), in_a_row(count), back - SECOND, || true), None);
    }
}

#[test]
fn each_time_in_a_row_is_longer_up_to_the_longest_and_healthy_time_makes_up_for_it() {
    let rules = OutlierConfig { max_ejection: 100 * SECOND, ..rules() };
    let mut record = Record::default();
    let mut now = SECOND;
    let out = |record: &mut Record, now: &mut Duration| {
        let back = record.failed(&rules, in_a_row(5), *now, || true).unwrap();
        let took = back - *now;
        *now = back;
        took.as_secs()
    };
    let times: Vec<_> = (0..5).map(|_| out(&mut record, &mut now)).collect();
    assert_eq!(times, [30, 60, 90, 100, 100]);
    now += 3 * rules.base_ejection;
    assert_eq!(
        out(&mut record, &mut now),
        60,
        "four times reach the longest and are all that count; less three, and one more"
    );
    now += 99 * rules.base_ejection;
    assert_eq!(out(&mut record, &mut now), 30);
}

#[test]
fn a_long_outage_is_made_up_for_in_as_much_health_as_the_longest_time_out() {
    let mut record = Record::default();
    let mut now = SECOND;
    for _ in 0..280 {
        now = record.failed(&rules(), in_a_row(5), now, || true).unwrap();
    }
    now += rules().max_ejection;
    let back = record.failed(&rules(), in_a_row(5), now, || true).unwrap();
    assert_eq!(back - now, rules().base_ejection);
}

#[test]
fn a_rate_is_met_by_the_very_share_that_it_names() {
    let rules = OutlierConfig { failure_rate: Some(0.07), minimum_calls: 100, ..rules() };
    let mut record = Record::default();
    assert_eq!(record.failed(&rules, of(1, 1), SECOND, || true), None);
    assert!(record.failed(&rules, of(7, 100), SECOND, || true).is_some());
}

#[test]
fn one_that_was_put_back_early_can_go_out_again_at_once() {
    let mut record = Record::default();
    record.failed(&rules(), in_a_row(5), SECOND, || true).unwrap();
    record.returned(2 * SECOND);
    assert_eq!(record.failed(&rules(), in_a_row(5), 3 * SECOND, || true), Some(63 * SECOND));
}

#[test]
fn one_may_always_go_the_last_never_and_else_a_share() {
    assert!(!has_room(0, 0, 1.0) && !has_room(1, 0, 1.0), "never the last");
    assert!(has_room(2, 0, 0.0), "one always");
    assert!(!has_room(2, 1, 1.0));
    assert!(has_room(10, 4, 0.5) && !has_room(10, 5, 0.5));
    assert!(!has_room(3, 1, 0.5));
}

proptest! {
    #[test]
    fn never_the_last_and_never_more_than_the_share(endpoints in 0_usize..50, share in 0.0..=1.0_f64) {
        let out = (0..endpoints).take_while(|out| has_room(endpoints, *out, share)).count();
        prop_assert!(endpoints == 0 || out < endpoints);
        prop_assert!(out <= 1 || out as f64 <= endpoints as f64 * share);
        prop_assert_eq!(endpoints > 1, out > 0);
    }

    #[test]
    fn is_never_out_longer_than_the_longest_and_never_panics(
        gaps in vec((0_u64..u64::MAX / 64, any::<u32>(), any::<u64>(), any::<u64>()), 1..40),
    ) {
        let (mut record, mut now) = (Record::default(), Duration::ZERO);
        for (gap, consecutive, calls, failures) in gaps {
            now += Duration::from_nanos(gap);
            if let Some(back) = record.failed(&rules(), Counts { consecutive, calls, failures }, now, || true) {
                prop_assert!(back > now && back - now <= rules().max_ejection);
            }
        }
    }
}
