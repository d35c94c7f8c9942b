//! What may be shown of a field.

use std::borrow::Cow;

/// What stands in place of a secret.
pub(super) const REDACTED: &str = "[REDACTED]";

/// Parts of the names of fields whose values are secrets, in lower case.
const SECRET_NAMES: [&str; 8] =
    ["authorization", "token", "secret", "password", "passwd", "cookie", "api_key", "api-key"];

/// What follows these words and blanks is a secret.
const SCHEMES: [&str; 2] = ["bearer", "basic"];

/// What follows this name and a colon or `=` is a secret.
const HEADER: &str = "x-api-token";

/// A secret goes up to the next of these. A backslash is that of a quote in a text that was quoted itself.
const ENDS: [char; 8] = [' ', '\t', '\n', '\r', '"', '\'', '\\', ','];

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
    let mut shown = String::new();
    let (mut copied, mut from) = (0, 0);
    while let Some(start) = next_secret(value, from) {
        let tail = value.get(start..)?;
        from = start;
        // A scheme in a header: the secret is behind both.
        if secret_after(tail.as_bytes()).is_some() {
            continue;
        }
        shown.push_str(value.get(copied..start)?);
        shown.push_str(REDACTED);
        from += tail.find(ENDS).unwrap_or(tail.len());
        copied = from;
    }
    (copied > 0).then(|| shown + value.get(copied..).unwrap_or_default())
}

/// Where the next secret begins. One pass and no copy: every text of every line comes by.
fn next_secret(value: &str, from: usize) -> Option<usize> {
    let bytes = value.as_bytes();
    (from..bytes.len()).find_map(|at| Some(at + secret_after(bytes.get(at..)?)?))
}

/// The length of the word that this text begins with, and of what else stands before its secret.
fn secret_after(text: &[u8]) -> Option<usize> {
    let (word, is_header) = match text.first()?.to_ascii_lowercase() {
        b'b' => (SCHEMES.iter().find(|scheme| begins(text, scheme))?.len(), false),
        b'x' if begins(text, HEADER) => (HEADER.len(), true),
        _ => return None,
    };
    let rest = text.get(word..)?;
    let rest = if is_header {
        let (separator, behind) = skip(rest, |byte| is_blank(byte) || is_quote(byte)).split_first()?;
        // In a list of pairs, as Debug writes them, a comma stands between name and value.
        let is_pair = *separator == b',' && rest.first().is_some_and(|first| is_quote(*first));
        if !matches!(separator, b':' | b'=') && !is_pair {
            return None;
        }
        behind
    } else {
        rest.strip_prefix(b" ").or_else(|| rest.strip_prefix(b"\t"))?
    };
    let secret = skip(rest, |byte| is_blank(byte) || is_quote(byte));
    Some(text.len().saturating_sub(secret.len()))
}

fn begins(text: &[u8], word: &str) -> bool {
    text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
}

fn skip(text: &[u8], what: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().position(|byte| !what(*byte)).unwrap_or(text.len());
    text.get(end..).unwrap_or_default()
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'\\')
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
            ("message", "x-api-token:abc", "x-api-token:[REDACTED]"),
            ("message", "x-api-token=abc, x", "x-api-token=[REDACTED], x"),
            ("message", "x-api-token  :\tabc\nx", "x-api-token  :\t[REDACTED]\nx"),
            ("message", "x-api-token: Bearer abc", "x-api-token: Bearer [REDACTED]"),
            ("headers", r#"{"x-api-token":"abc","host":"a"}"#, r#"{"x-api-token":"[REDACTED]","host":"a"}"#),
            ("headers", r#"{\"x-api-token\":\"abc\"}"#, r#"{\"x-api-token\":\"[REDACTED]\"}"#),
            ("headers", r#"[("x-api-token", "abc"), ("a", "b")]"#, r#"[("x-api-token", "[REDACTED]"), ("a", "b")]"#),
            ("headers", "{'x-api-token': 'abc'}", "{'x-api-token': '[REDACTED]'}"),
            ("message", "sent Bearer  abc and Basic\tdef", "sent Bearer  [REDACTED] and Basic\t[REDACTED]"),
            ("message", "Bearer Bearer abc", "Bearer Bearer [REDACTED]"),
            ("message", "neither x-api-token, nor bearers, nor x", "neither x-api-token, nor bearers, nor x"),
            ("message", "x-api-token", "x-api-token"),
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
        fn any_text_is_taken(
            name in ".{0,12}",
            value in "(.|://|[?#@:=\"\\\\]|Bearer[ \\t]|x-api-token|é){0,40}",
        ) {
            let _ = shown(&name, &value);
        }

        #[test]
        fn no_secret_and_no_query_stays(
            secret in "[a-zA-Z0-9]{12}",
            before in "[a-z ]{0,9}",
            scheme in "([bB]earer|BASIC)[ \\t]{1,3}",
            header in "[xX]-[aA]pi-[tT]oken(\"|\\\\\"|')?[ \\t]{0,3}[:=][ \\t]{0,3}(\"|\\\\\"|')?",
        ) {
            for text in [
                format!("{before}{scheme}{secret}"),
                format!("{before}{header}{secret}"),
                format!("{before}{header}{scheme}{secret}"),
                format!("{before}https://h/p?t={secret}"),
                format!("{before}https://{secret}@h/"),
            ] {
                prop_assert!(!shown("message", &text).contains(&secret), "{}", text);
            }
        }
    }
}
