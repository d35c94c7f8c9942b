use http::{HeaderValue, Method};
use nudj_tower::idempotency::IDEMPOTENCY_KEY;
use secrecy::SecretString;
use serde::Deserialize;

use super::{Done, KeyRotator};
use crate::Client;

/// Asks the API for a new key, by the key that the client uses. Seed only: Nudj's public reference documents no such call.
#[derive(Clone, Debug)]
pub struct ApiRotator {
    client: Client,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    api_key: String,
}

impl ApiRotator {
    /// Asks through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl KeyRotator for ApiRotator {
    fn name(&self) -> &str {
        "rotate-api-key"
    }

    fn rotate<'r>(&'r self, rotation: &'r str) -> Done<'r, SecretString> {
        Box::pin(async move {
            let request = self.client.request(Method::POST, "/api/v2/admin/auth/rotate-api-key");
            let made: Made = request.header(IDEMPOTENCY_KEY, HeaderValue::try_from(rotation)?).json().await?;
            Ok(made.api_key.into())
        })
    }
}
