//! Webhook configurations and the delivery log.
//!
//! The documentation shows the PUT body both as a bare array and as `{configs: […]}`, and not what GET answers. The mock takes both
//! and answers `{configs: […]}`.

use http::Uri;
use serde_json::{Value, json};

use super::{
    Call, Failure, Input,
    input::{Fields, Kind, wrong},
    page::Page,
};
use crate::{
    clock::{iso, parse_iso},
    store::Store,
};

/// More configurations than this are refused.
const MOST_CONFIGS: usize = 100;

const CONFIG: Fields = &[
    ("id", Kind::Text),
    ("url", Kind::Text),
    ("events", Kind::List),
    ("secret", Kind::Text),
    ("active", Kind::Flag),
    ("isEnabled", Kind::Flag),
    ("httpMethod", Kind::Text),
    ("maxRetries", Kind::Number),
    ("headers", Kind::Object),
];

pub(super) fn get_configs(store: &mut Store, _: &Call<'_>) -> Result<Value, Failure> {
    Ok(json!({"configs": store.webhook_configs}))
}

pub(super) fn put_configs(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let configs = match &body {
        Value::Array(configs) => configs,
        body => Input::of(body)?.list("configs")?.ok_or_else(|| super::input::missing("configs"))?,
    };
    if configs.len() > MOST_CONFIGS {
        return Err(wrong("configs", &format!("must have at most {MOST_CONFIGS} entries")));
    }
    let mut checked = Vec::with_capacity(configs.len());
    for config in configs {
        let input = Input::of(config)?;
        let mut config = input.accept(CONFIG)?;
        let url: Option<Uri> = input.required("url")?.parse().ok();
        if url.is_none_or(|url| !matches!(url.scheme_str(), Some("http" | "https")) || url.host().is_none()) {
            return Err(wrong("url", "must be an http or https URL"));
        }
        input.required_texts("events")?;
        config.entry("id").or_insert_with(|| json!(store.ids.next()));
        config.insert("updatedAt".to_owned(), json!(iso(call.now)));
        checked.push(Value::Object(config));
    }
    store.webhook_configs = checked;
    Ok(json!({"configs": store.webhook_configs}))
}

/// Newest first. Takes the filters of both documented families.
pub(super) fn logs(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let page = Page::of(call)?;
    let (mut bounds, names) = ([None; 2], ["since", "until"]);
    for (bound, name) in bounds.iter_mut().zip(names) {
        let read = |text| parse_iso(text).ok_or_else(|| wrong(name, "must be a date"));
        *bound = call.query(name).map(read).transpose()?;
    }
    let equal = ["webhookConfigId", "event", "status", "eventSubCategory", "success"];
    let wanted = |log: &&Value| {
        let text = |name: &str| log[name].as_str().map_or_else(|| log[name].to_string(), str::to_owned);
        equal.iter().all(|name| call.query(name).is_none_or(|wanted| text(name) == wanted))
            && log["createdAt"].as_str().and_then(parse_iso).is_none_or(|at| {
                page.spans(at) && bounds[0].is_none_or(|since| since <= at) && bounds[1].is_none_or(|until| at <= until)
            })
    };
    Ok(page.cut(store.webhook_logs.iter().rev().filter(wanted), Value::clone))
}
