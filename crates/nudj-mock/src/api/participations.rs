//! Action participations: the documented way through a challenge.

use serde_json::{Value, json};

use super::{Call, Failure, Input, input::wrong, page, progress};
use crate::{
    clock::iso,
    store::{ORGANISATION_ID, Store},
};

/// The participations of one user.
pub(super) fn mine<'s>(store: &'s Store, user: &'s str) -> impl Iterator<Item = &'s Value> {
    store.participations.iter().filter(move |participation| participation["userId"] == user)
}

pub(super) fn list_mine(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let me = store.users.me()?.id.clone();
    page::records(call, mine(store, &me), Value::clone)
}

pub(super) fn get(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    store.participations.get(call.id()).cloned()
}

/// Takes part in an action. The mock takes every answer for right. When it was the last action of a challenge, the challenge is
/// completed.
pub(super) fn create(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    let action = input.required("actionId")?;
    let key = input.required_object("actionInput")?.required("key")?;
    let allocation = input.required("allocationId")?;
    let preview = input.flag("isPreview")?;
    let me = store.users.me()?.id.clone();
    let action = store.actions.get(action)?.clone();
    if action["key"] != key {
        return Err(wrong("actionInput.key", "must be the key of the action"));
    }
    if action["allocationId"] != allocation {
        return Err(wrong("allocationId", "must be the one of the action"));
    }
    let before = mine(store, &me).filter(|participation| participation["actionId"] == action["id"]).count();
    let most = action["maxCompletionsPerPeriod"].as_u64().and_then(|most| usize::try_from(most).ok()).unwrap_or(0);
    if most > 0 && before >= most {
        return Err(Failure::conflict("Action already completed"));
    }
    let at = iso(call.now);
    let participation = json!({
        "id": store.ids.next(),
        "organisationId": ORGANISATION_ID,
        "communityId": input.string("communityId")?.map_or_else(|| action["communityId"].clone(), |id| json!(id)),
        "actionId": action["id"],
        "userId": me,
        "actionCategory": action["category"],
        "actionKey": key,
        "actionAttributes": action["attributes"],
        "allocationId": allocation,
        "allocatedTo": action["allocatedTo"],
        "participationStatuses": [{
            "id": store.ids.next(),
            "criteriaMet": true,
            "output": {"key": key, "eventId": store.ids.next()},
            "status": "completed",
            "participatedAt": at,
            "processingStartedAt": at,
            "processedAt": at,
        }],
        "createdAt": at,
        "updatedAt": at,
    });
    if preview {
        return Ok(participation);
    }
    let participation = store.participations.put(participation)?;
    advance(store, allocation, &me, call)?;
    Ok(participation)
}

/// Starts the challenge with its first action, and completes it with its last.
fn advance(store: &mut Store, challenge: &str, me: &str, call: &Call<'_>) -> Result<(), Failure> {
    let Ok(actions) = store.challenges.get(challenge).map(|challenge| challenge["actionIds"].clone()) else {
        return Ok(());
    };
    let state = progress::begin(store, challenge, me, call.now)?;
    let done = |id: &Value| mine(store, me).any(|participation| participation["actionId"] == *id);
    if state["status"] != "completed" && actions.as_array().is_some_and(|actions| actions.iter().all(done)) {
        progress::finish(store, challenge, me, None, call.now)?;
    }
    Ok(())
}
