use std::error::Error;

use super::{Classify, Verdict, http::cause_verdict};

/// The classifier for any service: an answer is a success, an error a failure, our own refusals nobody's.
///
/// It reads no context, so deadlines and tried endpoints are not known to the layer that uses it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Any;

impl<Req, Res> Classify<Req, Res> for Any {
    fn classify(&self, result: Result<&Res, &(dyn Error + 'static)>) -> Verdict {
        match result {
            Ok(_) => Verdict::success(),
            Err(error) => cause_verdict(error).unwrap_or_else(Verdict::failure),
        }
    }
}
