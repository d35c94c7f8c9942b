use http::Request;

use crate::{
    CallContext,
    classify::{Any, Http},
};

/// How a request carries the call's context.
pub trait Carry<Req> {
    /// The context the request carries, made and attached when there is none; `None` where requests cannot carry one.
    fn carry(&self, request: &mut Req) -> Option<CallContext>;
}

impl<B, R> Carry<Request<B>> for Http<R> {
    fn carry(&self, request: &mut Request<B>) -> Option<CallContext> {
        Some(CallContext::get_or_insert(request.extensions_mut()))
    }
}

impl<Req> Carry<Req> for Any {
    fn carry(&self, _: &mut Req) -> Option<CallContext> {
        None
    }
}
