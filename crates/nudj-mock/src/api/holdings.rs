//! What the token's user holds: rewards and giveaway entries.

use serde_json::{Value, json};

use super::{Call, Failure, page};
use crate::{
    clock::iso,
    store::{Collection, Store},
};

fn me(store: &Store) -> Result<String, Failure> {
    store.users.me().map(|me| me.id.clone())
}

fn list(call: &Call<'_>, records: &Collection, me: &str) -> Result<Value, Failure> {
    page::records(call, records.iter().filter(|record| record["userId"] == me), Value::clone)
}

/// Someone else's is as good as none.
fn own<'s>(records: &'s mut Collection, id: &str, me: &str) -> Result<&'s mut Value, Failure> {
    let missing = records.missing();
    records.get_mut(id).ok().filter(|record| record["userId"] == me).ok_or(missing)
}

pub(super) fn list_rewards(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    list(call, &store.reward_assets, &me(store)?)
}

pub(super) fn get_reward(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let me = me(store)?;
    own(&mut store.reward_assets, call.id(), &me).map(|asset| asset.clone())
}

pub(super) fn redeem(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let me = me(store)?;
    let asset = own(&mut store.reward_assets, call.id(), &me)?;
    if asset.get("redeemedAt").is_some() {
        return Err(Failure::conflict("Reward already redeemed"));
    }
    asset["redeemedAt"] = json!(iso(call.now));
    asset["updatedAt"] = asset["redeemedAt"].clone();
    Ok(asset.clone())
}

pub(super) fn list_entries(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    list(call, &store.reward_entries, &me(store)?)
}

pub(super) fn get_entry(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let me = me(store)?;
    own(&mut store.reward_entries, call.id(), &me).map(|entry| entry.clone())
}

pub(super) fn check_entry(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let me = me(store)?;
    let entry = own(&mut store.reward_entries, call.id(), &me)?;
    entry["checkedAt"] = json!(iso(call.now));
    Ok(entry.clone())
}
