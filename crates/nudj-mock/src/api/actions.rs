//! Actions.

use serde_json::{Value, json};

use super::{
    Call, Failure, Input,
    input::{Fields, Kind, PERIODS},
    page,
    participations::mine,
};
use crate::store::{Records, Store};

const ACTION: Fields = &[
    ("communityId", Kind::Text),
    ("allocationId", Kind::Text),
    ("allocatedTo", Kind::Text),
    ("category", Kind::Text),
    ("key", Kind::Text),
    ("attributes", Kind::Object),
    ("details", Kind::Object),
    ("progressPeriod", Kind::Text),
    ("maxCompletionsPerPeriod", Kind::Number),
    ("isGlobalTemplate", Kind::Flag),
    ("availableAsTemplateForOrganisations", Kind::List),
    ("videoMetadata", Kind::Object),
    ("xpConfig", Kind::Object),
    ("config", Kind::Object),
];

pub(super) fn list(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    page::records(call, store.actions.iter(), Value::clone)
}

pub(super) fn get(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    store.actions.get(call.id()).cloned()
}

pub(super) fn create(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    for field in ["allocationId", "allocatedTo", "category", "key"] {
        input.required(field)?;
    }
    input.one_of("progressPeriod", PERIODS)?;
    let mut given = input.accept(ACTION)?;
    let challenge = input.string("allocationId")?.unwrap_or_default();
    let position =
        store.challenges.get(challenge).map_or(0, |challenge| challenge["actionIds"].as_array().map_or(0, Vec::len));
    given.insert("position".to_owned(), json!(position));
    let action = store.add(Records::Actions, given, call.now)?;
    if let Ok(challenge) = store.challenges.get_mut(challenge) {
        if let Some(ids) = challenge["actionIds"].as_array_mut() {
            ids.push(action["id"].clone());
        }
        challenge["numberOfActions"] = json!(challenge["actionIds"].as_array().map_or(0, Vec::len));
    }
    Ok(action)
}

/// The one documented answer that is a bare array.
pub(super) fn reorder(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    let allocation = input.required("allocationId")?;
    let ids = input.required_texts("actionIds")?;
    for id in &ids {
        if store.actions.get(id)?["allocationId"] != allocation {
            return Err(Failure::invalid(format!(
                "Input validation failed: actionIds holds {id}, which is allocated elsewhere"
            )));
        }
    }
    let mut ordered = Vec::with_capacity(ids.len());
    for (position, id) in ids.iter().enumerate() {
        let action = store.actions.get_mut(id)?;
        action["position"] = json!(position);
        ordered.push(action.clone());
    }
    if let Ok(challenge) = store.challenges.get_mut(allocation) {
        challenge["actionIds"] = json!(ids);
    }
    Ok(Value::Array(ordered))
}

pub(super) fn list_mine(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let me = store.users.me()?.id.clone();
    page::records(call, store.actions.iter(), |action| {
        let participations: Vec<&Value> =
            mine(store, &me).filter(|participation| participation["actionId"] == action["id"]).collect();
        let done = !participations.is_empty();
        let mut shown = action.clone();
        shown["userState"] = json!({
            "status": if done { "completed" } else { "not-started" },
            "criteriaMet": done,
            "attempts": participations.len(),
        });
        shown["participations"] = json!(participations);
        shown
    })
}
