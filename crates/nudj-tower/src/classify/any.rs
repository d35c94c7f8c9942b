use std::error::Error;

use super::{Classify, TransportError, Verdict, find_in_chain, http::rejection_verdict, http::transport_verdict};
use crate::Rejection;

/// The classifier for any service: an answer is a success, an error a failure, our own refusals nobody's.
///
/// It reads no context, so deadlines and tried endpoints are not known to the layer that uses it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Any;

impl<Req, Res> Classify<Req, Res> for Any {
    fn classify(&self, result: Result<&Res, &(dyn Error + 'static)>) -> Verdict {
        match result {
            Ok(_) => Verdict::success(),
            Err(error) => rejection_verdict(find_in_chain::<Rejection>(error))
                .or_else(|| transport_verdict(find_in_chain::<TransportError>(error)))
                .unwrap_or_else(Verdict::failure),
        }
    }
}
