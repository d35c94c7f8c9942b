//! Challenges and challenge groups.

use serde_json::{Map, Value, json};

use super::{
    Call, Failure, Input,
    input::{Fields, Kind, PERIODS, STATUSES, merge, missing},
    page,
    progress::state_of,
};
use crate::{
    clock::iso,
    store::{Records, Store},
};

const CHALLENGE: Fields = &[
    ("additionalCommunityIds", Kind::List),
    ("status", Kind::Text),
    ("isSkippable", Kind::Flag),
    ("isLinear", Kind::Flag),
    ("enabledForSingleView", Kind::Flag),
    ("tags", Kind::List),
    ("campaigns", Kind::List),
    ("startsAt", Kind::Text),
    ("expiresAt", Kind::Text),
    ("featured", Kind::Flag),
    ("progressPeriod", Kind::Text),
    ("maxCompletionsPerPeriod", Kind::Number),
    ("unlockPrice", Kind::Number),
    ("isGlobalTemplate", Kind::Flag),
    ("availableAsTemplateForOrganisations", Kind::List),
    ("videoConfig", Kind::Object),
    ("details", Kind::Object),
];

const GROUP: Fields = &[
    ("details", Kind::Object),
    ("status", Kind::Text),
    ("type", Kind::Text),
    ("period", Kind::Text),
    ("challengeIds", Kind::List),
    ("activeAmount", Kind::Number),
];

pub(super) fn list(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    page::records(call, store.challenges.iter(), Value::clone)
}

pub(super) fn get(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    store.challenges.get(call.id()).cloned()
}

/// Refuses values that the documentation does not list.
fn checked(input: Input<'_>) -> Result<Input<'_>, Failure> {
    input.one_of("status", STATUSES)?;
    input.one_of("progressPeriod", PERIODS)?;
    Ok(input)
}

/// Seed only, not in the public reference. Takes the seed's `title` and the documented `details.title`.
pub(super) fn create(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = checked(Input::of(&body)?)?;
    let mut given = input.accept(CHALLENGE)?;
    let title = match input.string("title")? {
        Some(title) => Some(title),
        None => input.get("details").and_then(|details| details["title"].as_str()),
    };
    let title = title.filter(|title| !title.is_empty()).ok_or_else(|| missing("title"))?;
    given.insert("communityId".to_owned(), json!(input.required("communityId")?));
    let details = given.entry("details").or_insert_with(|| json!({}));
    merge(details, Map::from_iter([("title".to_owned(), json!(title))]));
    store.add(Records::Challenges, given, call.now)
}

pub(super) fn update(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let challenge = store.challenges.get_mut(call.id())?;
    merge(challenge, checked(Input::of(&body)?)?.accept_change(CHALLENGE, Records::Challenges)?);
    challenge["updatedAt"] = json!(iso(call.now));
    Ok(challenge.clone())
}

/// As the token's user sees it: tags and campaigns expanded, and how far the user is.
fn shown(store: &Store, challenge: &Value) -> Value {
    let mut shown = challenge.clone();
    for (field, name) in [("tags", "value"), ("campaigns", "name")] {
        let expand = |id: &Value| json!({"id": id, "organisationId": challenge["organisationId"], name: id});
        let expanded: Vec<Value> = challenge[field].as_array().into_iter().flatten().map(expand).collect();
        shown[field] = Value::Array(expanded);
    }
    let me = store.users.me().map_or("", |me| &me.id);
    shown["userState"] = state_of(store, challenge["id"].as_str().unwrap_or_default(), me);
    shown
}

pub(super) fn list_mine(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    page::records(call, store.challenges.iter(), |challenge| shown(store, challenge))
}

pub(super) fn get_mine(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let challenge = store.challenges.get(call.id())?;
    let mut shown = shown(store, challenge);
    let own: Vec<&Value> = store.actions.iter().filter(|action| action["allocationId"] == call.id()).collect();
    shown["actions"] = json!(own);
    Ok(shown)
}

pub(super) fn list_groups(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    page::records(call, store.challenge_groups.iter(), Value::clone)
}

fn shown_group(store: &Store, group: &Value) -> Value {
    let ids = group["challengeIds"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let challenges: Vec<Value> =
        ids.filter_map(|id| store.challenges.get(id).ok()).map(|challenge| shown(store, challenge)).collect();
    let mut shown = group.clone();
    shown["challenges"] = Value::Array(challenges);
    shown
}

pub(super) fn list_groups_mine(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    page::records(call, store.challenge_groups.iter(), |group| shown_group(store, group))
}

pub(super) fn get_group_mine(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    Ok(shown_group(store, store.challenge_groups.get(call.id())?))
}

/// Refuses values that the documentation does not list.
fn checked_group(input: Input<'_>) -> Result<Input<'_>, Failure> {
    input.one_of("status", STATUSES)?;
    input.one_of("type", &["random", "sequential"])?;
    input.one_of("period", PERIODS)?;
    input.number("activeAmount", 1.0, f64::MAX)?;
    Ok(input)
}

pub(super) fn create_group(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    input.required_object("details")?.required("title")?;
    let mut given = checked_group(input)?.accept(GROUP)?;
    given.insert("communityId".to_owned(), json!(input.required("communityId")?));
    store.add(Records::ChallengeGroups, given, call.now)
}

pub(super) fn update_group(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let found = store.challenge_groups.get_mut(call.id())?;
    merge(found, checked_group(Input::of(&body)?)?.accept_change(GROUP, Records::ChallengeGroups)?);
    found["updatedAt"] = json!(iso(call.now));
    Ok(found.clone())
}
