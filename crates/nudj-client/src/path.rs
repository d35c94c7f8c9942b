//! Building request paths so that an id is always exactly one segment.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::Error;

/// All that RFC 3986 does not let stand in a path segment, and `%` itself.
const SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b';');

/// What may stand in a query or form value as it is: the unreserved characters.
const QUERY: &AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Fills the `{…}` places of `template` with `ids`, each encoded to one segment.
///
/// # Errors
/// An id that is empty, `.` or `..`: servers and proxies resolve those to another path.
pub(crate) fn fill(template: &str, ids: &[&str]) -> Result<String, Error> {
    let mut path = String::with_capacity(template.len() + ids.iter().map(|id| id.len()).sum::<usize>());
    let mut ids = ids.iter();
    for segment in template.split('/').skip(1) {
        path.push('/');
        match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) => {
                let id = ids.next().copied().unwrap_or_default();
                if matches!(id, "" | "." | "..") {
                    return Err(Error::config(name, format!("{id:?} is not an id: it would name another path")));
                }
                path.extend(utf8_percent_encode(id, SEGMENT));
            }
            None => path.push_str(segment),
        }
    }
    Ok(path)
}

/// A path of the caller's, each segment encoded; slashes at its ends do not count.
///
/// # Errors
/// A segment that is empty, `.` or `..`; `field` is named.
#[cfg(feature = "vault")]
pub(crate) fn segments(field: &str, path: &str) -> Result<String, Error> {
    let encoded = path.trim_matches('/').split('/').map(|segment| match segment {
        "" | "." | ".." => Err(Error::config(field, "has an empty segment, or one that would name another path")),
        segment => Ok(utf8_percent_encode(segment, SEGMENT).to_string()),
    });
    Ok(encoded.collect::<Result<Vec<_>, _>>()?.join("/"))
}

/// Appends `pairs` to `path` as its query.
pub(crate) fn append_query<'p>(path: &mut String, pairs: impl IntoIterator<Item = (&'p str, String)>) {
    for (name, value) in pairs {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.extend(utf8_percent_encode(name, QUERY));
        path.push('=');
        path.extend(utf8_percent_encode(&value, QUERY));
    }
}

/// `value` as one part of a form or a query.
pub(crate) fn form(value: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(value, QUERY)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_that_name_another_path_are_refused() {
        for id in ["", ".", ".."] {
            let error = fill("/users/{id}", &[id]).unwrap_err();
            assert!(error.to_string().contains("id"), "{error}");
        }
        assert_eq!(fill("/users/{id}", &["..."]).unwrap(), "/users/...");
        assert_eq!(fill("/users/{id}/points", &["a/../b?c#d"]).unwrap(), "/users/a%2F..%2Fb%3Fc%23d/points");
        assert_eq!(fill("/users/{id}", &["%2e%2e"]).unwrap(), "/users/%252e%252e");
    }

    proptest! {
        #[test]
        fn any_id_is_one_segment_of_a_valid_uri(id in "\\PC{1,40}") {
            prop_assume!(id != "." && id != "..");
            let path = fill("/api/v2/users/{id}/x", &[&id]).unwrap();
            prop_assert_eq!(path.split('/').count(), 6);
            let uri: http::Uri = path.parse().unwrap();
            prop_assert_eq!(uri.path(), path.as_str());
            prop_assert!(uri.query().is_none());
        }

        #[test]
        fn any_query_name_and_value_stay_one(value in "\\PC{0,40}") {
            let mut path = "/x".to_owned();
            append_query(&mut path, [(&*value.clone(), value), ("limit", "1".to_owned())]);
            let uri: http::Uri = path.parse().unwrap();
            prop_assert_eq!(uri.query().unwrap().matches('&').count(), 1);
            prop_assert_eq!(uri.query().unwrap().matches('=').count(), 2);
        }
    }
}
