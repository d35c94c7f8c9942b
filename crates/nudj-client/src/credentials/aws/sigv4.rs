//! AWS Signature Version 4 of a request to `/` without a query, which is all that Secrets Manager takes.
//!
//! Plain code: values and the time in, the header out.

use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use secrecy::ExposeSecret;
use sha2::{Digest as _, Sha256};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};
use zeroize::Zeroizing;

use super::AwsKeys;

const TIME: &[BorrowedFormatItem<'_>] = format_description!("[year][month][day]T[hour][minute][second]Z");
pub(super) const DATE: HeaderName = HeaderName::from_static("x-amz-date");
pub(super) const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// For whom a signature is made.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) region: String,
    pub(super) service: &'static str,
}

/// `20150830T123600Z`. `None` for a time that no four-digit year has.
pub(super) fn timestamp(now: SystemTime) -> Option<String> {
    OffsetDateTime::from(now).format(TIME).ok().filter(|text| text.len() == 16)
}

/// The `authorization` header, marked sensitive. Every header in `headers` is signed; they must hold `host` and [`DATE`], made by
/// [`timestamp`].
pub(super) fn authorization(
    keys: &AwsKeys,
    scope: &Scope,
    method: &Method,
    headers: &HeaderMap,
    body: &[u8],
) -> Option<HeaderValue> {
    let at = headers.get(DATE)?.to_str().ok()?;
    let day = at.get(..8)?;
    let (signed, canonical) = canonical(method, headers, body)?;
    let Scope { region, service } = scope;
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let secret = Zeroizing::new(format!("AWS4{}", keys.secret.expose_secret()));
    let mut key = Zeroizing::new(mac(secret.as_bytes(), day)?);
    for part in [region.as_str(), service, "aws4_request"] {
        key = Zeroizing::new(mac(&*key, part)?);
    }
    let signature = hex::encode(mac(&*key, &to_sign)?);
    let value =
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}", keys.id);
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The names of the headers, and the request as both sides write it.
fn canonical(method: &Method, headers: &HeaderMap, body: &[u8]) -> Option<(String, String)> {
    let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let mut lines = String::new();
    for name in &names {
        let mut values = Vec::new();
        for value in headers.get_all(*name) {
            // Runs of spaces count as one.
            values.push(value.to_str().ok()?.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        lines += &format!("{name}:{}\n", values.join(","));
    }
    let names = names.join(";");
    let digest = hex::encode(Sha256::digest(body));
    Some((names.clone(), format!("{method}\n/\n\n{lines}\n{names}\n{digest}")))
}

fn mac(key: &[u8], text: &str) -> Option<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, header};

    use super::*;

    /// AWS's published signing test suite: those of its cases that go to `/` without a query.
    #[test]
    fn signs_as_the_published_vectors_do() {
        const SESSION: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYR\
                               qTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp7\
                               5YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX\
                               9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        let keys = AwsKeys::new("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned());
        let scope = Scope { region: "us-east-1".to_owned(), service: "service" };
        for (method, extra, body, signed, signature) in [
            (
                Method::GET,
                &[][..],
                "",
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                Method::POST,
                &[],
                "",
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                Method::GET,
                &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")],
                "",
                "host;my-header1;my-header2;x-amz-date",
                "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
            ),
            (
                Method::POST,
                &[("my-header1", "value1")],
                "",
                "host;my-header1;x-amz-date",
                "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
            ),
            (
                Method::POST,
                &[("content-type", "application/x-www-form-urlencoded")],
                "Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
            (
                Method::POST,
                &[("x-amz-security-token", SESSION)],
                "",
                "host;x-amz-date;x-amz-security-token",
                "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
            ),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, "example.amazonaws.com".parse().unwrap());
            headers.insert(DATE, "20150830T123600Z".parse().unwrap());
            for (name, value) in extra {
                headers.insert(*name, value.parse().unwrap());
            }
            let value = authorization(&keys, &scope, &method, &headers, body.as_bytes()).unwrap();
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={signed}, \
                 Signature={signature}"
            );
            assert_eq!(value.to_str().unwrap(), expected);
            assert!(value.is_sensitive());
        }
    }

    #[test]
    fn times_are_written_as_aws_reads_them() {
        let at = |seconds| timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(1_440_938_160).unwrap(), "20150830T123600Z");
        assert_eq!(at(0).unwrap(), "19700101T000000Z");
    }
}
