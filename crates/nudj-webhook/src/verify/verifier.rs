//! [`Verifier`]: headers, body and time in; a verdict out.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::HeaderName;
use parking_lot::RwLock;
use secrecy::SecretString;

use super::keys::Keys;
use super::secret::Secret;
use super::tolerance::{check_age, parse_timestamp};
use super::{Refusal, Scheme, signature};
use crate::Error;
use crate::wall_clock::unix_seconds;

static NUDJ_SIGNATURE: HeaderName = HeaderName::from_static("x-nudj-signature");
static NUDJ_DELIVERY: HeaderName = HeaderName::from_static("x-nudj-delivery-id");
static STANDARD: [HeaderName; 3] = [
    HeaderName::from_static("webhook-id"),
    HeaderName::from_static("webhook-timestamp"),
    HeaderName::from_static("webhook-signature"),
];
static SVIX: [HeaderName; 3] = [
    HeaderName::from_static("svix-id"),
    HeaderName::from_static("svix-timestamp"),
    HeaderName::from_static("svix-signature"),
];

/// Ids are kept and logged; the ones seen in the field are under 64 characters.
const MAX_DELIVERY_ID: usize = 256;

/// Checks that requests come from the sender who shares a secret with us. See the [module page](crate::verify).
///
/// All methods take `&self`; share it behind an `Arc`. Nothing here waits, reads a clock or panics.
pub struct Verifier {
    scheme: Scheme,
    static_header: HeaderName,
    tolerance: Duration,
    keys: RwLock<Keys>,
}

/// What the headers say, not proven yet: the result of [`Verifier::check_head`].
#[derive(Clone, Debug)]
pub struct Claim {
    delivery_id: Option<String>,
    timestamp: Option<i64>,
    proof: Proof,
}

#[derive(Clone)]
enum Proof {
    /// Any one of these over `prefix` and the body.
    Signatures { prefix: String, candidates: Vec<[u8; 32]> },
    /// The header's value was compared already.
    Header,
}

/// A request that is the sender's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// The delivery's id from the headers. Signed in Standard Webhooks only; `None` where the sender gave none.
    pub delivery_id: Option<String>,
    /// When it was signed, in seconds since 1970; Standard Webhooks only.
    pub timestamp: Option<i64>,
}

impl Verifier {
    /// The default tolerance, to either side of now.
    pub const DEFAULT_TOLERANCE: Duration = Duration::from_secs(300);

    /// A verifier that accepts any of `secrets`, the first of which signs in [`sign`](Self::sign).
    ///
    /// A secret is text for [`Scheme::Nudj`], `whsec_<base64>` for [`Scheme::Standard`], and the header's whole value
    /// (such as `Bearer …`) for [`Scheme::StaticHeader`].
    ///
    /// # Errors
    /// [`Error::Config`] when there is no secret, more than 8, or one that is empty or not base64 where it must be.
    pub fn new(scheme: Scheme, secrets: impl IntoIterator<Item = SecretString>) -> Result<Self, Error> {
        let secrets = secrets.into_iter().map(|text| Secret::parse(scheme, &text)).collect::<Result<_, _>>()?;
        Ok(Self {
            scheme,
            static_header: http::header::AUTHORIZATION,
            tolerance: Self::DEFAULT_TOLERANCE,
            keys: RwLock::new(Keys::new(secrets)?),
        })
    }

