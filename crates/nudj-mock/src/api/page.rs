//! Pagination, search, sorting and date filters of lists.

use serde_json::{Value, json};

use super::{Call, Failure, input::wrong};
use crate::{
    clock::{Millis, parse_iso},
    store::contains_ignoring_case,
};

/// What a list was asked for.
#[derive(Debug)]
pub(crate) struct Page {
    limit: usize,
    skip: usize,
    /// In lower case.
    pub(crate) search: Option<String>,
    /// Field, and whether it descends.
    pub(crate) sort: Option<(String, bool)>,
    from: Option<Millis>,
    to: Option<Millis>,
}

impl Page {
    pub(crate) fn of(call: &Call<'_>) -> Result<Self, Failure> {
        let sort = call.query("sort").filter(|sort| !sort.is_empty()).map(|sort| match sort.strip_prefix('-') {
            Some(field) => (field.to_owned(), true),
            None => (sort.to_owned(), false),
        });
        Ok(Self {
            limit: number(call, "limit", 10, 1, 100)?,
            skip: number(call, "skip", 0, 0, usize::MAX)?,
            search: call.query("search").filter(|search| !search.is_empty()).map(str::to_lowercase),
            sort,
            from: date(call, "fromDate", "startDate")?,
            to: date(call, "toDate", "endDate")?,
        })
    }

    pub(crate) fn spans(&self, at: Millis) -> bool {
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at <= to)
    }

    /// Cuts the page out of what matched.
    pub(crate) fn cut<T>(&self, matched: impl Iterator<Item = T>, show: impl Fn(T) -> Value) -> Value {
        let mut total = 0_usize;
        let mut edges = Vec::new();
        for item in matched {
            if total >= self.skip && edges.len() < self.limit {
                edges.push(show(item));
            }
            total += 1;
        }
        json!({"totalCount": total, "edges": edges})
    }
}

fn number(call: &Call<'_>, name: &str, default: usize, least: usize, most: usize) -> Result<usize, Failure> {
    let Some(text) = call.query(name) else { return Ok(default) };
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| {
        let range = if most == usize::MAX { format!("at least {least}") } else { format!("from {least} to {most}") };
        Failure::invalid(format!("Input validation failed: {name} must be an integer {range}"))
    })
}

fn date(call: &Call<'_>, name: &str, older: &str) -> Result<Option<Millis>, Failure> {
    let Some(text) = call.query(name).or_else(|| call.query(older)) else { return Ok(None) };
    let wrong = || Failure::invalid(format!("Input validation failed: {name} must be a date"));
    parse_iso(text).ok_or_else(wrong).map(Some)
}

/// A page of JSON records. Besides the page's own filters it takes `status` and `communityId`.
pub(super) fn records<'a>(
    call: &Call<'_>,
    records: impl Iterator<Item = &'a Value>,
    show: impl Fn(&Value) -> Value,
) -> Result<Value, Failure> {
    let page = Page::of(call)?;
    let (status, community) = (call.query("status"), call.query("communityId"));
    let is = |record: &Value, field: &str, wanted: Option<&str>| wanted.is_none_or(|wanted| record[field] == wanted);
    let wanted = |record: &&Value| {
        is(record, "status", status)
            && is(record, "communityId", community)
            && record["createdAt"].as_str().and_then(parse_iso).is_none_or(|at| page.spans(at))
            && page.search.as_deref().is_none_or(|needle| {
                let text = [&record["id"], &record["name"], &record["slug"], &record["details"]["title"]];
                text.into_iter().filter_map(Value::as_str).any(|text| contains_ignoring_case(text, needle))
            })
    };
    let matched = records.filter(wanted);
    let Some((field, descending)) = &page.sort else { return Ok(page.cut(matched, show)) };
    if !["createdAt", "updatedAt", "startsAt", "expiresAt", "name", "status"].contains(&field.as_str()) {
        return Err(wrong("sort", "must be a timestamp, name or status, with or without a leading -"));
    }
    let mut sorted: Vec<&Value> = matched.collect();
    sorted.sort_by(|a, b| a[field].as_str().cmp(&b[field].as_str()));
    if *descending {
        sorted.reverse();
    }
    Ok(page.cut(sorted.into_iter(), show))
}
