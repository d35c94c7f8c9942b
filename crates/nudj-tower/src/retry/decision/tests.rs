use proptest::prelude::*;

use super::*;
use crate::classify::Outcome;

const RULES: Rules = Rules { max_retries: 3, max_retry_after: Duration::from_secs(60), unsafe_methods: false };

fn seen(verdict: Verdict) -> Situation {
    Situation { verdict, idempotent: true, intact: true, repeats: 0, elsewhere: false, time_left: None }
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn the_table_of_decisions_holds() {
    let failure = Verdict::failure();
    let not_sent = failure.resend(Resend::NotSent);
    let open = Verdict::ignored().resend(Resend::Elsewhere).retry_after(Some(secs(90)));
    let throttled = |wait| Verdict::throttled().retry_after(Some(secs(wait)));
    let asking = failure.retry_after(Some(secs(30)));
    let unsafe_ok = Rules { unsafe_methods: true, ..RULES };
    for (why, rules, seen, expected) in [
        ("a success stands", RULES, seen(Verdict::success()), Err(Stop::Final)),
        ("an own refusal stands", RULES, seen(Verdict::ignored()), Err(Stop::Final)),
        ("idempotent", RULES, seen(failure), Ok(Again::Backoff)),
        ("a POST", RULES, Situation { idempotent: false, ..seen(failure) }, Err(Stop::NotIdempotent)),
        ("a POST, asked for", unsafe_ok, Situation { idempotent: false, ..seen(failure) }, Ok(Again::Backoff)),
        ("a POST on 429", RULES, Situation { idempotent: false, ..seen(throttled(2)) }, Ok(Again::Asked(secs(2)))),
        ("a POST that never left", RULES, Situation { idempotent: false, ..seen(not_sent) }, Ok(Again::Backoff)),
        ("elsewhere at once", RULES, Situation { elsewhere: true, ..seen(not_sent) }, Ok(Again::Failover)),
        ("a failure is not failed over", RULES, Situation { elsewhere: true, ..seen(failure) }, Ok(Again::Backoff)),
        ("open here", RULES, seen(open), Err(Stop::NoOtherEndpoint)),
        ("open here, not there", RULES, Situation { elsewhere: true, ..seen(open) }, Ok(Again::Failover)),
        ("the body is gone", RULES, Situation { intact: false, ..seen(failure) }, Err(Stop::BodyGone)),
        ("enough", RULES, Situation { repeats: 3, ..seen(failure) }, Err(Stop::Exhausted)),
        ("one more", RULES, Situation { repeats: 2, ..seen(failure) }, Ok(Again::Backoff)),
        ("enough failovers", RULES, Situation { repeats: 3, elsewhere: true, ..seen(not_sent) }, Err(Stop::Exhausted)),
        ("at the limit", RULES, seen(throttled(60)), Ok(Again::Asked(secs(60)))),
        ("a failure that asks for time", RULES, seen(asking), Ok(Again::Asked(secs(30)))),
        ("it speaks for its endpoint", RULES, Situation { elsewhere: true, ..seen(asking) }, Ok(Again::Backoff)),
        (
            "a quota is everywhere",
            RULES,
            Situation { elsewhere: true, ..seen(throttled(2)) },
            Ok(Again::Asked(secs(2))),
        ),
        ("beyond the limit", RULES, seen(throttled(61)), Err(Stop::RetryAfterTooLong)),
        ("past the deadline", RULES, Situation { time_left: Some(secs(5)), ..seen(throttled(5)) }, Err(Stop::Deadline)),
        ("at once is no reason to hammer", RULES, seen(throttled(0)), Ok(Again::Backoff)),
        ("within it", RULES, Situation { time_left: Some(secs(6)), ..seen(throttled(5)) }, Ok(Again::Asked(secs(5)))),
        (
            "no time to fail over",
            RULES,
            Situation { time_left: Some(secs(0)), elsewhere: true, ..seen(not_sent) },
            Err(Stop::Deadline),
        ),
    ] {
        assert_eq!(decide(&rules, &seen), expected, "{why}");
    }
}

fn situations() -> impl Strategy<Value = Situation> {
    let resend = prop_oneof![
        Just(Resend::Never),
        Just(Resend::Elsewhere),
        Just(Resend::IfIdempotent),
        Just(Resend::Refused),
        Just(Resend::NotSent)
    ];
    let wait = proptest::option::of((0u64..200).prop_map(secs));
    (resend, wait.clone(), any::<[bool; 3]>(), 0u32..5, wait).prop_map(
        |(resend, retry_after, [idempotent, intact, elsewhere], repeats, time_left)| Situation {
            verdict: Verdict { outcome: Outcome::Failure, resend, retry_after },
            idempotent,
            intact,
            repeats,
            elsewhere,
            time_left,
        },
    )
}

proptest! {
    #[test]
    fn whatever_happened_the_rules_hold(seen in situations(), unsafe_methods: bool) {
        let rules = Rules { unsafe_methods, ..RULES };
        let decision = decide(&rules, &seen);
        if let Ok(again) = decision {
            prop_assert!(seen.intact && seen.repeats < 3 && seen.verdict.resend != Resend::Never);
            prop_assert!(seen.time_left != Some(Duration::ZERO));
            prop_assert!(seen.idempotent || unsafe_methods || seen.verdict.resend != Resend::IfIdempotent);
            match again {
                Again::Failover => prop_assert!(seen.elsewhere),
                Again::Backoff => {
                    let spared = seen.verdict.resend == Resend::IfIdempotent && seen.elsewhere;
                    prop_assert!(spared || seen.verdict.retry_after.unwrap_or_default().is_zero());
                }
                Again::Asked(wait) => {
                    prop_assert_eq!(seen.verdict.retry_after, Some(wait));
                    prop_assert!(!wait.is_zero() && wait <= rules.max_retry_after && fits(wait, seen.time_left));
                }
            }
        }
        if seen.verdict.resend == Resend::Elsewhere && !seen.elsewhere {
            prop_assert!(decision.is_err());
        }
    }

    #[test]
    fn never_sooner_than_asked_and_at_most_a_quarter_later(
        asked in any::<Duration>(), spread in any::<f64>(), left in proptest::option::of(any::<Duration>()),
    ) {
        let wait = spread_asked(asked, spread, left);
        prop_assert!(asked <= wait && wait <= asked.saturating_add(asked / 4));
        if fits(asked, left) {
            prop_assert!(fits(wait, left));
        }
    }
}