    /// How far a timestamp may lie from now, to either side; whole seconds count. Default 5 minutes.
    #[must_use]
    pub fn with_tolerance(mut self, tolerance: Duration) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// The header that [`Scheme::StaticHeader`] looks at. Default `authorization`.
    #[must_use]
    pub fn with_static_header(mut self, header: HeaderName) -> Self {
        self.static_header = header;
        self
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Makes `secret` the newest; the others are accepted for `overlap` from `now` on, then never again.
    /// Takes effect at once, for requests under way as well.
    ///
    /// # Errors
    /// [`Error::Config`] for a secret that [`new`](Self::new) would not take, or when 8 are still valid; nothing is
    /// changed then.
    pub fn rotate(&self, secret: &SecretString, overlap: Duration, now: SystemTime) -> Result<(), Error> {
        let secret = Secret::parse(self.scheme, secret)?;
        let now = unix_seconds(now);
        let until = now.saturating_add(i64::try_from(overlap.as_secs()).unwrap_or(i64::MAX));
        let mut keys = self.keys.write();
        *keys = keys.rotated(secret, until, now)?;
        Ok(())
    }

    /// Verifies a whole request: [`check_head`](Self::check_head) and [`check_body`](Self::check_body).
    ///
    /// # Errors
    /// The reason why the request is not believed.
    pub fn verify(&self, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Result<Verified, Refusal> {
        let claim = self.check_head(headers, now)?;
        self.check_body(claim, body, now)
    }

    /// What can be said before the body is read: the headers are there, well-formed and recent. A receiver that asks
    /// this first reads no body for a stranger who knows nothing of the scheme.
    ///
    /// # Errors
    /// The reason why the request is not believed.
    pub fn check_head(&self, headers: &HeaderMap, now: SystemTime) -> Result<Claim, Refusal> {
        match self.scheme {
            Scheme::Nudj => {
                let candidates = vec![signature::parse_nudj(one(headers, &NUDJ_SIGNATURE)?)?];
                let delivery_id = optional_id(headers)?;
                let proof = Proof::Signatures { prefix: String::new(), candidates };
                Ok(Claim { delivery_id, timestamp: None, proof })
            }
            Scheme::Standard => {
                let [id, timestamp, signatures] = standard_names(headers);
                let id = delivery_id(one(headers, id)?)?;
                if id.contains('.') {
                    // `a.b` at second 1 and `a` at second `b.1` would be signed alike.
                    return Err(Refusal::MalformedDeliveryId);
                }
                let written = one(headers, timestamp)?;
                let timestamp = parse_timestamp(written)?;
                check_age(timestamp, unix_seconds(now), self.tolerance)?;
                let candidates = signature::parse_standard(one(headers, signatures)?)?;
                let proof = Proof::Signatures { prefix: format!("{id}.{written}."), candidates };
                Ok(Claim { delivery_id: Some(id), timestamp: Some(timestamp), proof })
            }
            Scheme::StaticHeader => {
                let value = headers.get(&self.static_header);
                let value = value.ok_or_else(|| Refusal::MissingHeader(self.static_header.clone()))?;
                single(headers, &self.static_header)?;
                let keys = self.keys.read().clone();
                // Every secret is compared, so that the time does not tell which one it was.
                let hits = keys.valid(unix_seconds(now)).filter(|secret| secret.equals(value.as_bytes())).count();
                if hits == 0 {
                    return Err(Refusal::SignatureMismatch);
                }
                Ok(Claim { delivery_id: optional_id(headers)?, timestamp: None, proof: Proof::Header })
            }
        }
    }

    /// Proves the claim against the raw bytes of the body, which need not be text.
    ///
    /// # Errors
    /// [`Refusal::SignatureMismatch`].
    pub fn check_body(&self, claim: Claim, body: &[u8], now: SystemTime) -> Result<Verified, Refusal> {
        if let Proof::Signatures { prefix, candidates } = &claim.proof {
            let keys = self.keys.read().clone();
            let parts = [prefix.as_bytes(), body];
            let hits = keys.valid(unix_seconds(now)).filter(|secret| secret.signed(&parts, candidates)).count();
            if hits == 0 {
                return Err(Refusal::SignatureMismatch);
            }
        }
        Ok(Verified { delivery_id: claim.delivery_id, timestamp: claim.timestamp })
    }

    /// The signature header's value that this verifier accepts for `body`, made with the newest secret. For tests and
    /// for whoever sends; `id` and `timestamp` matter to Standard Webhooks only. Empty for a static header, whose value
    /// is the secret itself.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let keys = self.keys.read().clone();
        let Some(secret) = keys.newest() else { return String::new() };
        match self.scheme {
            Scheme::Nudj => secret.mac(&[body]).as_ref().map(signature::write_nudj),
            Scheme::Standard => {
                secret.mac(&[format!("{id}.{timestamp}.").as_bytes(), body]).as_ref().map(signature::write_standard)
            }
            Scheme::StaticHeader => None,
        }
        .unwrap_or_default()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("scheme", &self.scheme)
            .field("tolerance", &self.tolerance)
            .field("secrets", &self.keys.read().len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[REDACTED]")
    }
}

/// The names a sender of Standard Webhooks used: the standard's own, or those of the library it came from. Never a
/// mixture.
fn standard_names(headers: &HeaderMap) -> &'static [HeaderName; 3] {
    if STANDARD.iter().all(|name| !headers.contains_key(name)) && headers.contains_key(&SVIX[0]) {
        &SVIX
    } else {
        &STANDARD
    }
}

fn single(headers: &HeaderMap, name: &HeaderName) -> Result<(), Refusal> {
    if headers.get_all(name).iter().nth(1).is_some() {
        return Err(Refusal::RepeatedHeader(name.clone()));
    }
    Ok(())
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, Refusal> {
    let value = headers.get(name).ok_or_else(|| Refusal::MissingHeader(name.clone()))?;
    single(headers, name)?;
    value.to_str().map_err(|_| Refusal::MalformedSignature)
}

fn optional_id(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    if !headers.contains_key(&NUDJ_DELIVERY) {
        return Ok(None);
    }
    one(headers, &NUDJ_DELIVERY).and_then(delivery_id).map(Some)
}

fn delivery_id(text: &str) -> Result<String, Refusal> {
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.is_empty() || text.len() > MAX_DELIVERY_ID || !visible {
        return Err(Refusal::MalformedDeliveryId);
    }
    Ok(text.to_owned())
}
