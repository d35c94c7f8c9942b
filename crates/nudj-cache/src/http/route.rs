//! Rules for routes whose answers say nothing about caching.

use std::{collections::HashSet, time::Duration};

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::error::CacheError;

/// How the answers of one route are cached, and what a change through it invalidates.
///
/// ```
/// use std::time::Duration;
/// let rule = nudj_cache::RouteRule::new("/api/v2/admin/users/{id}", Duration::from_secs(300))
///     .key("user:{id}")
///     .tag("user:{id}")
///     .invalidates("users");
/// rule.validate().unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRule {
    /// The whole path: literal segments, `{name}` for one segment, and `{*name}` last for all that follow.
    pub path: String,
    /// Lifetime of a 2xx answer that says nothing about caching. 0: the rule gives none.
    #[serde(default, with = "humantime_serde")]
    pub ttl: Duration,
    /// Take `ttl` also where the answer has a lifetime of its own. `no-store` and `no-cache` are obeyed all the same.
    /// Default false.
    #[serde(default)]
    pub override_origin: bool,
    /// Lifetime of a 404 or 410 of this route that says nothing about caching; without it
    /// [`HttpCacheConfig::negative_ttl`](super::HttpCacheConfig::negative_ttl).
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub negative_ttl: Option<Duration>,
    /// Key to store under instead of the URI, such as `user:{id}`. The query is kept; partition, credentials and the
    /// headers that select an answer always are part of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Tags of the answers, such as `user:{id}`. A successful POST, PUT, PATCH or DELETE on this path invalidates them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Further tags that such a change invalidates, such as `users` for lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invalidates: Vec<String>,
}

impl RouteRule {
    /// A rule with a lifetime and nothing else.
    pub fn new(path: impl Into<String>, ttl: Duration) -> Self {
        Self {
            path: path.into(),
            ttl,
            override_origin: false,
            negative_ttl: None,
            key: None,
            tags: Vec::new(),
            invalidates: Vec::new(),
        }
    }

    /// Stored under this key.
    #[must_use]
    pub fn key(mut self, template: impl Into<String>) -> Self {
        self.key = Some(template.into());
        self
    }

    /// With this tag.
    #[must_use]
    pub fn tag(mut self, template: impl Into<String>) -> Self {
        self.tags.push(template.into());
        self
    }

    /// A change also invalidates this tag.
    #[must_use]
    pub fn invalidates(mut self, template: impl Into<String>) -> Self {
        self.invalidates.push(template.into());
        self
    }

    /// Checks path and templates.
    ///
    /// # Errors
    /// [`CacheError::Config`] when the path does not start with `/`, has a broken or repeated `{name}`, or a template
    /// uses a name the path does not have.
    pub fn validate(&self) -> Result<(), CacheError> {
        Route::compile(self).map(|_| ())
    }
}

/// A rule made ready to match.
#[derive(Debug)]
pub(super) struct Route {
    segments: Vec<Segment>,
    pub(super) rule: RouteRule,
}

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    One(String),
    Rest(String),
}

/// What the names of a path stand for in one request.
pub(super) type Values<'a> = Vec<(&'a str, &'a str)>;

impl Route {
    pub(super) fn compile(rule: &RouteRule) -> Result<Self, CacheError> {
        let fail = |message: String| Err(CacheError::config("routes.path", message));
        let Some(path) = rule.path.strip_prefix('/') else {
            return fail(format!("{:?} must start with '/'", rule.path));
        };
        let mut names = HashSet::new();
        let mut segments = Vec::new();
        for part in path.split('/') {
            if matches!(segments.last(), Some(Segment::Rest(_))) {
                return fail(format!("{:?} must end with its {{*name}}", rule.path));
            }
            let name = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
            let segment = match name {
                None if part.contains(['{', '}']) => {
                    return fail(format!("{:?}: a {{name}} must be a whole segment", rule.path));
                }
                None => Segment::Literal(part.into()),
                Some(name) => match name.strip_prefix('*') {
                    Some(name) => Segment::Rest(name.into()),
                    None => Segment::One(name.into()),
                },
            };
            if let Segment::One(name) | Segment::Rest(name) = &segment
                && (name.is_empty() || name.contains(['{', '}', '*']) || !names.insert(name.clone()))
            {
                return fail(format!("{:?}: {name:?} is empty, broken or used twice", rule.path));
            }
            segments.push(segment);
        }
        for template in rule.key.iter().chain(&rule.tags).chain(&rule.invalidates) {
            for name in template.split('{').skip(1) {
                let Some((name, _)) = name.split_once('}') else {
                    return Err(CacheError::config("routes.tags", format!("{template:?} has a '{{' without '}}'")));
                };
                if !names.contains(name) {
                    let message = format!("{template:?} uses {name:?}, which the path {:?} has not", rule.path);
                    return Err(CacheError::config("routes.tags", message));
                }
            }
        }
        Ok(Self { segments, rule: rule.clone() })
    }

