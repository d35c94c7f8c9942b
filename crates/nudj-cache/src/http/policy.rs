//! What may be stored, and what may be served. Plain values in, a verdict out.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};

use super::directives::{self, Directives};

/// A private cache: it serves one identity (its partition), so `private` may be stored and `s-maxage` is ignored.
const OPTIONS: CacheOptions = CacheOptions {
    shared: false,
    cache_heuristic: 0.1,
    // It says something of the lifetime that there is, and gives none (RFC 8246, 2).
    immutable_min_time_to_live: Duration::ZERO,
    ignore_cargo_cult: false,
};

/// What the configuration says for one answer.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// Lifetime of an answer that says nothing about caching (or of every answer, see `override_origin`).
    pub(super) ttl: Option<Duration>,
    pub(super) override_origin: bool,
    /// Lifetime of a 404 or 410 that says nothing about caching.
    pub(super) negative_ttl: Duration,
    /// This and the next: for a 2xx answer that does not say.
    pub(super) stale_while_revalidate: Duration,
    pub(super) stale_if_error: Duration,
    /// How long a stale answer with a validator is kept, to be confirmed.
    pub(super) keep_for_revalidation: Duration,
}

/// How long an answer is fresh, and what may be done with it afterwards. All times count from when it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Freshness {
    pub(super) lifetime: Duration,
    /// Age it came with.
    pub(super) initial_age: Duration,
    /// Beyond `lifetime`.
    pub(super) stale_while_revalidate: Duration,
    /// Beyond `lifetime`.
    pub(super) stale_if_error: Duration,
    /// Never to be served stale (`must-revalidate`, `no-cache`).
    pub(super) must_revalidate: bool,
    /// Seconds of `max-age` that count instead of the answer's own headers.
    pub(super) given: Option<u64>,
    /// How long it is worth keeping.
    pub(super) keep: Duration,
}

/// What may be done with a stored answer for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Serve it.
    Fresh,
    /// Serve it, and ask the origin meanwhile.
    StaleWhileRevalidate,
    /// Ask the origin first. `on_error`: serve it if the origin fails.
    Stale { on_error: bool },
}

/// Whether and how an answer may be stored; `None` when it may not, or is worth nothing.
pub(super) fn assess(
    method: &Method,
    request: &Directives,
    status: StatusCode,
    headers: &HeaderMap,
    rules: &Rules,
    now: SystemTime,
) -> Option<Freshness> {
    let now = sane(now);
    let answer = Directives::read(headers);
    // `Vary: *` fits no later request.
    if request.no_store || answer.no_store || varies_by_all(headers) {
        return None;
    }
    let says_something = answer.present || headers.contains_key(header::EXPIRES);
    let negative = matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    // Without a lifetime it is not cached at all: no validator and no guess from `Last-Modified` changes that.
    if negative && !says_something && rules.negative_ttl.is_zero() {
        return None;
    }
    let ttl = if negative { Some(rules.negative_ttl) } else { rules.ttl.filter(|_| status.is_success()) };
    let given = ttl
        .filter(|ttl| {
            let may = !says_something || (rules.override_origin && !answer.no_cache && !negative);
            may && !ttl.is_zero()
        })
        // Rounded up, since a directive has whole seconds; `lifetime` below is exact.
        .map(|ttl| ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0)));
    let policy = policy(method, None, status, headers, given, now);
    if !policy.is_storable() {
        return None;
    }
    let fresh = policy.time_to_live(now);
    let lifetime = if given.is_some() { ttl.map_or(fresh, |ttl| ttl.min(fresh)) } else { fresh };
    let must_revalidate = answer.must_revalidate || answer.no_cache;
    // The configured windows are for what there is. What is missing, moved or refused must not outlive its lifetime,
    // or be stored for the windows' sake alone, unless the origin says so.
    let window = |said: Option<u64>, default: Duration| match said {
        _ if must_revalidate => Duration::ZERO,
        Some(seconds) => Duration::from_secs(seconds),
        None if status.is_success() => default,
        None => Duration::ZERO,
    };
    let stale_while_revalidate = window(answer.stale_while_revalidate, rules.stale_while_revalidate);
    let stale_if_error = window(answer.stale_if_error, rules.stale_if_error);
    let validated = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
    let for_revalidation = if validated { rules.keep_for_revalidation } else { Duration::ZERO };
    let keep = lifetime.saturating_add(stale_while_revalidate.max(stale_if_error).max(for_revalidation));
    (!keep.is_zero()).then_some(Freshness {
        lifetime,
        initial_age: directives::age(headers),
        stale_while_revalidate,
        stale_if_error,
        must_revalidate,
        given,
        keep,
    })
}

