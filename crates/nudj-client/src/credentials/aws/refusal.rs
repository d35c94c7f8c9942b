//! What Secrets Manager's refusals mean.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;

use crate::credentials::ProviderError;

#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "__type")]
    kind: String,
}

const ACCESS: &str = "may this access key read and write the secret?";
const KEYS: &str = "are access key, session token and region right, and is this machine's clock?";

/// The codes that are repeated: a server may write anything there, what it was sent included.
const CODES: [(&str, &str); 14] = [
    ("AccessDeniedException", ACCESS),
    ("DecryptionFailure", "may this access key use the KMS key of the secret?"),
    ("ExpiredTokenException", "the session token has expired; get another"),
    ("IncompleteSignature", KEYS),
    ("InternalServiceError", "it is tried again"),
    ("InvalidClientTokenId", KEYS),
    ("InvalidParameterException", "is the name of the secret right?"),
    ("InvalidRequestException", "is the secret being deleted?"),
    ("InvalidSignatureException", KEYS),
    ("MissingAuthenticationTokenException", KEYS),
    ("ResourceExistsException", "is the secret written by another process?"),
    ("ResourceNotFoundException", "are region and name right, and has the secret a value?"),
    ("ThrottlingException", "it is tried again"),
    ("UnrecognizedClientException", KEYS),
];

pub(super) const NOT_THERE: &str = "InvalidParameterException";

pub(super) fn code(answer: &Response<Bytes>) -> Option<(&'static str, &'static str)> {
    let refusal: Refusal = serde_json::from_slice(answer.body()).ok()?;
    // A namespace may stand before it.
    let kind = refusal.kind.rsplit('#').next()?;
    CODES.into_iter().find(|(code, _)| *code == kind)
}

pub(super) fn refused(endpoint: &str, answer: &Response<Bytes>) -> ProviderError {
    let status = answer.status();
    let known = code(answer);
    let advice = known.map_or_else(
        || match status {
            StatusCode::FORBIDDEN => ACCESS,
            status if status.is_redirection() => "give the address it redirects to; a signature follows no redirect",
            status if status.is_server_error() => "it is tried again",
            _ => "is it the address of AWS Secrets Manager?",
        },
        |(_, advice)| advice,
    );
    ProviderError::Refused { endpoint: endpoint.to_owned(), status, code: known.map(|(code, _)| code), advice }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_codes_are_repeated() {
        for (status, body, expected) in [
            (400, r#"{"__type":"ResourceNotFoundException","message":"canary"}"#, Some("ResourceNotFoundException")),
            (400, r#"{"__type":"com.amazon#AccessDeniedException"}"#, Some("AccessDeniedException")),
            (400, r#"{"__type":"canary"}"#, None),
            (500, "canary", None),
        ] {
            let answer = Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap();
            let error = refused("https://here", &answer);
            assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
            let ProviderError::Refused { code, .. } = error else { panic!("{error}") };
            assert_eq!(code, expected);
        }
    }
}
