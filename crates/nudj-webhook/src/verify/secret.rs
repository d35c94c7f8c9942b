//! One secret, ready to check with.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq as _};

use super::Scheme;
use crate::Error;

/// Secrets are pasted by people: padding may have been lost on the way.
const SECRET_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key bytes of one secret.
#[derive(Debug)]
pub(super) struct Secret(SecretSlice<u8>);

impl Secret {
    /// Reads a secret as its scheme writes it: `whsec_<base64>` (the prefix may be missing) for Standard Webhooks,
    /// else the bytes of the text.
    pub(super) fn parse(scheme: Scheme, text: &SecretString) -> Result<Self, Error> {
        let text = text.expose_secret();
        let bytes = match scheme {
            Scheme::Nudj | Scheme::StaticHeader => text.as_bytes().to_vec(),
            Scheme::Standard => SECRET_BASE64
                .decode(text.strip_prefix("whsec_").unwrap_or(text))
                // The cause would quote a character of the secret.
                .map_err(|_| Error::config("secret", "must be base64, with or without the prefix `whsec_`"))?,
        };
        if bytes.is_empty() {
            return Err(Error::config("secret", "must not be empty"));
        }
        Ok(Self(bytes.into()))
    }

    /// HMAC-SHA256 over the parts, one after the other.
    pub(super) fn mac(&self, parts: &[&[u8]]) -> Option<[u8; 32]> {
        // HMAC takes keys of any length, so this is never `None`; if it were, nothing would match.
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).ok()?;
        for part in parts {
            mac.update(part);
        }
        Some(mac.finalize().into_bytes().into())
    }

    /// Whether any of `candidates` is the HMAC over the parts; takes the same time whatever differs.
    pub(super) fn signed(&self, parts: &[&[u8]], candidates: &[[u8; 32]]) -> bool {
        let Some(expected) = self.mac(parts) else { return false };
        let hits = candidates.iter().map(|candidate| expected.ct_eq(candidate));
        hits.fold(Choice::from(0), |any, hit| any | hit).into()
    }

    /// Whether `value` is this secret itself. Digests are compared, so that the time tells nothing of the length.
    pub(super) fn equals(&self, value: &[u8]) -> bool {
        self.mac(&[value]).is_some_and(|digest| self.signed(&[self.0.expose_secret()], &[digest]))
    }
}