    /// The values of the path's names, when it fits.
    pub(super) fn matches<'a>(&'a self, path: &'a str) -> Option<Values<'a>> {
        let mut rest = Some(path.strip_prefix('/')?);
        let mut values = Vec::new();
        for segment in &self.segments {
            let left = rest?;
            let (part, after) = left.split_once('/').map_or((left, None), |(part, after)| (part, Some(after)));
            match segment {
                Segment::Literal(literal) if literal == part => rest = after,
                Segment::One(name) if !part.is_empty() => {
                    values.push((name.as_str(), part));
                    rest = after;
                }
                Segment::Rest(name) => {
                    values.push((name.as_str(), left));
                    rest = None;
                }
                Segment::Literal(_) | Segment::One(_) => return None,
            }
        }
        rest.is_none().then_some(values)
    }
}

/// A tag with its names filled in, percent-decoded: a webhook's `user:a b` must find the path's `a%20b`.
pub(super) fn tag(template: &str, values: &Values<'_>) -> String {
    expand(template, values, |out, value, _| match percent_decode_str(value).decode_utf8() {
        Ok(decoded) => out.push_str(&decoded),
        Err(_) => out.push_str(value),
    })
}

/// A key with its names filled in as they stand in the path: decoded, a `?` could pose as a query. A value that something
/// follows has a space behind it, which no URI holds: so it is never in doubt where one ends, and `a:b` and `c` are not
/// `a` and `b:c`.
pub(super) fn key(template: &str, values: &Values<'_>) -> String {
    expand(template, values, |out, value, after| {
        out.push_str(value);
        if !after.is_empty() {
            out.push(' ');
        }
    })
}

/// `push` is given a value and what follows it in the template.
fn expand(template: &str, values: &Values<'_>, push: impl Fn(&mut String, &str, &str)) -> String {
    let mut out = String::with_capacity(template.len() + 24);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let (name, after) = after.split_once('}').unwrap_or((after, ""));
        if let Some((_, value)) = values.iter().find(|(known, _)| *known == name) {
            push(&mut out, value, after);
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(path: &str) -> Route {
        Route::compile(&RouteRule::new(path, Duration::ZERO)).unwrap()
    }

    #[test]
    fn paths_match_whole() {
        let users = route("/api/v2/users/{id}");
        assert_eq!(users.matches("/api/v2/users/7"), Some(vec![("id", "7")]));
        for other in ["/api/v2/users", "/api/v2/users/", "/api/v2/users/7/x", "/v2/users/7", "api/v2/users/7", "", "*"]
        {
            assert_eq!(users.matches(other), None, "{other}");
        }
        let rest = route("/files/{*path}");
        assert_eq!(rest.matches("/files/a/b"), Some(vec![("path", "a/b")]));
        assert_eq!(route("/").matches("/"), Some(vec![]));
    }

    #[test]
    fn tags_are_filled_with_decoded_values_and_keys_with_raw_ones() {
        let values = vec![("id", "a%20b"), ("broken", "%ff")];
        assert_eq!(tag("user:{id}:x", &values), "user:a b:x");
        assert_eq!(tag("{broken}", &values), "%ff");
        assert_eq!(tag("plain", &values), "plain");
        assert_eq!(key("user:{id}", &values), "user:a%20b");
        assert_eq!(key("user:{id}:x", &values), "user:a%20b :x");
    }

    #[test]
    fn keys_of_different_values_differ() {
        for template in ["{a}:{b}", "{a}-{b}", "{a}{b}", "{b}/{a}", "x{a}:{b}:{a}"] {
            let keys =
                [("1:2", "3"), ("1", "2:3"), ("1-2", "3"), ("1", "2-3"), ("12", "3"), ("1", "23"), ("1%20", "3")]
                    .map(|(a, b)| key(template, &vec![("a", a), ("b", b)]));
            for (n, one) in keys.iter().enumerate() {
                assert!(!keys[n + 1..].contains(one), "{template}: {one:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn values_can_be_read_from_a_key(a in "[!-~]{1,9}", b in "[!-~]{1,9}", c in "[!-~]{1,9}") {
            let key = key("{a}:{b}{c}", &vec![("a", &a), ("b", &b), ("c", &c)]);
            let parts: Vec<&str> = key.split(' ').collect();
            prop_assert_eq!(parts, [a, format!(":{b}"), c]);
        }
    }

    #[test]
    fn broken_rules_are_refused() {
        for path in ["users", "/{}", "/{a}/{a}", "/x{a}", "/{*a}/b", "/{a", "/{a*}"] {
            assert!(RouteRule::new(path, Duration::ZERO).validate().is_err(), "{path}");
        }
        for template in ["user:{id}", "user:{name"] {
            let rule = RouteRule::new("/users/{name}", Duration::ZERO);
            assert!(rule.clone().tag(template).validate().is_err(), "{template}");
            assert!(rule.clone().key(template).validate().is_err(), "{template}");
            assert!(rule.invalidates(template).validate().is_err(), "{template}");
        }
    }
}