/// What may be done with a stored answer that was asked for `age` ago.
pub(super) fn judge(
    request: &Directives,
    freshness: &Freshness,
    (status, headers): (StatusCode, &HeaderMap),
    age: Duration,
    now: impl FnOnce() -> SystemTime,
) -> Verdict {
    let fresh = age < freshness.lifetime;
    let on_error = !freshness.must_revalidate
        && !request.no_cache
        && !freshness.stale_if_error.is_zero()
        && age < freshness.lifetime.saturating_add(freshness.stale_if_error);
    if !request.present {
        return match () {
            () if fresh => Verdict::Fresh,
            () if age < freshness.lifetime.saturating_add(freshness.stale_while_revalidate) => {
                Verdict::StaleWhileRevalidate
            }
            () => Verdict::Stale { on_error },
        };
    }
    // The request has wishes of its own; http-cache-semantics weighs them. It would serve a `no-cache` answer to a
    // request with `max-stale`, so what must be revalidated is not asked for.
    if fresh || !freshness.must_revalidate {
        let now = sane(now());
        let received = now.checked_sub(age).unwrap_or(SystemTime::UNIX_EPOCH);
        let policy = policy(&Method::GET, Some(request), status, headers, freshness.given, received);
        if matches!(policy.before_request(&head(&Method::GET, Some(request)), now), BeforeRequest::Fresh(_)) {
            return Verdict::Fresh;
        }
    }
    Verdict::Stale { on_error }
}

/// What `stale-if-error` counts as an error (RFC 5861, 4).
pub(super) fn is_failure(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

fn varies_by_all(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::VARY)
        .iter()
        .any(|value| value.as_bytes().split(|byte| *byte == b',').any(|name| name.trim_ascii() == b"*"))
}

fn policy(
    method: &Method,
    request: Option<&Directives>,
    status: StatusCode,
    headers: &HeaderMap,
    given: Option<u64>,
    received: SystemTime,
) -> CachePolicy {
    // Only what freshness depends on; Vary, ETag and the URI are this crate's business.
    let mut seen = HeaderMap::with_capacity(6);
    let cache_control = match given {
        Some(seconds) => HeaderValue::try_from(format!("max-age={seconds}")).ok(),
        None => Directives::read(headers).canonical(),
    };
    if let Some(value) = cache_control {
        seen.insert(header::CACHE_CONTROL, value);
    }
    for name in [header::EXPIRES, header::DATE, header::LAST_MODIFIED, header::ETAG] {
        if let Some(value) = headers.get(&name) {
            seen.insert(name, value.clone());
        }
    }
    let age = directives::age(headers).as_secs();
    if age > 0 {
        seen.insert(header::AGE, HeaderValue::from(age));
    }
    let mut answer = Response::new(());
    *answer.status_mut() = status;
    *answer.headers_mut() = seen;
    CachePolicy::new_options(&head(method, request), &answer, sane(received), OPTIONS)
}

fn head(method: &Method, directives: Option<&Directives>) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    if let Some(value) = directives.and_then(Directives::canonical) {
        request.headers_mut().insert(header::CACHE_CONTROL, value);
    }
    request
}

/// A time http-cache-semantics can format: it panics beyond the year 9999.
fn sane(now: SystemTime) -> SystemTime {
    let year_9000 = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(221_845_392_000));
    now.max(SystemTime::UNIX_EPOCH).min(year_9000.unwrap_or(SystemTime::UNIX_EPOCH))
}

#[cfg(test)]
mod tests;
