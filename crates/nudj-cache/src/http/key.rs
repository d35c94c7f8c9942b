//! Under which key an answer is stored.
//!
//! ```text
//! http|<length>:<partition>|<hash of the credentials in the request>|<URI, or the route's key and the query>
//! ```
//! Nothing a caller can put into a URI reaches the first two parts, and credentials that differ never share a key.
//!
//! A request that says which of a resource's answers it wants (its language) has `.<hash of what it says>` behind the
//! credentials. What is stored so, and every variant by `Vary`, has the key without it, the resource's, as a tag: a
//! change strikes every language and every variant, in every level.

use std::{borrow::Cow, fmt, sync::Arc};

use http::{Extensions, HeaderMap, HeaderName, Request, header};
use sha2::{Digest, Sha256};

use super::{
    headers::{self, CREDENTIALS, SELECTING, Traits},
    route::{self, Route, Values},
};
use crate::key;

/// Whose answers these are.
#[derive(Clone)]
pub(super) enum Partition {
    Fixed(Arc<str>),
    By(Arc<Identify>),
}

/// Finds a request's identity.
type Identify = dyn Fn(&Extensions, &HeaderMap) -> Option<String> + Send + Sync;

impl Partition {
    fn of<B>(&self, request: &Request<B>) -> Option<Cow<'_, str>> {
        match self {
            Self::Fixed(partition) => Some(Cow::Borrowed(partition)),
            Self::By(partition) => partition(request.extensions(), request.headers()).map(Cow::Owned),
        }
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the identity itself.
        f.write_str(match self {
            Self::Fixed(_) => "Partition(fixed)",
            Self::By(_) => "Partition(function)",
        })
    }
}

/// What a layer's keys are made of besides the request's URI.
#[derive(Clone)]
pub(super) struct Naming {
    pub(super) partition: Partition,
    /// Headers that tell identities apart, besides [`CREDENTIALS`].
    pub(super) credentials: Vec<HeaderName>,
    /// Headers that select one of a resource's answers, [`SELECTING`] first.
    selecting: Vec<HeaderName>,
}

/// The rule that a path fits, and what its names stand for.
type Matched<'a> = Option<(&'a Route, &'a Values<'a>)>;

impl Naming {
    /// For one partition, and with `further` headers that select an answer. Names that are none are left out; the
    /// configuration has checked them.
    pub(super) fn new(partition: Partition, further: &[String]) -> Self {
        let further = further.iter().filter_map(|name| HeaderName::try_from(name).ok());
        Self { partition, credentials: Vec::new(), selecting: SELECTING.into_iter().chain(further).collect() }
    }

    /// The key of a request, or `None` when it has no partition and so must not meet the cache.
    pub(super) fn primary<B>(&self, request: &Request<B>, traits: Traits, route: Matched<'_>) -> Option<String> {
        let selects = self.selects(request.headers(), traits);
        let selected = selects.then(|| headers::selecting(request.headers(), &self.selecting));
        self.key(request, traits, selected, route)
    }

    /// The key of what a request's URI names, whichever of its answers is asked for.
    pub(super) fn resource<B>(&self, request: &Request<B>, traits: Traits, route: Matched<'_>) -> Option<String> {
        self.key(request, traits, None, route)
    }

    /// Whether the request says which of a resource's answers it wants.
    pub(super) fn selects(&self, headers: &HeaderMap, traits: Traits) -> bool {
        let further = self.selecting.get(SELECTING.len()..).unwrap_or_default();
        traits.selecting || further.iter().any(|name| headers.contains_key(name))
    }

    fn key<B>(
        &self,
        request: &Request<B>,
        traits: Traits,
        selected: Option<[u8; 16]>,
        route: Matched<'_>,
    ) -> Option<String> {
        let partition = self.partition.of(request)?;
        let mut out = prefix(&partition, request.headers(), traits, &self.credentials);
        if let Some(selected) = selected {
            out.push('.');
            key::push_hex(&mut out, &selected);
        }
        out.push('|');
        let uri = request.uri();
        match route.and_then(|(route, values)| Some((route.rule.key.as_ref()?, values))) {
            Some((template, values)) => {
                // '=' cannot begin a URI: a route's key never meets another's URI.
                out.push('=');
                out.push_str(&route::key(template, values));
                if let Some(query) = uri.query() {
                    out.push('?');
                    out.push_str(query);
                }
            }
            None => push_uri(&mut out, request),
        }
        Some(finish(out))
    }
}

