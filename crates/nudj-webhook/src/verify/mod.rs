//! Is this request really from the sender, and recent? [`Verifier`] answers, and is usable without the rest.
//!
//! Three schemes:
//!
//! | [`Scheme`] | headers | what is proven |
//! |---|---|---|
//! | [`Nudj`](Scheme::Nudj) | `X-Nudj-Signature: sha256=<hex>`, `X-Nudj-Delivery-Id`, `X-Nudj-Event` | HMAC-SHA256 over the raw body |
//! | [`Standard`](Scheme::Standard) | `webhook-id`, `webhook-timestamp`, `webhook-signature` (or `svix-…`) | HMAC-SHA256 over `id.timestamp.body`, and the timestamp lies within the tolerance |
//! | [`StaticHeader`](Scheme::StaticHeader) | one header with a fixed value, such as `Authorization: Bearer …` | the sender knows the value; nothing about the body |
//!
//! ```
//! use http::HeaderMap;
//! use nudj_webhook::{Refusal, Scheme, Verifier};
//! use std::time::{Duration, UNIX_EPOCH};
//!
//! let verifier = Verifier::new(Scheme::Nudj, ["it's a secret to everybody".into()])?;
//! let now = UNIX_EPOCH + Duration::from_secs(1_760_000_000);
//! let mut headers = HeaderMap::new();
//! headers.insert(
//!     "x-nudj-signature",
//!     "sha256=a0c14a94cf0801d4faf8d5f52ab4b0d44cc0b3d04b4c9dc5b3b7b2e9f3f3ac6a".parse()?,
//! );
//! assert_eq!(verifier.verify(&headers, b"{}", now), Err(Refusal::SignatureMismatch));
//!
//! headers.insert("x-nudj-signature", verifier.sign("", 0, b"{}").parse()?);
//! assert!(verifier.verify(&headers, b"{}", now).is_ok());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! **What the Nudj scheme does not prove.** Neither the time of sending nor `X-Nudj-Delivery-Id` is signed there, as
//! Nudj documents it. A captured request stays rightly signed for as long as the secret is valid. The replay guard stops
//! it for as long as it remembers the id, [`ReplayConfig::retention`](crate::ReplayConfig::retention) (24 h unless set),
//! and [`bind_body`](crate::ReplayConfig::bind_body) stops it for as long under a changed id. Afterwards it is a new
//! delivery, and is handled again. What closes that door is [`max_event_age`](crate::WebhookConfig::max_event_age), which
//! refuses events by the time in the signed body; it is off by default, and recommended. Without it, only a new secret
//! ends what was captured.
//!
//! A static header proves nothing of the body: who captured one request can write others, with any id and time. Only a
//! new value ends that. Prefer a scheme that signs.
//!
//! **Mistakes to avoid.** Verifying a body that was parsed and written again: the signature is over the bytes as they
//! came. Taking the old secret away at once: [`Verifier::rotate`] keeps it for the overlap.

mod keys;
mod refusal;
mod scheme;
mod secret;
mod signature;
mod tolerance;
mod verifier;

pub use refusal::Refusal;
pub use scheme::Scheme;
pub(crate) use signature::hex;
pub(crate) use tolerance::check_age;
pub use verifier::{Claim, Verified, Verifier};

#[cfg(test)]
mod tests;
