//! The names of the schemes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// How a sender proves itself. Written `nudj`, `standard` and `static_header` in configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Scheme {
    /// `X-Nudj-Signature: sha256=<hex>`: HMAC-SHA256 of the raw body, as Nudj's enterprise pages describe it.
    #[default]
    Nudj,
    /// Standard Webhooks 1.0, symmetric (`v1`) signatures.
    Standard,
    /// A fixed header with a fixed value, as Nudj's developer pages configure it.
    StaticHeader,
}

impl Scheme {
    /// The name in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Nudj => "nudj",
            Self::Standard => "standard",
            Self::StaticHeader => "static_header",
        }
    }

    /// Whether a request that is sent again under another id, or much later, is no longer rightly signed.
    pub(crate) fn signs_id_and_time(self) -> bool {
        self == Self::Standard
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scheme {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        [Self::Nudj, Self::Standard, Self::StaticHeader]
            .into_iter()
            .find(|scheme| scheme.as_str() == name)
            .ok_or_else(|| Error::config("scheme", "must be one of nudj, standard, static_header"))
    }
}