/// The key of the variant that a request selects.
pub(super) fn variant(primary: &str, generation: u64, selecting: [u8; 16]) -> String {
    let selecting = u128::from_be_bytes(selecting);
    finish(format!("{primary}|{generation:016x}|{selecting:032x}"))
}

fn finish(out: String) -> String {
    match key::normal(&out) {
        Cow::Owned(short) => short,
        Cow::Borrowed(_) => out,
    }
}

fn prefix(partition: &str, headers: &HeaderMap, traits: Traits, extra: &[HeaderName]) -> String {
    let mut out = String::with_capacity(160);
    out.push_str("http|");
    out.push_str(itoa(partition.len(), &mut [0; 20]));
    out.push(':');
    out.push_str(partition);
    out.push('|');
    let mut hash: Option<Sha256> = None;
    let credentials: &[HeaderName] = if traits.credential { &CREDENTIALS } else { &[] };
    for name in credentials.iter().chain(extra) {
        for value in headers.get_all(name) {
            let hash = hash.get_or_insert_with(Sha256::new);
            hash.update(name.as_str());
            hash.update(u64::try_from(value.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(value.as_bytes());
        }
    }
    if let Some(hash) = hash {
        key::push_hex(&mut out, &hash.finalize());
    }
    out
}

fn push_uri<B>(out: &mut String, request: &Request<B>) {
    let uri = request.uri();
    out.push_str(uri.scheme_str().unwrap_or_default());
    out.push_str("//");
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    // Host names are the same in any case.
    let authority = uri.authority().map(http::uri::Authority::as_str).or(host).unwrap_or_default();
    let start = out.len();
    out.push_str(authority);
    if let Some(authority) = out.get_mut(start..) {
        authority.make_ascii_lowercase();
    }
    out.push_str(uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str));
}

/// Decimal without the formatting machinery, which would be a tenth of a hit.
fn itoa(mut number: usize, buffer: &mut [u8; 20]) -> &str {
    let mut start = buffer.len();
    for digit in buffer.iter_mut().rev() {
        // Below ten.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        start = start.saturating_sub(1);
        if number == 0 {
            break;
        }
    }
    buffer.get(start..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::http::route::RouteRule;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn primary_of(
        request: &Request<()>,
        partition: &Partition,
        credentials: &[HeaderName],
        route: Option<(&Route, &Values<'_>)>,
    ) -> Option<String> {
        let naming = Naming { credentials: credentials.into(), ..Naming::new(partition.clone(), &[]) };
        naming.primary(request, Traits::of(request.headers()), route)
    }

    fn fixed(partition: &str) -> Partition {
        Partition::Fixed(partition.into())
    }

    fn key(partition: &str, uri: &str, headers: &[(&str, &str)]) -> String {
        primary_of(&request(uri, headers), &fixed(partition), &[], None).unwrap()
    }

    #[test]
    fn identities_and_resources_are_told_apart() {
        let keys = [
            key("a", "/x", &[]),
            key("b", "/x", &[]),
            key("a", "/y", &[]),
            key("a", "/x?q", &[]),
            key("a", "http://h/x", &[]),
            key("a", "https://h/x", &[]),
            key("a", "/x", &[("host", "other")]),
            key("a", "/x", &[("authorization", "one")]),
            key("a", "/x", &[("authorization", "two")]),
            key("a", "/x", &[("x-api-token", "one")]),
            key("a", "/x", &[("cookie", "one")]),
            key("a", "/x", &[("cookie", "on"), ("x-api-token", "e")]),
            key("a", "/x", &[("x-language", "de")]),
            key("a", "/x", &[("x-language", "en")]),
            key("a", "/x", &[("x-language", "")]),
            key("a", "/x", &[("x-language", "de"), ("x-api-token", "one")]),
        ];
        for (n, a) in keys.iter().enumerate() {
            for (m, b) in keys.iter().enumerate() {
                assert_eq!(a == b, n == m, "{a} {b}");
            }
        }
        assert!(!keys[7].contains("one"), "a credential is never part of a key");
        assert_eq!(key("a", "http://HOST/x", &[]), key("a", "http://host/x", &[]));
    }

    #[test]
    fn header_of_your_own_can_tell_identities_apart() {
        let names = [HeaderName::from_static("x-tenant")];
        let of = |tenant| primary_of(&request("/x", &[("x-tenant", tenant)]), &fixed("a"), &names, None);
        assert_ne!(of("1"), of("2"));
    }

    #[test]
    fn further_headers_select_an_answer_of_the_same_resource() {
        let naming = Naming::new(fixed("a"), &["x-region".to_owned()]);
        let of = |headers: &[(&str, &str)]| {
            let request = request("/x", headers);
            let traits = Traits::of(request.headers());
            (naming.primary(&request, traits, None).unwrap(), naming.resource(&request, traits, None).unwrap())
        };
        let all = [
            of(&[]),
            of(&[("x-region", "eu")]),
            of(&[("x-region", "us")]),
            of(&[("x-region", "eu"), ("x-language", "de")]),
            of(&[("x-language", "eu")]),
        ];
        for (n, (a, resource)) in all.iter().enumerate() {
            assert_eq!(*resource, all[0].0, "one resource");
            for (m, (b, _)) in all.iter().enumerate() {
                assert_eq!(a == b, n == m, "{a} {b}");
            }
        }
    }

    #[test]
    fn request_without_a_partition_has_no_key() {
        let by = Partition::By(Arc::new(|extensions: &Extensions, _: &HeaderMap| extensions.get::<String>().cloned()));
        let mut request = request("/x", &[]);
        assert_eq!(primary_of(&request, &by, &[], None), None);
        request.extensions_mut().insert("me".to_owned());
        assert_eq!(primary_of(&request, &by, &[], None), primary_of(&request, &fixed("me"), &[], None));
    }

    #[test]
    fn route_key_replaces_the_path_and_keeps_query_and_identity() {
        let route = Route::compile(&RouteRule::new("/users/{id}", Duration::ZERO).key("user:{id}")).unwrap();
        let in_language = |language: Option<&str>, partition: &str, uri: &str| {
            let headers: Vec<_> = language.map(|language| ("x-language", language)).into_iter().collect();
            let request = request(uri, &headers);
            let values = route.matches(request.uri().path()).unwrap();
            primary_of(&request, &fixed(partition), &[], Some((&route, &values))).unwrap()
        };
        let key = |partition: &str, uri: &str| in_language(None, partition, uri);
        assert_eq!(key("a", "/users/7"), "http|1:a||=user:7");
        let languages = [None, Some("de"), Some("en")].map(|language| in_language(language, "a", "/users/7"));
        assert!(languages[0] != languages[1] && languages[1] != languages[2] && languages[0] != languages[2]);
        assert!(languages[1].ends_with("|=user:7"), "{}", languages[1]);
        assert_ne!(key("a", "/users/7"), key("b", "/users/7"));
        assert_ne!(key("a", "/users/7"), key("a", "/users/7?full"));
    }

    proptest! {
        #[test]
        fn partitions_cannot_reach_into_each_other(a in "[a-z0-9:|]{0,8}", b in "[a-z0-9:|]{0,8}", path in "/[a-z|:]{0,8}") {
            prop_assert_eq!(key(&a, &path, &[]) == key(&b, &path, &[]), a == b);
        }

        #[test]
        fn numbers_are_written(number: usize) {
            let mut buffer = [0; 20];
            prop_assert_eq!(itoa(number, &mut buffer), number.to_string());
        }
    }
}
