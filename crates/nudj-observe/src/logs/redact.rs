//! What may be shown of a field.

use std::borrow::Cow;

/// What stands in place of a secret.
pub(super) const REDACTED: &str = "[REDACTED]";

/// Parts of the names of fields whose values are secrets, in lower case.
const SECRET_NAMES: [&str; 8] =
    ["authorization", "token", "secret", "password", "passwd", "cookie", "api_key", "api-key"];

/// What follows these words is a secret, up to the next space, quote or comma; in lower case.
const SECRET_WORDS: [&str; 4] = ["bearer ", "x-api-token: ", "x-api-token\": \"", "basic "];

/// The value as it may be shown: nothing of a field that is named like a secret; of URLs neither user nor query.
pub(super) fn shown<'v>(name: &str, value: &'v str) -> Cow<'v, str> {
    let name = name.to_ascii_lowercase();
    if SECRET_NAMES.iter().any(|secret| name.contains(secret)) {
        return REDACTED.into();
    }
    without_words(value).map_or_else(|| without_url_parts(value), |value| without_url_parts(&value).into_owned().into())
}

/// `None` when there was nothing to take out.
fn without_words(value: &str) -> Option<String> {
    let lower = value.to_ascii_lowercase();
    let mut shown = String::new();
    let mut rest = 0;
    while let Some(end) =
        SECRET_WORDS.iter().filter_map(|word| Some(rest + lower.get(rest..)?.find(word)? + word.len())).min()
    {
        shown.push_str(value.get(rest..end)?);
        shown.push_str(REDACTED);
        let tail = value.get(end..)?;
        rest = end + tail.find([' ', '"', '\'', ',', '\n']).unwrap_or(tail.len());
    }
    (rest > 0).then(|| shown + value.get(rest..).unwrap_or_default())
}

fn without_url_parts(value: &str) -> Cow<'_, str> {
    if !value.contains("://") {
        return value.into();
    }
    let mut shown = String::with_capacity(value.len());
    for (index, part) in value.split("://").enumerate() {
        if index == 0 {
            shown.push_str(part);
            continue;
        }
        shown.push_str("://");
        let end = part.find([' ', '"', '\'', '<', '>', '\n']).unwrap_or(part.len());
        let (url, after) = part.split_at(end);
        let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
        let url = match url[..authority].rfind('@') {
            Some(at) => {
                shown.push_str(REDACTED);
                &url[at..]
            }
            None => url,
        };
        match url.find(['?', '#']) {
            Some(query) => {
                shown.push_str(&url[..=query]);
                shown.push_str(REDACTED);
            }
            None => shown.push_str(url),
        }
        shown.push_str(after);
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn secrets_are_taken_out_and_the_rest_is_left() {
        for (name, value, expected) in [
            ("x-api-token", "abc", "[REDACTED]"),
            ("Authorization", "Basic abc", "[REDACTED]"),
            ("client_secret", "abc", "[REDACTED]"),
            ("endpoint", "https://acme.nudj.cx", "https://acme.nudj.cx"),
            ("url", "https://acme.nudj.cx/users?email=ada@x", "https://acme.nudj.cx/users?[REDACTED]"),
            ("url", "postgres://ada:pw@db/nudj", "postgres://[REDACTED]@db/nudj"),
            ("message", "see http://a/?k=1 and http://b?k=2", "see http://a/?[REDACTED] and http://b?[REDACTED]"),
            ("headers", "{\"authorization\": \"Bearer abc.def\"}", "{\"authorization\": \"Bearer [REDACTED]\"}"),
            ("message", "sent BEARER abc, bearer def", "sent BEARER [REDACTED], bearer [REDACTED]"),
            ("message", "X-Api-Token: abc", "X-Api-Token: [REDACTED]"),
            (
                "headers",
                "{\"x-api-token\": \"abc\", \"host\": \"a\"}",
                "{\"x-api-token\": \"[REDACTED]\", \"host\": \"a\"}",
            ),
            ("set-cookie", "a=b; c=d", "[REDACTED]"),
            ("db_password", "abc", "[REDACTED]"),
            ("PASSWD", "abc", "[REDACTED]"),
            ("api_key", "abc", "[REDACTED]"),
            ("nudj-api-key", "abc", "[REDACTED]"),
            ("message", "call completed", "call completed"),
        ] {
            assert_eq!(shown(name, value), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_taken(name in ".{0,12}", value in "(.|://|[?#@]|Bearer |é){0,40}") {
            let _ = shown(&name, &value);
        }

        #[test]
        fn no_bearer_and_no_query_stays(secret in "[a-zA-Z0-9]{12}", before in "[a-z ]{0,9}") {
            for text in [
                format!("{before}Bearer {secret}"),
                format!("{before}https://h/p?t={secret}"),
                format!("{before}https://{secret}@h/"),
            ] {
                prop_assert!(!shown("message", &text).contains(&secret));
            }
        }
    }
}
