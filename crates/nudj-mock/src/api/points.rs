//! Points transactions, and the analytics view of a user.

use serde_json::{Value, json};

use super::{Call, Failure, Input, input::missing};
use crate::{
    clock::iso,
    store::{ORGANISATION_ID, Store},
};

/// The reference is unique: a second transaction under it is a conflict. (The documentation calls it unique without saying what a
/// repeat gets.)
pub(super) fn transact(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    let user = store.users.resolve(call.id())?;
    let amount = input.required_number("amount", 1.0, 1_000_000.0)?;
    let direction = input.required("direction")?;
    input.one_of("direction", &["credit", "debit"])?;
    let reference = input.required("externalTransactionReference")?;
    if reference.chars().count() > 200 {
        return Err(super::input::wrong("externalTransactionReference", "must have at most 200 characters"));
    }
    if store.references.contains(reference) {
        return Err(Failure::conflict("A transaction with this externalTransactionReference already exists"));
    }
    let balance = if direction == "credit" { user.points + amount } else { user.points - amount };
    if balance < 0.0 {
        return Err(Failure::invalid("Not enough points"));
    }
    let user = user.id.clone();
    let mut transaction = json!({
        "id": store.ids.next(),
        "organisationId": ORGANISATION_ID,
        "userId": user,
        "accountingDirection": direction,
        "amount": amount,
        "status": "completed",
        "externalTransactionReference": reference,
        "createdAt": iso(call.now),
    });
    if let Some(community) = input.string("communityId")? {
        transaction["communityId"] = json!(community);
    }
    let transaction = store.transactions.put(transaction)?;
    store.references.insert(reference.to_owned());
    let now = call.now;
    store.users.edit(&user, |user| {
        user.points = balance;
        user.updated_at = now;
    })?;
    Ok(json!({"success": true, "message": "Transaction completed", "transaction": transaction}))
}

/// The documentation doesn't show the query parameter; the mock takes `userId`, a Nudj or external id.
pub(super) fn details(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let user = store.users.resolve(call.query("userId").ok_or_else(|| missing("userId"))?)?;
    let shown = user.to_json();
    let is_users = |record: &&Value| record["userId"] == user.id;
    let count = |records: &mut dyn Iterator<Item = &Value>| records.filter(is_users).count();
    let assets: Vec<&Value> = store.reward_assets.iter().filter(is_users).collect();
    let entries: Vec<&Value> = store.reward_entries.iter().filter(is_users).collect();
    let mut details = json!({
        "userId": user.id,
        "username": user.username,
        "email": user.email,
        "createdAt": iso(user.created_at),
        "stats": {
            "totalPoints": user.points,
            "totalXP": user.xp,
            "currentLevel": 1,
            "totalAchievements": 0,
            "totalChallengesCompleted": user.challenges_completed,
            "totalChallengesStarted": count(&mut store.progress.iter()),
            "totalRewardsEarned": user.rewards_earned,
        },
        "xpBreakdown": shown["xp"],
        "achievements": [],
        "challenges": store.progress.iter().filter(is_users).collect::<Vec<_>>(),
        "rewardAssets": assets,
        "rewardEntries": entries,
    });
    for field in ["displayName", "profilePictureUrl"] {
        if let Some(value) = shown.get(field) {
            details[field] = value.clone();
        }
    }
    Ok(details)
}
