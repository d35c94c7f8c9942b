//! Why a request was not believed.

use http::header::HeaderName;
use thiserror::Error;

/// Why a request was not believed. Each is answered with 401; the text is for our own log, not for the sender.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A header the scheme needs is not there.
    #[error("header {0} is missing; is the sender configured for this scheme?")]
    MissingHeader(HeaderName),
    /// A header the scheme needs is there twice, and which one counts would be a guess.
    #[error("header {0} came more than once")]
    RepeatedHeader(HeaderName),
    /// The signature header is not of the scheme's form.
    #[error("the signature header is not of the form this scheme writes")]
    MalformedSignature,
    /// The delivery id is empty, too long, has characters other than visible ASCII, or (Standard Webhooks) a `.`.
    #[error("the delivery id is empty, too long, or has a character that ids may not have")]
    MalformedDeliveryId,
    /// The timestamp is not a whole number of seconds.
    #[error("the timestamp is not a whole number of seconds")]
    MalformedTimestamp,
    /// Signed longer ago than the tolerance: a replay, or a clock that is off.
    #[error("the timestamp is further in the past than the tolerance; check both clocks")]
    TooOld,
    /// Signed further ahead than the tolerance.
    #[error("the timestamp is further in the future than the tolerance; check both clocks")]
    TooNew,
    /// No secret that is valid now produces any of the signatures.
    #[error("no signature matches any valid secret; is the secret the sender's, and the body untouched?")]
    SignatureMismatch,
}
