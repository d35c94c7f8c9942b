use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// One page of a list.
///
/// Documented as `{totalCount, edges}`; a handful of older endpoints answer `{items}` or a bare array, which are read as well. An object
/// without a list is an error and not an empty page: who reads a list to add to it would write back nothing but the addition.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    /// How many there are in all, whatever the page holds; `None` where the API did not say.
    pub total_count: Option<f64>,
    /// What this page holds.
    pub edges: Vec<T>,
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Page<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By a visitor and not as an untagged enum, so that an error still names its place: `edges[3].xp.total`.
        deserializer.deserialize_any(PageVisitor(PhantomData))
    }
}

struct PageVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for PageVisitor<T> {
    type Value = Page<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a page: {totalCount, edges}, {items} or an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Page<T>, A::Error> {
        // Not reserved by the size hint: what the server claims is not ours to allocate.
        let mut edges = Vec::new();
        while let Some(edge) = seq.next_element()? {
            edges.push(edge);
        }
        Ok(Page { total_count: None, edges })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Page<T>, A::Error> {
        let (mut total_count, mut list) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "totalCount" => total_count = map.next_value()?,
                "edges" | "items" | "configs" | "logs" => {
                    list = Some(map.next_value::<Option<Vec<T>>>()?.unwrap_or_default());
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let edges = list.ok_or_else(|| A::Error::missing_field("edges"))?;
        Ok(Page { total_count, edges })
    }
}

/// Reads `null` as the type's default.
pub(super) fn null_as_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Status, User};

    #[test]
    fn all_three_shapes_of_a_list_are_read() {
        for (text, count, ids) in [
            (r#"{"totalCount":7,"edges":[{"id":"a"}],"new":{"x":[1]}}"#, Some(7.0), vec!["a"]),
            (r#"{"items":[{"id":"a"},{"id":"b","points":1.5,"username":null}]}"#, None, vec!["a", "b"]),
            (r#"[{"id":"a"}]"#, None, vec!["a"]),
            (r#"{"totalCount":null,"edges":null}"#, None, vec![]),
        ] {
            let page: Page<User> = serde_json::from_str(text).unwrap();
            assert_eq!(page.total_count, count);
            assert_eq!(page.edges.iter().map(|user| user.id.as_str()).collect::<Vec<_>>(), ids);
        }
    }

    #[test]
    fn an_object_without_a_list_is_no_empty_list() {
        for text in [r#"{"webhooks":[{"id":"a"}],"totalCount":1}"#, r#"{"totalCount":0}"#, "{}"] {
            assert!(serde_json::from_str::<Page<User>>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_unknown_value_of_an_enum_and_an_unknown_field_are_kept() {
        let text = r#"{"id":"c","status":"paused","brandNew":[1,2]}"#;
        let challenge: crate::model::Challenge = serde_json::from_str(text).unwrap();
        assert_eq!(challenge.status, Some(Status::Other("paused".to_owned())));
        assert_eq!(challenge.extra["brandNew"], serde_json::json!([1, 2]));
        let again = serde_json::to_value(&challenge).unwrap();
        assert_eq!((&again["status"], &again["brandNew"]), (&"paused".into(), &serde_json::json!([1, 2])));
    }
}
