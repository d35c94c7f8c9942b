use proptest::prelude::*;

use super::*;

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (name.parse::<http::HeaderName>().unwrap(), HeaderValue::try_from(*value).unwrap()))
        .collect()
}

fn directives(cache_control: &str) -> Directives {
    Directives::read(&headers(&[("cache-control", cache_control)]))
}

const S: fn(u64) -> Duration = Duration::from_secs;

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + S(1_800_000_000)
}

fn assess_get(status: u16, answer: &[(&str, &str)], rules: &Rules) -> Option<Freshness> {
    let status = StatusCode::from_u16(status).unwrap();
    assess(&Method::GET, &Directives::default(), status, &headers(answer), rules, now())
}

fn lifetime(status: u16, answer: &[(&str, &str)], rules: &Rules) -> Option<u64> {
    assess_get(status, answer, rules).map(|freshness| freshness.lifetime.as_secs())
}

#[test]
fn what_may_be_stored_and_for_how_long() {
    let none = Rules::default();
    let http_date = |at: SystemTime| httpdate::fmt_http_date(at);
    let expires = http_date(now() + S(30));
    let date = http_date(now());
    let past = http_date(now() - S(1));
    let modified = http_date(now() - S(1000));
    for (status, answer, expected) in [
        (200, vec![("cache-control", "max-age=60")], Some(60)),
        (200, vec![("cache-control", "max-age=60"), ("age", "20")], Some(40)),
        (200, vec![("cache-control", "private, max-age=60")], Some(60)),
        (200, vec![("cache-control", "s-maxage=600, max-age=60")], Some(60)),
        (200, vec![("cache-control", "max-age=60, No-Store")], None),
        (200, vec![("cache-control", "max-age=60"), ("vary", "accept, *")], None),
        (200, vec![("cache-control", "no-cache, max-age=60")], None),
        (200, vec![], None),
        (200, vec![("expires", &expires), ("date", &date)], Some(30)),
        (200, vec![("expires", "0")], None),
        (200, vec![("cache-control", "immutable, max-age=60")], Some(60)),
        (200, vec![("cache-control", "immutable"), ("expires", &expires), ("date", &date)], Some(30)),
        (200, vec![("cache-control", "immutable"), ("expires", &past), ("date", &date)], None),
        (200, vec![("cache-control", "immutable")], None),
        (200, vec![("last-modified", &modified), ("date", &date)], Some(100)),
        (206, vec![("cache-control", "max-age=60")], None),
        (304, vec![("cache-control", "max-age=60")], None),
        (404, vec![("cache-control", "max-age=60")], Some(60)),
        (404, vec![], None),
        (500, vec![("cache-control", "max-age=60")], None),
        (429, vec![("cache-control", "max-age=60")], None),
        (301, vec![("cache-control", "max-age=60")], Some(60)),
    ] {
        assert_eq!(lifetime(status, &answer, &none), expected, "{status} {answer:?}");
    }
}

#[test]
fn route_gives_a_lifetime_to_answers_that_say_nothing() {
    let rules = Rules { ttl: Some(S(300)), ..Rules::default() };
    assert_eq!(lifetime(200, &[], &rules), Some(300));
    assert_eq!(lifetime(200, &[("age", "10")], &rules), Some(290));
    assert_eq!(lifetime(200, &[("cache-control", "max-age=5")], &rules), Some(5), "the origin's word wins");
    assert_eq!(lifetime(200, &[("cache-control", "no-store")], &rules), None);
    assert_eq!(lifetime(200, &[("cache-control", "no-cache")], &rules), None);
    assert_eq!(lifetime(500, &[], &rules), None);
    assert_eq!(lifetime(404, &[], &rules), None, "not for negative answers");

    let over = Rules { override_origin: true, ..rules };
    assert_eq!(lifetime(200, &[("cache-control", "max-age=5")], &over), Some(300));
    assert_eq!(lifetime(200, &[("cache-control", "no-store")], &over), None);
    assert_eq!(lifetime(200, &[("cache-control", "no-cache")], &over), None);

    let exact = Rules { ttl: Some(Duration::from_millis(1500)), ..Rules::default() };
    assert_eq!(assess_get(200, &[], &exact).unwrap().lifetime, Duration::from_millis(1500));
}

#[test]
fn negative_answers_have_their_own_lifetime() {
    let rules = Rules { ttl: Some(S(300)), negative_ttl: S(10), ..Rules::default() };
    assert_eq!(lifetime(404, &[], &rules), Some(10));
    assert_eq!(lifetime(410, &[], &rules), Some(10));
    assert_eq!(lifetime(404, &[("cache-control", "max-age=2")], &rules), Some(2));
    assert_eq!(lifetime(403, &[], &rules), None);
}

