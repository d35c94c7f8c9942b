use std::time::Duration;

use http::{Method, StatusCode, header};
use tokio::time::Instant;

use super::*;

fn at(instance: usize) -> Arrival<'static> {
    Arrival { instance, method: &Method::GET, path: "/api/v2/admin/users/1" }
}

/// The status that the rules choose, 200 standing for "as usual".
fn seen(rules: &mut Rules, arrival: Arrival<'_>) -> u16 {
    match rules.decide(arrival, Instant::now()).verdict {
        Verdict::Execute => 200,
        Verdict::Status(status) => status.as_u16(),
        _ => 0,
    }
}

#[test]
fn a_sequence_of_statuses_is_used_up_one_by_one() {
    let mut rules = Rules::default();
    let id = rules.add(Fault::statuses([503, 200, 429]));
    let seen: Vec<_> = (0..5).map(|_| seen(&mut rules, at(0))).collect();
    assert_eq!(seen, [503, 200, 429, 200, 200]);
    assert_eq!(rules.fired(id), 2);
}

#[test]
fn a_success_in_a_sequence_is_not_taken_by_a_later_fault() {
    let mut rules = Rules::default();
    rules.add(Fault::statuses([503, 200]));
    rules.add(Fault::status(500));
    assert_eq!([(); 3].map(|()| seen(&mut rules, at(0))), [503, 200, 500]);
}

#[test]
fn a_fault_keeps_to_its_instance_route_count_and_offset() {
    let mut rules = Rules::default();
    let id = rules.add(Fault::status(503).instance(1).on(Method::GET, "/api/v2/admin/users/{id}").after(1).times(2));
    assert_eq!(seen(&mut rules, at(0)), 200);
    assert_eq!(seen(&mut rules, Arrival { method: &Method::PATCH, ..at(1) }), 200);
    assert_eq!(seen(&mut rules, Arrival { path: "/api/v2/admin/users", ..at(1) }), 200);
    assert_eq!([(); 4].map(|()| seen(&mut rules, at(1))), [200, 503, 503, 200]);
    assert_eq!(rules.fired(id), 2);
    assert!(rules.remove(id));
    assert!(!rules.remove(id));
}

#[test]
fn latencies_add_up_and_the_first_decision_ends_the_matter() {
    let mut rules = Rules::default();
    rules.add(Fault::latency(Duration::from_secs(1)));
    rules.add(Fault::latency(Duration::from_secs(2)));
    rules.add(Fault::close());
    let later = rules.add(Fault::status(503));
    let plan = rules.decide(at(0), Instant::now());
    assert_eq!(plan.delay, Duration::from_secs(3));
    assert!(matches!(plan.verdict, Verdict::Close));
    assert_eq!(rules.fired(later), 0);
}

#[test]
fn a_probability_is_the_same_for_the_same_seed_and_near_what_was_asked() {
    let draw = |seed| {
        let mut rules = Rules::default();
        rules.add(Fault::status(500).probability(0.1, seed));
        (0..10_000).map(|_| seen(&mut rules, at(0))).collect::<Vec<_>>()
    };
    let failures = draw(7).iter().filter(|status| **status == 500).count();
    assert!((900..1100).contains(&failures), "{failures}");
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
}

#[test]
fn a_quota_says_when_to_come_back_and_counts_only_refusals_as_fired() {
    let mut rules = Rules::default();
    let id = rules.add(Fault::quota(2, Duration::from_millis(1500)).announced());
    let (start, half) = (Instant::now(), Duration::from_millis(500));
    for (instance, now, remaining, reset) in [(0, start, "1", "2"), (1, start + half, "0", "1")] {
        let admitted = rules.decide(at(instance), now).headers;
        assert_eq!(admitted["ratelimit-remaining"], remaining);
        assert_eq!(admitted["ratelimit-reset"], reset);
    }
    let refused = rules.decide(at(0), start);
    assert!(matches!(refused.verdict, Verdict::Status(StatusCode::TOO_MANY_REQUESTS)));
    assert_eq!(refused.headers[header::RETRY_AFTER], "2");
    assert_eq!(rules.fired(id), 1);
}

#[test]
fn what_is_no_final_status_becomes_500() {
    for wrong in [0, 99, 100, 101, 1000, u16::MAX] {
        let mut rules = Rules::default();
        rules.add(Fault::statuses([wrong]));
        assert_eq!(seen(&mut rules, at(0)), 500, "{wrong}");
    }
}

#[test]
fn more_faults_than_are_kept_push_out_the_oldest() {
    let mut rules = Rules::default();
    let first = rules.add(Fault::status(503));
    for _ in 0..1024 {
        rules.add(Fault::status(500));
    }
    assert_eq!(seen(&mut rules, at(0)), 500);
    assert!(!rules.remove(first));
}
