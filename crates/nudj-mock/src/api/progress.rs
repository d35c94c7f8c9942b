//! A user's way through a challenge.
//!
//! The overview names `start` and `complete` without a schema; the bodies and answers here are the seed's.

use serde_json::{Value, json};

use super::{Call, Failure, Input};
use crate::{
    clock::{Millis, iso},
    store::{Collection, Store},
};

/// The user a call is about: `userId` (Nudj or external id) when the body names one, else the token's.
fn user(store: &Store, input: Option<Input<'_>>) -> Result<String, Failure> {
    match input.map(|input| input.string("userId")).transpose()?.flatten() {
        Some(id) => store.users.resolve(id),
        None => store.users.me(),
    }
    .map(|user| user.id.clone())
}

/// The body, where none at all stands for an empty object.
fn body(call: &Call<'_>) -> Result<Value, Failure> {
    if call.body.is_empty() { Ok(json!({})) } else { call.json() }
}

fn key(challenge: &str, user: &str) -> String {
    format!("{challenge}/{user}")
}

/// How far a user is.
pub(super) fn state_of(store: &Store, challenge: &str, user: &str) -> Value {
    let nothing = || json!({"status": "not-started"});
    store.progress.get(&key(challenge, user)).cloned().unwrap_or_else(|_| nothing())
}

fn count(challenges: &mut Collection, challenge: &str, fields: [&str; 2]) -> Result<(), Failure> {
    let challenge = challenges.get_mut(challenge)?;
    for field in fields {
        challenge[field] = json!(challenge[field].as_u64().unwrap_or(0).saturating_add(1));
    }
    Ok(())
}

/// Seed only, not in the public reference. Starting what is started already changes nothing.
pub(super) fn start(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = body(call)?;
    store.challenges.get(call.id())?;
    let user = user(store, Some(Input::of(&body)?))?;
    begin(store, call.id(), &user, call.now)
}

pub(super) fn begin(store: &mut Store, challenge: &str, user: &str, now: Millis) -> Result<Value, Failure> {
    let id = key(challenge, user);
    if let Ok(known) = store.progress.get(&id) {
        return Ok(known.clone());
    }
    let progress =
        json!({"id": id, "challengeId": challenge, "userId": user, "status": "started", "startedAt": iso(now)});
    let progress = store.progress.put(progress)?;
    count(&mut store.challenges, challenge, ["startedCount", "uniqueUsersStartedCount"])?;
    Ok(progress)
}

/// Seed only, not in the public reference. What was not started, or is complete, is a conflict.
pub(super) fn complete(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = body(call)?;
    let input = Input::of(&body)?;
    store.challenges.get(call.id())?;
    let score = input.number("score", f64::MIN, f64::MAX)?.and(input.get("score"));
    let user = user(store, Some(input))?;
    finish(store, call.id(), &user, score, call.now)
}

pub(super) fn finish(
    store: &mut Store,
    challenge: &str,
    user: &str,
    score: Option<&Value>,
    now: Millis,
) -> Result<Value, Failure> {
    let Ok(progress) = store.progress.get_mut(&key(challenge, user)) else {
        return Err(Failure::conflict("Challenge not started"));
    };
    if progress["status"] == "completed" {
        return Err(Failure::conflict("Challenge already completed"));
    }
    progress["status"] = json!("completed");
    progress["completed"] = json!(true);
    progress["score"] = json!(score);
    progress["completedAt"] = json!(iso(now));
    let done = progress.clone();
    count(&mut store.challenges, challenge, ["completedCount", "uniqueUsersCompletedCount"])?;
    store.users.edit(user, |user| user.challenges_completed = user.challenges_completed.saturating_add(1))?;
    Ok(done)
}

pub(super) fn unlock(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    store.challenges.get(call.id())?;
    let amount = input.required_integer("amount", 1.0, f64::MAX)?;
    let me = store.users.me()?;
    if me.keys < amount {
        return Err(Failure::invalid("Not enough keys"));
    }
    let id = me.id.clone();
    store.users.edit(&id, |me| me.keys -= amount)?;
    Ok(json!({"amountDebited": amount, "challengeStatus": "unlocked"}))
}
