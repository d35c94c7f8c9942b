//! Which requests a rule is about.

use http::Method;

/// A method (or any) and a path pattern (or any).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) method: Option<Method>,
    segments: Option<Vec<Segment>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Exactly(String),
    /// `{name}` or `*`.
    One,
    /// `**` or `{*name}`, at the end.
    Rest,
}

impl Pattern {
    pub(crate) const ANY: Self = Self { method: None, segments: None };

    pub(crate) fn new(method: Option<Method>, path: &str) -> Self {
        let segments = path
            .trim_start_matches('/')
            .split('/')
            .map(|segment| match segment {
                "*" => Segment::One,
                "**" => Segment::Rest,
                _ if segment.starts_with("{*") && segment.ends_with('}') => Segment::Rest,
                _ if segment.starts_with('{') && segment.ends_with('}') => Segment::One,
                _ => Segment::Exactly(segment.to_owned()),
            })
            .collect();
        Self { method, segments: Some(segments) }
    }

    pub(crate) fn matches(&self, method: &Method, path: &str) -> bool {
        if self.method.as_ref().is_some_and(|wanted| wanted != method) {
            return false;
        }
        let Some(segments) = &self.segments else { return true };
        let mut given = path.trim_start_matches('/').split('/');
        for segment in segments {
            match segment {
                Segment::Rest => return true,
                Segment::One => {
                    if given.next().is_none_or(str::is_empty) {
                        return false;
                    }
                }
                Segment::Exactly(wanted) => {
                    if given.next() != Some(wanted.as_str()) {
                        return false;
                    }
                }
            }
        }
        given.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_placeholder_matches_any_one_segment(name in "[^/{}*]{1,20}", path in "[^/]{1,20}", rest in "(/[^/]{1,5}){0,3}") {
            let pattern = Pattern::new(None, &format!("/a/{{{name}}}"));
            let (one, more) = (format!("/a/{path}"), format!("/a/{path}{rest}"));
            prop_assert!(pattern.matches(&Method::GET, &one));
            prop_assert_eq!(pattern.matches(&Method::GET, &more), rest.is_empty());
            let tail = Pattern::new(None, "/a/**");
            prop_assert!(tail.matches(&Method::GET, &more));
        }
    }

    #[test]
    fn a_pattern_takes_exact_segments_placeholders_and_a_rest() {
        let table = [
            ("/api/v2/admin/users", "/api/v2/admin/users", true),
            ("/api/v2/admin/users", "/api/v2/admin/users/1", false),
            ("/api/v2/admin/users/{id}", "/api/v2/admin/users/1", true),
            ("/api/v2/admin/users/{id}", "/api/v2/admin/users/", false),
            ("/api/v2/admin/users/*", "/api/v2/admin/users/1/x", false),
            ("/api/v2/**", "/api/v2/admin/users/1/x", true),
            ("/api/v2/{*rest}", "/api/v3/admin", false),
            ("/", "/", true),
            ("/", "/a", false),
        ];
        for (pattern, path, matches) in table {
            assert_eq!(Pattern::new(None, pattern).matches(&Method::GET, path), matches, "{pattern} {path}");
        }
        assert!(!Pattern::new(Some(Method::POST), "/**").matches(&Method::GET, "/a"));
        assert!(Pattern::ANY.matches(&Method::GET, "/a"));
    }
}
