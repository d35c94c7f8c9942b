//! Requests that do not read: those that may change something, and those that are none of the cache's business.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, Request, Response, Uri, header, uri::Authority};
use tokio::runtime::Handle;

use super::{
    body::{Carry, Passed},
    exchange::Exchange,
    headers::Traits,
    layer::State,
    origin::Origin,
    route,
};
use crate::{error::BoxError, invalidation::Invalidation};

impl<S, C> Exchange<S, C> {
    /// Past the cache.
    pub(super) async fn pass<A>(self, request: Request<A>) -> Result<Response<C::Body>, BoxError>
    where
        S: Origin<A>,
        C: Carry<S::Body>,
    {
        self.state.cache.counters().passed.one();
        let answer = self.inner.ask(request).await?;
        Ok(answer.map(|body| C::passed(Passed::untouched(body))))
    }

    /// Past the cache, and after a success what it may have changed is gone. `resource`: the key of what the URI names.
    pub(super) async fn change<A>(
        self,
        request: Request<A>,
        resource: Option<String>,
    ) -> Result<Response<C::Body>, BoxError>
    where
        S: Origin<A>,
        C: Carry<S::Body>,
    {
        let state = Arc::clone(&self.state);
        // As a tag, which is also a key: every language of it.
        let mut gone = Invalidation { keys: Vec::new(), tags: resource.into_iter().collect() };
        if let Some((route, values)) = state.route(request.uri().path()) {
            let templates = route.rule.tags.iter().chain(&route.rule.invalidates);
            gone.tags.extend(templates.map(|template| route::tag(template, &values)));
        }
        // What the key of a Location is made of.
        let mut asked = Request::new(());
        asked.uri_mut().clone_from(request.uri());
        asked.headers_mut().clone_from(request.headers());
        asked.extensions_mut().clone_from(request.extensions());
        let answer = self.pass(request).await?;
        if answer.status().is_success() || answer.status().is_redirection() {
            let locations = [header::LOCATION, header::CONTENT_LOCATION];
            gone.tags.extend(locations.iter().filter_map(|name| state.resource_in(answer.headers(), name, &asked)));
            let cache = state.cache.clone();
            let invalidate = async move { cache.invalidate(&gone).await };
            // The change has happened: a caller that leaves now must not leave the old value behind.
            match Handle::try_current() {
                // A task that panicked has nothing to say here; it was logged by its own layer.
                Ok(runtime) => drop(runtime.spawn(invalidate).await),
                Err(_) => invalidate.await,
            }
        }
        Ok(answer)
    }
}

impl State {
    /// The key of what a Location header names, when it is of the same origin.
    fn resource_in(&self, answer: &HeaderMap, name: &HeaderName, asked: &Request<()>) -> Option<String> {
        let target = same_origin(asked, answer.get(name)?.to_str().ok()?)?;
        let mut request = asked.clone();
        *request.uri_mut() = target;
        let route = self.route(request.uri().path());
        let route = route.as_ref().map(|(route, values)| (*route, values));
        self.naming.resource(&request, Traits::of(request.headers()), route)
    }
}

/// `location` as a URI in the form of the request's own, when it lies at the same origin. One given relative to a path
/// is left alone: such are rare, and what they name expires.
fn same_origin(asked: &Request<()>, location: &str) -> Option<Uri> {
    let location = location.split('#').next().unwrap_or(location);
    let target: Uri = location.parse().ok()?;
    let host = asked.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    match target.authority() {
        Some(there) => {
            let here = asked.uri().authority().map(Authority::as_str).or(host)?;
            let scheme = asked.uri().scheme();
            if !there.as_str().eq_ignore_ascii_case(here) || (scheme.is_some() && scheme != target.scheme()) {
                return None;
            }
        }
        // Without an authority only an absolute path; "//host/x" parses as a path as well.
        None if !location.starts_with('/') || location.starts_with("//") => return None,
        None => {}
    }
    let mut parts = asked.uri().clone().into_parts();
    parts.path_and_query = target.into_parts().path_and_query;
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn location_counts_only_at_the_same_origin() {
        for (uri, host, location, expected) in [
            ("/a", None, "/b?q#f", Some("/b?q")),
            ("http://h/a", None, "/b", Some("http://h/b")),
            ("http://h/a", None, "http://H/b", Some("http://h/b")),
            ("http://h/a", None, "https://h/b", None),
            ("http://h/a", None, "http://other/b", None),
            ("http://h/a", None, "//other/b", None),
            ("/a", Some("h"), "http://h/b", Some("/b")),
            ("/a", Some("h"), "http://other/b", None),
            ("/a", None, "http://h/b", None),
            ("/a", None, "b", None),
            ("/a", None, "", None),
        ] {
            let mut asked = Request::new(());
            *asked.uri_mut() = uri.parse().unwrap();
            if let Some(host) = host {
                asked.headers_mut().insert(header::HOST, host.parse().unwrap());
            }
            let target = same_origin(&asked, location).map(|uri| uri.to_string());
            assert_eq!(target.as_deref(), expected, "{uri} {location}");
        }
    }
}
