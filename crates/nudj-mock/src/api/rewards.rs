//! The reward catalogue, and giving rewards out.

use serde_json::{Map, Value, json};

use super::{
    Call, Failure, Input,
    input::{Fields, Kind, STATUSES, merge, wrong},
    page,
};
use crate::{
    clock::{Millis, iso},
    store::{Records, Store},
};

const REWARD: Fields = &[
    ("assetPointsPrice", Kind::Number),
    ("entryPointsPrice", Kind::Number),
    ("allocationsType", Kind::Text),
    ("redemptionConfig", Kind::Object),
    ("details", Kind::Object),
    ("status", Kind::Text),
    ("additionalCommunityIds", Kind::List),
    ("assetsSupply", Kind::Number),
    ("entriesSupply", Kind::Number),
    ("maxAssetsPerUser", Kind::Number),
    ("maxEntriesPerUser", Kind::Number),
    ("allocations", Kind::List),
    ("isSharedAssetsSupply", Kind::Flag),
    ("isSharedEntriesSupply", Kind::Flag),
    ("tags", Kind::List),
    ("campaigns", Kind::List),
    ("featured", Kind::Flag),
    ("startsAt", Kind::Text),
    ("expiresAt", Kind::Text),
    ("drawsAt", Kind::Text),
    ("isManualGiveaway", Kind::Flag),
    ("isGlobalTemplate", Kind::Flag),
    ("availableAsTemplateForOrganisations", Kind::List),
    ("metadata", Kind::Object),
];

pub(super) fn list(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    page::records(call, store.rewards.iter(), Value::clone)
}

pub(super) fn create(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    input.required_object("details")?.required("title")?;
    input.one_of("status", STATUSES)?;
    let mut given = input.accept(REWARD)?;
    given.insert("communityId".to_owned(), json!(input.required("communityId")?));
    let me = store.users.me()?.id.clone();
    given.extend([("createdBy".to_owned(), json!(me)), ("updatedBy".to_owned(), json!(me))]);
    store.add(Records::Rewards, given, call.now)
}

pub(super) fn update(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let reward = store.rewards.get_mut(call.id())?;
    let input = Input::of(&body)?;
    input.one_of("status", STATUSES)?;
    merge(reward, input.accept_change(REWARD, Records::Rewards)?);
    reward["updatedAt"] = json!(iso(call.now));
    Ok(reward.clone())
}

/// One reward for one user.
fn grant(store: &mut Store, reward: &Value, user: &str, kind: &str, quantity: u64, now: Millis) -> Result<(), Failure> {
    let mut given = Map::new();
    for field in ["communityId", "details", "tags", "campaigns", "metadata"] {
        given.insert(field.to_owned(), reward[field].clone());
    }
    given.insert("rewardId".to_owned(), reward["id"].clone());
    given.insert("userId".to_owned(), json!(user));
    if kind == "entries" {
        given.remove("metadata");
        given.insert("totalEntries".to_owned(), json!(quantity));
        let entry = json!({"allocationId": "", "amount": quantity, "createdAt": iso(now)});
        given.insert("entries".to_owned(), json!([entry]));
        store.add(Records::RewardEntries, given, now)?;
        return Ok(());
    }
    for _ in 0..quantity {
        store.add(Records::RewardAssets, given.clone(), now)?;
    }
    store.users.edit(user, |user| user.rewards_earned = user.rewards_earned.saturating_add(quantity))?;
    Ok(())
}

/// The one documented bulk call: users that are not known are named, and hold up nobody.
pub(super) fn distribute(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    input.one_of("distributionMechanism", &["all", "priority", "random", "select"])?;
    input.required("distributionMechanism")?;
    input.required("communityId")?;
    input.required_integer("amountToDistribute", 1.0, f64::MAX)?;
    let xp = input.required_integer("xpToDistribute", 0.0, f64::MAX)?;
    let points = input.required_integer("pointsToDistribute", 0.0, f64::MAX)?;
    let users = input.required_texts("userIds")?;
    let mut rewards = Vec::new();
    for reward in input.list("rewards")?.ok_or_else(|| super::input::missing("rewards"))? {
        let reward = Input::of(reward)?;
        reward.one_of("allocationType", &["assets", "entries"])?;
        let kind = reward.string("allocationType")?.unwrap_or("assets");
        rewards.push((store.rewards.get(reward.required("rewardId")?)?.clone(), kind, quantity(reward)?));
    }
    let mut failed = Vec::new();
    for name in &users {
        let Ok(user) = store.users.resolve(name).map(|user| user.id.clone()) else {
            failed.push(*name);
            continue;
        };
        for (reward, kind, quantity) in &rewards {
            grant(store, reward, &user, kind, *quantity, call.now)?;
        }
        store.users.edit(&user, |user| {
            user.points += points;
            user.xp += xp;
        })?;
    }
    Ok(json!({
        "success": failed.is_empty(),
        "message": if failed.is_empty() { Value::Null } else { json!("Some users were not found") },
        "usersProcessed": users.len() - failed.len(),
        "failedUserIds": failed,
    }))
}

fn quantity(input: Input<'_>) -> Result<u64, Failure> {
    let quantity =
        input.get("quantity").map_or(Some(1), Value::as_u64).filter(|quantity| (1..=1000).contains(quantity));
    quantity.ok_or_else(|| wrong("quantity", "must be an integer from 1 to 1000"))
}

pub(super) fn process_giveaway(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let reward = store.rewards.get(call.id())?.clone();
    if reward.get("processedAt").is_some() {
        return Err(Failure::conflict("Giveaway already processed"));
    }
    let mut winners = Vec::new();
    for winner in Input::of(&body)?.required_list("winners")? {
        let winner = Input::of(winner)?;
        let user = store.users.resolve(winner.required("userId")?)?.id.clone();
        winners.push((user, quantity(winner)?));
    }
    for (user, quantity) in &winners {
        grant(store, &reward, user, "assets", *quantity, call.now)?;
    }
    let at = json!(iso(call.now));
    for entry in store.reward_entries.iter_mut().filter(|entry| entry["rewardId"] == reward["id"]) {
        let won = winners.iter().any(|(user, _)| entry["userId"] == *user);
        entry["drawnAt"] = at.clone();
        entry["status"] = json!(if won { "won" } else { "lost" });
    }
    store.rewards.get_mut(call.id())?["processedAt"] = at;
    Ok(json!({"success": true, "message": null}))
}
