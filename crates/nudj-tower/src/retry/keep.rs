//! The copy of a request that is kept for a repeat.

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version};
use http_body::Body;

use super::ReplayBody;
use crate::{Call, CallContext, HttpRequest as _};

/// How a request is kept, so that it can be sent again.
///
/// Each call's request is kept, and hardly any is sent again: keeping one should cost little, making it again may cost more.
pub trait Keep<Req> {
    /// What is kept: a copy of the request, or what one can be made of.
    type Kept;

    /// Keeps the request; `None` when it can only be sent once.
    fn keep(&self, request: &Req) -> Option<Self::Kept>;

    /// The request that was kept.
    fn restore(&self, kept: Self::Kept) -> Req;

    /// The context that was kept with the request.
    fn context<'k>(&self, kept: &'k Self::Kept) -> Option<&'k CallContext> {
        let _ = kept;
        None
    }

    /// The context that the request carries.
    fn carried<'r>(&self, request: &'r Req) -> Option<&'r CallContext> {
        let _ = request;
        None
    }

    /// Gives the restored request the context, which [`keep`](Self::keep) may have left out.
    fn attach(&self, request: &mut Req, context: &CallContext) {
        let _ = (request, context);
    }

    /// Whether what the restored request would send is still all there, now that the first one has been sent.
    fn is_intact(&self, request: &Req) -> bool {
        let _ = request;
        true
    }

    /// The restored request is going to be sent: stops the one before and says whether everything is there.
    fn claim(&self, request: &Req) -> bool {
        let _ = request;
        true
    }
}

/// Keeps an HTTP request whose body is `Clone`. The call's context is left out of the copy's extensions and put back when it is
/// sent, which saves three allocations per call where nothing else is in there.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepHttp;

impl<B: Clone> Keep<Request<B>> for KeepHttp {
    type Kept = Request<B>;

    fn keep(&self, request: &Request<B>) -> Option<Request<B>> {
        let extensions = request.extensions();
        if extensions.len() != 1 || CallContext::find(extensions).is_none() {
            return Some(request.clone());
        }
        Some(head_with(request, request.body().clone()))
    }

    fn restore(&self, kept: Request<B>) -> Request<B> {
        kept
    }

    fn context<'k>(&self, kept: &'k Request<B>) -> Option<&'k CallContext> {
        CallContext::find(kept.extensions())
    }

    fn carried<'r>(&self, request: &'r Request<B>) -> Option<&'r CallContext> {
        CallContext::find(request.extensions())
    }

    fn attach(&self, request: &mut Request<B>, context: &CallContext) {
        request.extensions_mut().insert(context.clone());
    }
}

/// A copy of the request's head without its extensions, over `body`.
fn head_with<A, B>(request: &Request<A>, body: B) -> Request<B> {
    let mut copy = Request::new(body);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    copy
}

/// A copy of the request with another reader of its body.
pub(crate) fn another<B: Body>(request: &Request<ReplayBody<B>>) -> Request<ReplayBody<B>> {
    let mut copy = head_with(request, request.body().another());
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

impl<B: Clone> Keep<Call<B>> for KeepHttp {
    type Kept = KeptCall<B>;

    #[inline]
    fn keep(&self, call: &Call<B>) -> Option<KeptCall<B>> {
        let request = call.request();
        let parts = KeptParts {
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            headers: request.headers().iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
            extensions: request.extensions().clone(),
            body: request.body().clone(),
        };
        Some(KeptCall { context: call.context()?.clone(), parts: Box::new(parts) })
    }

    fn restore(&self, kept: KeptCall<B>) -> Call<B> {
        let KeptCall { context, parts } = kept;
        let KeptParts { method, uri, version, headers, extensions, body } = *parts;
        let mut request = Request::new(body);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value);
        }
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = map;
        *request.extensions_mut() = extensions;
        Call::within(context, request)
    }

    fn context<'k>(&self, kept: &'k KeptCall<B>) -> Option<&'k CallContext> {
        Some(&kept.context)
    }

    fn carried<'r>(&self, call: &'r Call<B>) -> Option<&'r CallContext> {
        call.context()
    }
}

/// A [`Call`] that is kept: its headers as a list, which takes less to copy and to drop than a map.
#[derive(Debug)]
pub struct KeptCall<B> {
    context: CallContext,
    // Boxed: the layers above move the future that keeps it.
    parts: Box<KeptParts<B>>,
}

