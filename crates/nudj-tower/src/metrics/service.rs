use std::{
    error::Error,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::record::{End, Record, is_heard};
use crate::{
    BoxError, CallContext,
    classify::{Classify, Http},
    observe::Observers,
};

/// A service whose calls are counted and logged. See the [module's page](super).
pub struct Metrics<S, C = Http> {
    inner: S,
    shared: Arc<Shared<C>>,
}

pub(super) struct Shared<C> {
    pub(super) classifier: C,
    pub(super) observers: Observers,
}

impl<S, C> Metrics<S, C> {
    pub(super) fn new(inner: S, shared: Arc<Shared<C>>) -> Self {
        Self { inner, shared }
    }

    /// The service within.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    fn begin<Req>(&self, request: &mut Req) -> Record
    where
        S: Service<Req>,
        C: Classify<Req, S::Response>,
    {
        let Shared { classifier, observers } = &*self.shared;
        let context = classifier.context(request).cloned().unwrap_or_else(|| {
            let context = CallContext::new();
            classifier.attach(request, &context);
            context
        });
        Record::begin(observers, context, classifier.method(request))
    }
}

impl<S, C, Req> Service<Req> for Metrics<S, C>
where
    S: Service<Req>,
    S::Error: Into<BoxError>,
    C: Classify<Req, S::Response>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = MetricsFuture<S::Future, C, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        if !is_heard(&self.shared.observers) {
            return MetricsFuture { inner: self.inner.call(request), listener: None };
        }
        let record = Some(self.begin(&mut request));
        let listener = Listener { record, shared: Arc::clone(&self.shared), request: PhantomData };
        MetricsFuture { inner: self.inner.call(request), listener: Some(listener) }
    }
}

impl<S: Clone, C> Clone for Metrics<S, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for Metrics<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("inner", &self.inner).finish_non_exhaustive()
    }
}

pin_project! {
    /// The future of [`Metrics`]. Dropped before it is ready, it reports the call as dropped.
    pub struct MetricsFuture<F, C, Req> {
        #[pin]
        inner: F,
        listener: Option<Listener<C, Req>>,
    }
}

/// Dropped without an end, it reports that the caller gave up.
struct Listener<C, Req> {
    record: Option<Record>,
    shared: Arc<Shared<C>>,
    request: PhantomData<fn(Req)>,
}

impl<C, Req> Drop for Listener<C, Req> {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            record.end(&self.shared.observers, &End::dropped());
        }
    }
}

impl<F, C, Req, Res, E> Future for MetricsFuture<F, C, Req>
where
    F: Future<Output = Result<Res, E>>,
    E: Into<BoxError>,
    C: Classify<Req, Res>,
{
    type Output = Result<Res, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.listener.is_none() {
            return this.inner.poll(cx).map_err(Into::into);
        }
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        if let Some(Listener { record, shared, .. }) = this.listener
            && let Some(record) = record.take()
        {
            let seen = result.as_ref().map_err(|error| &**error as &(dyn Error + 'static));
            let status = seen.ok().and_then(|response| shared.classifier.status(response));
            let end = End::of(shared.classifier.classify(seen).outcome, status.as_ref(), seen.err());
            record.end(&shared.observers, &end);
        }
        Poll::Ready(result)
    }
}

impl<F, C, Req> fmt::Debug for MetricsFuture<F, C, Req> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsFuture").field("is_heard", &self.listener.is_some()).finish_non_exhaustive()
    }
}
