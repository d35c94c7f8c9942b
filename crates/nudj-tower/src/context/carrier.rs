//! Which requests carry a context, and where.

use std::borrow::Cow;

use http::{Extensions, HeaderMap, Method, Request, Uri};

use super::CallContext;

/// An HTTP request as the layers see it: its head, and the context of its call.
///
/// Implemented for [`http::Request`], which keeps the context in its extensions, and for [`Call`], which has a place for it.
pub trait HttpRequest {
    /// The method.
    fn method(&self) -> &Method;

    /// Where it goes.
    fn uri(&self) -> &Uri;

    /// Where it goes, to change.
    fn uri_mut(&mut self) -> &mut Uri;

    /// The headers.
    fn headers(&self) -> &HeaderMap;

    /// The headers, to change.
    fn headers_mut(&mut self) -> &mut HeaderMap;

    /// What else came along.
    fn extensions_mut(&mut self) -> &mut Extensions;

    /// The context of the call, if there is one.
    fn context(&self) -> Option<&CallContext>;

    /// The headers, to change, and the context of the call beside them: borrowed where it can be, else one more handle of it.
    fn headers_in_context(&mut self) -> (&mut HeaderMap, Option<Cow<'_, CallContext>>) {
        let context = self.context().cloned();
        (self.headers_mut(), context.map(Cow::Owned))
    }

    /// Gives the request a context, in place of the one it had.
    fn set_context(&mut self, context: &CallContext);
}

impl<B> HttpRequest for Request<B> {
    fn method(&self) -> &Method {
        self.method()
    }

    fn uri(&self) -> &Uri {
        self.uri()
    }

    fn uri_mut(&mut self) -> &mut Uri {
        self.uri_mut()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }

    fn context(&self) -> Option<&CallContext> {
        CallContext::find(self.extensions())
    }

    fn set_context(&mut self, context: &CallContext) {
        self.extensions_mut().insert(context.clone());
    }
}

/// A request with its call's context beside it.
///
/// What a stack of one's own hands from layer to layer in place of a [`Request`] where every nanosecond counts: in a request's
/// extensions a context takes three allocations and a look-up by each layer that reads it, here neither. A copy of it, be it for a
/// retry, a `Buffer` or a task, has the same context.
///
/// ```
/// use http::{Request, Response};
/// use nudj_tower::{BoxError, Call, HttpRequest as _, correlation::CorrelationLayer, retry::{RetryConfig, RetryLayer}};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let service = ServiceBuilder::new()
///     .layer(CorrelationLayer::new())
///     .layer(RetryLayer::new(RetryConfig::default())?)
///     .service(service_fn(|call: Call<String>| async move {
///         assert!(call.context().unwrap().correlation_id().is_some());
///         Ok::<_, BoxError>(Response::new(call.into_request().into_body()))
///     }));
/// let answer = service.oneshot(Call::new(Request::new("hello".to_owned()))).await?;
/// assert_eq!(answer.body(), "hello");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Call<B> {
    /// Boxed, since a request is some 260 bytes, which a stack of a dozen layers would move a dozen times and more.
    request: Box<Request<B>>,
    context: CallContext,
}

impl<B> Call<B> {
    /// A call in the context that the request carries, else in a new one.
    #[must_use]
    #[inline]
    pub fn new(mut request: Request<B>) -> Self {
        // Most requests have no extensions, and are not searched.
        let carried = if request.extensions().is_empty() { None } else { request.extensions_mut().remove() };
        Self::within(carried.unwrap_or_default(), request)
    }

    /// A call in this context.
    #[must_use]
    #[inline]
    pub fn within(context: CallContext, request: Request<B>) -> Self {
        Self { request: Box::new(request), context }
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request<B> {
        &self.request
    }

    /// The request alone. Whoever is below knows nothing of the context.
    #[must_use]
    pub fn into_request(self) -> Request<B> {
        *self.request
    }

    /// The request with the context in its extensions, for layers that look there.
    #[must_use]
    pub fn into_carrying(self) -> Request<B> {
        let mut request = *self.request;
        request.extensions_mut().insert(self.context);
        request
    }
}

impl<B> HttpRequest for Call<B> {
    fn method(&self) -> &Method {
        self.request.method()
    }

    fn uri(&self) -> &Uri {
        self.request.uri()
    }

    fn uri_mut(&mut self) -> &mut Uri {
        self.request.uri_mut()
    }

    fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.request.headers_mut()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.request.extensions_mut()
    }

    fn context(&self) -> Option<&CallContext> {
        Some(&self.context)
    }

    fn headers_in_context(&mut self) -> (&mut HeaderMap, Option<Cow<'_, CallContext>>) {
        (self.request.headers_mut(), Some(Cow::Borrowed(&self.context)))
    }

    fn set_context(&mut self, context: &CallContext) {
        self.context = context.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_the_context_of_its_request_and_gives_it_back() {
        let mut request = Request::new(());
        let context = CallContext::get_or_insert(request.extensions_mut());
        request.extensions_mut().insert(7u8);
        let call = Call::new(request);
        assert_eq!(call.context(), Some(&context));
        assert_eq!(call.clone().context(), Some(&context), "a copy is of the same call");
        assert!(CallContext::find(call.request().extensions()).is_none());
        let request = call.clone().into_request();
        assert_eq!((CallContext::find(request.extensions()), request.extensions().get()), (None, Some(&7u8)));
        assert_eq!(CallContext::find(call.into_carrying().extensions()), Some(&context));
    }

    #[test]
    fn a_call_without_one_makes_its_own_and_can_be_given_another() {
        let (mut call, other) = (Call::new(Request::new(())), CallContext::new());
        assert_ne!(call.context(), Call::new(Request::new(())).context());
        call.set_context(&other);
        assert_eq!(call.context(), Some(&other));
        assert_eq!(call.headers_in_context().1.as_deref(), Some(&other));
        let mut request = call.clone().into_carrying();
        assert_eq!(request.headers_in_context().1.as_deref(), Some(&other));
        assert_eq!(Call::within(other.clone(), Request::new(())).context(), Some(&other));
    }
}