#[test]
fn stale_windows_are_the_answers_or_the_configured_and_none_under_must_revalidate() {
    let rules = Rules { stale_while_revalidate: S(7), stale_if_error: S(8), ..Rules::default() };
    let windows = |cache_control: &str| {
        let freshness = assess_get(200, &[("cache-control", cache_control), ("etag", "\"a\"")], &rules)
            .unwrap_or_else(|| panic!("{cache_control} is not stored"));
        (freshness.stale_while_revalidate.as_secs(), freshness.stale_if_error.as_secs())
    };
    assert_eq!(windows("max-age=60"), (7, 8));
    assert_eq!(windows("max-age=60, stale-while-revalidate=1, stale-if-error=2"), (1, 2));
    assert_eq!(windows("max-age=60, stale-if-error=2, Must-Revalidate"), (0, 0));
}

#[test]
fn configured_windows_are_for_2xx_answers_only() {
    let windows = Rules {
        stale_while_revalidate: S(60),
        stale_if_error: S(3600),
        keep_for_revalidation: S(3600),
        ..Rules::default()
    };
    for status in [404, 410] {
        let bare: [&[(&str, &str)]; 3] =
            [&[], &[("etag", "\"a\"")], &[("last-modified", "Mon, 02 Nov 2026 00:00:00 GMT")]];
        for answer in bare {
            assert_eq!(assess_get(status, answer, &windows), None, "{status} {answer:?}");
        }
    }
    for status in [301, 405, 414, 501] {
        assert_eq!(assess_get(status, &[], &windows), None, "{status}");
    }
    let negative = Rules { negative_ttl: S(10), ..windows };
    for (status, answer) in
        [(404, &[][..]), (404, &[("cache-control", "max-age=10")]), (301, &[("cache-control", "max-age=10")])]
    {
        let stored = assess_get(status, answer, &negative).unwrap();
        assert_eq!((stored.lifetime, stored.keep), (S(10), S(10)), "{status} {answer:?}");
        assert_eq!((stored.stale_while_revalidate, stored.stale_if_error), (S(0), S(0)), "{status} {answer:?}");
    }
    let said = assess_get(404, &[("cache-control", "max-age=10, stale-while-revalidate=5")], &negative).unwrap();
    assert_eq!((said.stale_while_revalidate, said.keep), (S(5), S(15)), "the origin's word wins");
}

#[test]
fn answer_with_a_validator_is_kept_to_be_confirmed() {
    let rules = Rules { keep_for_revalidation: S(3600), ..Rules::default() };
    let kept = |answer: &[(&str, &str)]| assess_get(200, answer, &rules).map(|freshness| freshness.keep.as_secs());
    assert_eq!(kept(&[("cache-control", "max-age=60"), ("etag", "\"a\"")]), Some(3660));
    assert_eq!(kept(&[("cache-control", "max-age=60")]), Some(60));
    assert_eq!(kept(&[("cache-control", "no-cache"), ("etag", "\"a\"")]), Some(3600));
    assert_eq!(kept(&[("etag", "\"a\"")]), Some(3600));
}

fn verdict(answer: &str, request: &str, age: u64) -> Verdict {
    let rules = Rules { keep_for_revalidation: S(3600), ..Rules::default() };
    let answer = headers(&[("cache-control", answer), ("etag", "\"a\"")]);
    let freshness = assess(&Method::GET, &Directives::default(), StatusCode::OK, &answer, &rules, now()).unwrap();
    let request = if request.is_empty() { Directives::default() } else { directives(request) };
    judge(&request, &freshness, (StatusCode::OK, &answer), S(age), now)
}

