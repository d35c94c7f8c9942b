//! Communities, achievements, leaderboard configurations.

use serde_json::Value;

use super::{
    Call, Failure, Input,
    input::{Fields, Kind, PERIODS, STATUSES},
    page,
};
use crate::store::{Records, Store};

/// What a leaderboard ranks by.
const METRICS: &[&str] =
    &["total-xp", "total-challenges-completed", "total-challenges-started", "total-actions-completed"];

const LEADERBOARD: Fields = &[
    ("name", Kind::Text),
    ("metricType", Kind::Text),
    ("startsAt", Kind::Text),
    ("status", Kind::Text),
    ("period", Kind::Text),
    ("description", Kind::Text),
    ("expiresAt", Kind::Text),
    ("conditions", Kind::List),
    ("rewardsConfig", Kind::List),
];

pub(super) fn list_communities(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    page::records(call, store.communities.iter(), Value::clone)
}

pub(super) fn get_community(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    store.communities.get(call.id()).cloned()
}

/// By id or slug.
pub(super) fn find_community(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let by_slug = || store.communities.iter().find(|community| community["slug"] == call.id());
    store.communities.get(call.id()).or_else(|missing| by_slug().ok_or(missing)).cloned()
}

pub(super) fn list_achievements(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    page::records(call, store.achievements.iter(), Value::clone)
}

pub(super) fn get_achievement(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    store.achievements.get(call.id()).cloned()
}

pub(super) fn list_leaderboards(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    page::records(call, store.leaderboards.iter(), Value::clone)
}

pub(super) fn get_leaderboard(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    store.leaderboards.get(call.id()).cloned()
}

pub(super) fn create_leaderboard(store: &mut Store, call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.json()?;
    let input = Input::of(&body)?;
    for field in ["name", "metricType", "startsAt", "status", "period"] {
        input.required(field)?;
    }
    input.one_of("metricType", METRICS)?;
    input.one_of("period", PERIODS)?;
    input.one_of("status", STATUSES)?;
    store.add(Records::Leaderboards, input.accept(LEADERBOARD)?, call.now)
}
