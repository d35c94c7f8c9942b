//! Users.

use serde_json::{Map, Value, json};

use super::{
    Call, Failure, Input,
    input::{missing, wrong},
    page::Page,
};
use crate::{
    clock::Millis,
    store::{NewUser, Store, User},
};

/// More users in one bulk call are refused.
const MOST_IN_BULK: usize = 1000;

/// Profile fields that creating and updating take as strings.
const PROFILE: [&str; 5] = ["displayName", "bio", "profilePictureUrl", "locale", "fullName"];

pub(super) fn list(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let page = Page::of(call)?;
    let search = page.search.as_deref();
    let wanted = |user: &&User| page.spans(user.created_at) && search.is_none_or(|needle| user.contains(needle));
    let matched = store.users.visible().filter(wanted);
    let Some((field, descending)) = &page.sort else { return Ok(page.cut(matched, User::to_json)) };
    let mut sorted: Vec<&User> = matched.collect();
    match field.as_str() {
        "createdAt" => sorted.sort_by_key(|user| user.created_at),
        "updatedAt" => sorted.sort_by_key(|user| user.updated_at),
        "username" => sorted.sort_by(|a, b| a.username.cmp(&b.username)),
        "email" => sorted.sort_by(|a, b| a.email.cmp(&b.email)),
        "points" => sorted.sort_by(|a, b| a.points.total_cmp(&b.points)),
        _ => {
            return Err(wrong(
                "sort",
                "must be createdAt, updatedAt, username, email or points, with or without a leading -",
            ));
        }
    }
    if *descending {
        sorted.reverse();
    }
    Ok(page.cut(sorted.into_iter(), User::to_json))
}

pub(super) fn get(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    store.users.get(call.id()).map(User::to_json)
}

pub(super) fn create(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    create_one(store, &body, call.now).map(User::to_json)
}

fn create_one<'s>(store: &'s mut Store, body: &Value, now: Millis) -> Result<&'s User, Failure> {
    let new = new_user(body)?;
    let id = store.ids.next();
    store.users.create(id, new, now)
}

/// Reads a new user. Only the email is required; a missing username is the part of it before the `@`.
pub(crate) fn new_user(body: &Value) -> Result<NewUser, Failure> {
    let input = Input::of(body)?;
    let email = input.required("email")?;
    let name = check_email(email)?;
    let mut profile = Map::new();
    for field in PROFILE {
        if let Some(text) = input.string(field)? {
            profile.insert(field.to_owned(), json!(text));
        }
    }
    Ok(NewUser {
        email: email.to_owned(),
        username: input.string("username")?.unwrap_or(name).to_owned(),
        external_user_id: input.string("externalUserId")?.filter(|id| !id.is_empty()).map(str::to_owned),
        anonymous: false,
        profile,
    })
}

/// The part before the `@` of what looks like an email address.
fn check_email(email: &str) -> Result<&str, Failure> {
    let split = email.split_once('@').filter(|(name, host)| !name.is_empty() && !host.is_empty());
    let plain = split.filter(|_| !email.contains(char::is_whitespace));
    plain.map(|(name, _)| name).ok_or_else(|| wrong("email", "must be an email address"))
}

/// Seed only, not in the public reference.
pub(super) fn update(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    store.users.get(call.id())?;
    for field in PROFILE {
        input.string(field)?;
    }
    let (email, username) = (input.string("email")?, input.string("username")?);
    email.map(check_email).transpose()?;
    let external = input.string("externalUserId")?;
    let cleared = body.get("externalUserId").is_some_and(Value::is_null);
    if let Some(taken) = store.users.taken(email, external, Some(call.id())) {
        return Err(Failure::taken(taken));
    }
    let now = call.now;
    let changed = store.users.edit(call.id(), |user| {
        for (field, value) in input.fields().filter(|(field, _)| PROFILE.contains(&field.as_str())) {
            match value {
                Value::Null => user.profile.remove(field),
                value => user.profile.insert(field.clone(), value.clone()),
            };
        }
        if let Some(email) = email {
            user.email = email.to_owned();
        }
        if let Some(username) = username {
            user.username = username.to_owned();
        }
        // `null` is no string, but clears.
        if let Some(external) = external.or(cleared.then_some("")) {
            user.external_user_id = Some(external.to_owned()).filter(|id| !id.is_empty());
        }
        user.updated_at = now;
    });
    changed.map(User::to_json)
}

pub(super) fn delete(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let erased = store.users.erase(call.id(), call.now)?;
    Ok(json!({"success": true, "message": "User deleted", "user": erased.to_json()}))
}

/// Seed only, not in the public reference. Each user stands alone: one that is refused does not hold up the others.
pub(super) fn bulk_create(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let users = Input::of(&body)?.get("users").ok_or_else(|| missing("users"))?;
    let users = users.as_array().ok_or_else(|| wrong("users", "must be an array"))?;
    if !(1..=MOST_IN_BULK).contains(&users.len()) {
        return Err(wrong("users", &format!("must have from 1 to {MOST_IN_BULK} entries")));
    }
    let one = |(index, body): (usize, &Value)| match create_one(store, body, call.now) {
        Ok(user) => json!({"index": index, "success": true, "user": user.to_json()}),
        Err(failure) => {
            json!({"index": index, "success": false, "error": {"message": failure.message, "code": failure.code()}})
        }
    };
    let results: Vec<Value> = users.iter().enumerate().map(one).collect();
    Ok(json!({"results": results}))
}

pub(super) fn me(store: &mut Store, _: &Call<'_>) -> Result<Value, Failure> {
    let me = store.users.me()?;
    let mut shown = me.to_json();
    // Not part of GET /integration/me.
    shown.as_object_mut().map(|fields| fields.remove("updatedAt"));
    shown["level"] = json!(1);
    shown["completedChallenges"] = json!(me.challenges_completed);
    shown["earnedRewards"] = json!(me.rewards_earned);
    shown["enteredGiveaways"] = json!(0);
    Ok(shown)
}