#[test]
fn what_may_be_served() {
    let stale = Verdict::Stale { on_error: false };
    let on_error = Verdict::Stale { on_error: true };
    for (answer, request, age, expected) in [
        ("max-age=60", "", 59, Verdict::Fresh),
        ("max-age=60", "", 60, stale),
        ("max-age=60, stale-while-revalidate=10", "", 69, Verdict::StaleWhileRevalidate),
        ("max-age=60, stale-while-revalidate=10", "", 70, stale),
        ("max-age=60, stale-if-error=10", "", 69, on_error),
        ("max-age=60, stale-if-error=10", "", 70, stale),
        ("max-age=60, stale-if-error=10, must-revalidate", "", 61, stale),
        ("max-age=60, stale-while-revalidate=10, must-revalidate", "", 61, stale),
        ("no-cache, stale-while-revalidate=10, stale-if-error=10", "", 0, stale),
        ("max-age=60", "no-cache", 1, stale),
        ("max-age=60", "NO-CACHE", 1, stale),
        ("max-age=60, stale-if-error=10", "no-cache", 1, stale),
        ("max-age=60", "max-age=10", 5, Verdict::Fresh),
        ("max-age=60", "max-age=10", 11, stale),
        ("max-age=60", "min-fresh=20", 30, Verdict::Fresh),
        ("max-age=60", "min-fresh=20", 50, stale),
        ("max-age=60", "max-stale=20", 70, Verdict::Fresh),
        ("max-age=60", "max-stale=5", 70, stale),
        ("max-age=60", "max-stale", 1000, Verdict::Fresh),
        ("max-age=60, must-revalidate", "max-stale", 70, stale),
        ("no-cache", "max-stale", 1, stale),
        ("max-age=60, stale-while-revalidate=10", "max-age=100", 65, stale),
    ] {
        assert_eq!(verdict(answer, request, age), expected, "answer {answer:?} request {request:?} age {age}");
    }
}

#[test]
fn absurd_clocks_and_ages_do_not_panic() {
    let far = SystemTime::UNIX_EPOCH + S(1 << 40);
    let answer = headers(&[
        ("cache-control", "max-age=18446744073709551615, stale-if-error=18446744073709551615"),
        ("age", "18446744073709551615"),
        ("date", "Mon, 01 Jan 0000 00:00:00 GMT"),
        ("expires", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("etag", "\"a\""),
    ]);
    let rules = Rules { keep_for_revalidation: Duration::MAX, ..Rules::default() };
    for clock in [SystemTime::UNIX_EPOCH, now(), far] {
        let request = directives("max-stale, min-fresh=99999999999999999999");
        let stored = assess(&Method::GET, &request, StatusCode::OK, &answer, &rules, clock).unwrap();
        for age in [Duration::ZERO, Duration::MAX] {
            let _ = judge(&request, &stored, (StatusCode::OK, &answer), age, || clock);
        }
    }
}

#[test]
fn clock_beyond_the_year_9999_does_not_panic() {
    let far = SystemTime::UNIX_EPOCH + S(1 << 40);
    let answer = headers(&[("cache-control", "max-age=60")]);
    let none = Directives::default();
    let stored = assess(&Method::GET, &none, StatusCode::OK, &answer, &Rules::default(), far).unwrap();
    let verdict = judge(&directives("max-age=100"), &stored, (StatusCode::OK, &answer), S(1), || far);
    assert_eq!(verdict, Verdict::Fresh);
}

proptest! {
    /// An answer that must be revalidated is never served stale, whatever request and windows say; and nothing that
    /// is not fresh is served but in a window that was given.
    #[test]
    fn nothing_stale_is_served_without_leave(
        max_age in 0u64..100, swr in 0u64..50, sie in 0u64..50, age in 0u64..200,
        must in any::<bool>(), no_cache in any::<bool>(), wish in 0usize..4,
    ) {
        let mut answer = format!("max-age={max_age}, stale-while-revalidate={swr}, stale-if-error={sie}");
        if must { answer.push_str(", must-revalidate"); }
        if no_cache { answer.push_str(", no-cache"); }
        let request = ["", "max-stale", "max-stale=10", "max-age=50"][wish];
        let fresh = age < max_age && !no_cache;
        let got = verdict(&answer, request, age);
        if must || no_cache {
            prop_assert!(fresh || got == Verdict::Stale { on_error: false }, "{answer} {request} {age}: {got:?}");
        }
        match got {
            Verdict::Fresh => prop_assert!(fresh || wish == 1 || (wish == 2 && age < max_age + 10)),
            Verdict::StaleWhileRevalidate => prop_assert!(!fresh && age < max_age + swr),
            Verdict::Stale { on_error } => prop_assert!(!on_error || age < max_age + sie),
        }
    }

    #[test]
    fn any_headers_are_assessed_without_a_panic(
        cache_control in "[ -~]{0,40}", age in "[ -~]{0,24}", date in "[ -~]{0,40}", status in 100u16..600,
    ) {
        let answer = headers(&[
            ("cache-control", &cache_control), ("age", &age), ("date", &date), ("expires", &date), ("last-modified", &date),
        ]);
        let status = StatusCode::from_u16(status).unwrap();
        let rules = Rules { keep_for_revalidation: S(60), ..Rules::default() };
        let request = directives(&cache_control);
        if let Some(freshness) = assess(&Method::GET, &request, status, &answer, &rules, now()) {
            let _ = judge(&request, &freshness, (status, &answer), S(5), now);
        }
    }
}
