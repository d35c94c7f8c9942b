//! Custom events, and links that log one when opened.

use serde_json::{Map, Value, json};

use super::{Call, Failure, Input};
use crate::{
    clock::iso,
    store::{NewUser, Store},
};

pub(super) fn create(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    let name = input.required("eventName")?;
    let payload = input.required_object("payload").map(|_| input.get("payload").cloned())?;
    let given = input.required("userId")?;
    let community = input.string("communityId")?;
    let create = input.flag("autoCreateUser")?;
    let (user, external) = match store.users.resolve(given) {
        Ok(user) => (user.id.clone(), user.external_user_id.clone()),
        Err(missing) if !create => return Err(missing),
        Err(_) => {
            let new = NewUser {
                username: given.to_owned(),
                external_user_id: Some(given.to_owned()),
                anonymous: true,
                ..NewUser::default()
            };
            let id = store.ids.next();
            let user = store.users.create(id, new, call.now)?;
            (user.id.clone(), user.external_user_id.clone())
        }
    };
    let mut event = Map::new();
    event.insert("name".to_owned(), json!(name));
    event.insert("userId".to_owned(), json!(user));
    event.insert("payload".to_owned(), json!(payload));
    if let Some(external) = external {
        event.insert("externalUserId".to_owned(), json!(external));
    }
    log(store, call, &event, community);
    Ok(Value::Object(event))
}

/// Notes an event in the journal that the test can read.
fn log(store: &mut Store, call: &Call<'_>, event: &Map<String, Value>, community: Option<&str>) {
    let mut noted = event.clone();
    noted.insert("id".to_owned(), json!(store.ids.next()));
    noted.insert("communityId".to_owned(), json!(community));
    noted.insert("createdAt".to_owned(), json!(iso(call.now)));
    store.events.push(Value::Object(noted));
}

pub(super) fn create_link(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    let name = input.required("eventName")?;
    input.required_object("payload")?;
    let seconds = input.number("expiryTime", 1.0, 1e9)?.unwrap_or(3600.0);
    let single = input.get("isSingleUse").is_none() || input.flag("isSingleUse")?;
    // Within 1e12 by the check above.
    #[expect(clippy::cast_possible_truncation, reason = "at most 1e12")]
    let expires = call.now.saturating_add((seconds * 1000.0) as i64);
    let link = store.links.put(json!({
        "id": store.ids.next(),
        "eventName": name,
        "payload": input.get("payload"),
        "communityId": input.string("communityId")?,
        "expires": expires,
        "isSingleUse": single,
        "used": false,
    }))?;
    let id = link["id"].as_str().unwrap_or_default();
    Ok(json!({"url": format!("{}/api/v2/events/link/{id}", call.origin())}))
}

/// Opens a link, for which no token is needed.
pub(super) fn open_link(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let link = store.links.get_mut(call.id())?;
    let spent = link["isSingleUse"] == true && link["used"] == true;
    if spent || link["expires"].as_i64().is_none_or(|expires| expires <= call.now) {
        return Err(Failure::not_found("Link"));
    }
    link["used"] = json!(true);
    let community = link["communityId"].as_str().map(str::to_owned);
    let mut event = Map::new();
    event.insert("name".to_owned(), link["eventName"].clone());
    event.insert("payload".to_owned(), link["payload"].clone());
    event.insert("userId".to_owned(), Value::Null);
    log(store, call, &event, community.as_deref());
    Ok(json!({"success": true}))
}
