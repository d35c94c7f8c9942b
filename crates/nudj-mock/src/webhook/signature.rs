//! The signature of a delivery.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The value of `X-Nudj-Signature` for a body: `sha256=` and the HMAC-SHA256 of the raw body in lower-case hexadecimal digits.
///
/// ```
/// assert_eq!(
///     nudj_mock::webhook_signature("key", b"The quick brown fox jumps over the lazy dog"),
///     "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8",
/// );
/// ```
#[must_use]
pub fn webhook_signature(secret: &str, body: &[u8]) -> String {
    // HMAC takes a key of any length, so there is always one.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return String::new() };
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}