#[derive(Debug)]
struct KeptParts<B> {
    method: Method,
    uri: Uri,
    version: Version,
    headers: Vec<(HeaderName, HeaderValue)>,
    extensions: Extensions,
    body: B,
}

/// Keeps an HTTP request with a [`ReplayBody`], as long as no byte of it has been let go.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepReplay;

impl<B: Body> Keep<Request<ReplayBody<B>>> for KeepReplay {
    type Kept = Request<ReplayBody<B>>;

    fn keep(&self, request: &Request<ReplayBody<B>>) -> Option<Request<ReplayBody<B>>> {
        let extensions = request.extensions();
        if extensions.len() == 1 && CallContext::find(extensions).is_some() {
            Some(head_with(request, request.body().another()))
        } else {
            Some(another(request))
        }
    }

    /// As the youngest reader of its body: a layer below may have sent what it kept itself, which is younger than what was kept here.
    fn restore(&self, kept: Request<ReplayBody<B>>) -> Request<ReplayBody<B>> {
        let (head, body) = kept.into_parts();
        Request::from_parts(head, body.another())
    }

    fn context<'k>(&self, kept: &'k Request<ReplayBody<B>>) -> Option<&'k CallContext> {
        CallContext::find(kept.extensions())
    }

    fn carried<'r>(&self, request: &'r Request<ReplayBody<B>>) -> Option<&'r CallContext> {
        CallContext::find(request.extensions())
    }

    fn attach(&self, request: &mut Request<ReplayBody<B>>, context: &CallContext) {
        request.extensions_mut().insert(context.clone());
    }

    fn is_intact(&self, request: &Request<ReplayBody<B>>) -> bool {
        request.body().is_intact()
    }

    fn claim(&self, request: &Request<ReplayBody<B>>) -> bool {
        request.body().claim()
    }
}

/// Keeps any request that is `Clone`.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepClone;

impl<Req: Clone> Keep<Req> for KeepClone {
    type Kept = Req;

    fn keep(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }

    fn restore(&self, kept: Req) -> Req {
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_leaves_out_the_context_when_it_is_alone() {
        let mut request = Request::post("/users").header("a", "b").body("text").unwrap();
        *request.version_mut() = http::Version::HTTP_2;
        request.extensions_mut().insert(CallContext::new());
        let copy = KeepHttp.keep(&request).unwrap();
        assert!(copy.extensions().is_empty());
        assert_eq!((copy.method(), copy.uri(), copy.version()), (request.method(), request.uri(), request.version()));
        assert_eq!((copy.headers(), copy.body()), (request.headers(), request.body()));
    }

    #[test]
    fn the_copy_has_the_caller_s_extensions() {
        let mut request = Request::new(());
        request.extensions_mut().insert(7u8);
        assert_eq!(KeepHttp.keep(&request).unwrap().extensions().get::<u8>(), Some(&7));
        request.extensions_mut().insert(CallContext::new());
        assert_eq!(KeepHttp.keep(&request).unwrap().extensions().get::<u8>(), Some(&7));
    }

    #[test]
    fn a_call_is_restored_as_it_was() {
        let mut request = Request::put("/users/7?x=y").header("b", "1").header("a", "2").body("text").unwrap();
        *request.version_mut() = Version::HTTP_2;
        request.extensions_mut().insert(7u8);
        for (name, value) in [("b", "3"), ("c", "4"), ("b", "5"), ("a", "6")] {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        let mut secret = HeaderValue::from_static("secret");
        secret.set_sensitive(true);
        request.headers_mut().insert("authorization", secret);
        let call = Call::new(request);
        let restored: Call<_> = KeepHttp.restore(KeepHttp.keep(&call).unwrap());
        assert_eq!(restored.context(), call.context());
        let (restored, request) = (restored.request(), call.request());
        assert_eq!(
            (restored.method(), restored.uri(), restored.version(), restored.body()),
            (request.method(), request.uri(), request.version(), request.body())
        );
        assert_eq!(restored.extensions().get::<u8>(), Some(&7));
        assert!(restored.headers().iter().eq(request.headers().iter()), "in their order, all values");
        assert!(restored.headers()["authorization"].is_sensitive());
    }
}
