//! How the token stands in requests, by configuration.

use http::HeaderName;
use nudj_tower::credentials::Scheme;

use crate::config::AuthHeader;

impl From<AuthHeader> for Scheme {
    fn from(header: AuthHeader) -> Self {
        match header {
            AuthHeader::XApiToken => Self::Header(HeaderName::from_static("x-api-token")),
            AuthHeader::Bearer => Self::Bearer,
        }
    }
}
