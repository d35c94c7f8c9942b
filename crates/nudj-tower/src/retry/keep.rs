//! The copy of a request that is kept for a repeat.

use http::Request;
use http_body::Body;

use super::ReplayBody;
use crate::{Call, CallContext, HttpRequest as _};

/// How a request is kept, so that it can be sent again.
pub trait Keep<Req> {
    /// The copy; `None` when the request can only be sent once.
    fn copy(&self, request: &Req) -> Option<Req>;

    /// Whether what the copy would send is still all there, now that the first one has been sent.
    fn is_intact(&self, copy: &Req) -> bool {
        let _ = copy;
        true
    }

    /// The copy is going to be sent: stops the one before and says whether everything is there.
    fn claim(&self, copy: &Req) -> bool {
        let _ = copy;
        true
    }

    /// The context that the request carries.
    fn context<'r>(&self, request: &'r Req) -> Option<&'r CallContext> {
        let _ = request;
        None
    }

    /// Gives the copy the context, which [`copy`](Self::copy) may have left out.
    fn attach(&self, copy: &mut Req, context: &CallContext) {
        let _ = (copy, context);
    }
}

/// Keeps an HTTP request whose body is `Clone`. The call's context is left out of the copy's extensions and put back when it is
/// sent, which saves three allocations per call where nothing else is in there.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepHttp;

impl<B: Clone> Keep<Request<B>> for KeepHttp {
    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        let extensions = request.extensions();
        if extensions.len() != 1 || CallContext::find(extensions).is_none() {
            return Some(request.clone());
        }
        let mut copy = Request::new(request.body().clone());
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        *copy.headers_mut() = request.headers().clone();
        Some(copy)
    }

    fn context<'r>(&self, request: &'r Request<B>) -> Option<&'r CallContext> {
        CallContext::find(request.extensions())
    }

    fn attach(&self, copy: &mut Request<B>, context: &CallContext) {
        copy.extensions_mut().insert(context.clone());
    }
}

impl<B: Clone> Keep<Call<B>> for KeepHttp {
    fn copy(&self, call: &Call<B>) -> Option<Call<B>> {
        Some(call.clone())
    }

    fn context<'r>(&self, call: &'r Call<B>) -> Option<&'r CallContext> {
        call.context()
    }
}

/// Keeps an HTTP request with a [`ReplayBody`], as long as no byte of it has been let go.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepReplay;

impl<B: Body> Keep<Request<ReplayBody<B>>> for KeepReplay {
    fn copy(&self, request: &Request<ReplayBody<B>>) -> Option<Request<ReplayBody<B>>> {
        KeepHttp.copy(request)
    }

    fn is_intact(&self, copy: &Request<ReplayBody<B>>) -> bool {
        copy.body().is_intact()
    }

    fn claim(&self, copy: &Request<ReplayBody<B>>) -> bool {
        copy.body().claim()
    }

    fn context<'r>(&self, request: &'r Request<ReplayBody<B>>) -> Option<&'r CallContext> {
        CallContext::find(request.extensions())
    }

    fn attach(&self, copy: &mut Request<ReplayBody<B>>, context: &CallContext) {
        copy.extensions_mut().insert(context.clone());
    }
}

/// Keeps any request that is `Clone`.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeepClone;

impl<Req: Clone> Keep<Req> for KeepClone {
    fn copy(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
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
        let copy = KeepHttp.copy(&request).unwrap();
        assert!(copy.extensions().is_empty());
        assert_eq!((copy.method(), copy.uri(), copy.version()), (request.method(), request.uri(), request.version()));
        assert_eq!((copy.headers(), copy.body()), (request.headers(), request.body()));
    }

    #[test]
    fn the_copy_has_the_caller_s_extensions() {
        let mut request = Request::new(());
        request.extensions_mut().insert(7u8);
        assert_eq!(KeepHttp.copy(&request).unwrap().extensions().get::<u8>(), Some(&7));
        request.extensions_mut().insert(CallContext::new());
        assert_eq!(KeepHttp.copy(&request).unwrap().extensions().get::<u8>(), Some(&7));
    }
}
