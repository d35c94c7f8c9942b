//! Every route of the mock, with the name of its procedure as it appears in error envelopes.

use std::sync::Arc;

use axum::{
    Router,
    routing::{MethodFilter, MethodRouter, on, post},
};
use http::StatusCode;

use super::{
    Failure, Handler, Procedure, World, actions, catalogue, challenges, events, holdings, oauth, participations,
    points, progress, refuse, rewards, run, users, webhooks,
};

const GET: MethodFilter = MethodFilter::GET;
const POST: MethodFilter = MethodFilter::POST;
const PUT: MethodFilter = MethodFilter::PUT;
const PATCH: MethodFilter = MethodFilter::PATCH;
const DELETE: MethodFilter = MethodFilter::DELETE;

/// Method, path, procedure, handler.
type Row = (MethodFilter, &'static str, &'static str, Handler);

/// Under `/api/v2/admin`.
#[rustfmt::skip]
const ADMIN: &[Row] = &[
    (GET, "/users", "getUsers", users::list),
    (POST, "/users", "createUser", users::create),
    // Seed only, not in the public reference; so are the two updates (other resources are updated by POST) and the rotation.
    (POST, "/users/bulk", "bulkCreateUsers", users::bulk_create),
    (PATCH, "/users/{id}", "updateUser", users::update),
    (POST, "/users/{id}", "updateUser", users::update),
    (POST, "/auth/rotate-api-key", "rotateApiKey", oauth::rotate),
    (GET, "/users/{id}", "getUser", users::get),
    (DELETE, "/users/{id}", "deleteUser", users::delete),
    (POST, "/users/{id}/points-transaction", "managePointsTransaction", points::transact),
    (POST, "/events/custom", "createCustomEvent", events::create),
    (POST, "/events/custom/link", "createCustomEventLink", events::create_link),
    (GET, "/challenges", "getChallenges", challenges::list),
    // Seed only: the error page names the procedure, no page describes it.
    (POST, "/challenges", "createChallenge", challenges::create),
    (GET, "/challenges/{id}", "getChallenge", challenges::get),
    (POST, "/challenges/{id}", "updateChallenge", challenges::update),
    (GET, "/challenge-groups", "getChallengeGroups", challenges::list_groups),
    (POST, "/challenge-groups", "createChallengeGroup", challenges::create_group),
    (PATCH, "/challenge-groups/{id}", "updateChallengeGroup", challenges::update_group),
    (GET, "/actions", "getActions", actions::list),
    (POST, "/actions", "createAction", actions::create),
    (PATCH, "/actions/reorder", "reorderActions", actions::reorder),
    (GET, "/actions/{id}", "getAction", actions::get),
    (GET, "/action-participations/{id}", "getActionParticipation", participations::get),
    (GET, "/rewards", "getRewards", rewards::list),
    (POST, "/rewards", "createReward", rewards::create),
    (POST, "/rewards/manual-distribution", "manualDistribution", rewards::distribute),
    (POST, "/rewards/{id}", "updateReward", rewards::update),
    (POST, "/rewards/{id}/process-giveaway", "processGiveaway", rewards::process_giveaway),
    (GET, "/communities", "getCommunities", catalogue::list_communities),
    (GET, "/communities/{id}", "getCommunity", catalogue::get_community),
    (GET, "/achievements", "getAchievements", catalogue::list_achievements),
    (GET, "/leaderboards/configs", "getLeaderboardConfigs", catalogue::list_leaderboards),
    (GET, "/leaderboards/configs/{id}", "getLeaderboardConfig", catalogue::get_leaderboard),
    (POST, "/leaderboards", "createLeaderboard", catalogue::create_leaderboard),
    (GET, "/webhooks/configs", "getWebhookConfigs", webhooks::get_configs),
    (PUT, "/webhooks/configs", "updateWebhookConfigs", webhooks::put_configs),
    (GET, "/webhooks/logs", "getWebhookLogs", webhooks::logs),
];

/// Under `/api/v2/integration`: the caller is the token's user.
#[rustfmt::skip]
const INTEGRATION: &[Row] = &[
    (GET, "/me", "getMe", users::me),
    (GET, "/challenges", "getChallenges", challenges::list_mine),
    (GET, "/challenges/{id}", "getChallenge", challenges::get_mine),
    (POST, "/challenges/{id}/unlock", "unlockChallenge", progress::unlock),
    // Named in the overview without a schema; bodies and answers are the seed's.
    (POST, "/challenges/{id}/start", "startChallenge", progress::start),
    (POST, "/challenges/{id}/complete", "completeChallenge", progress::complete),
    (GET, "/challenge-groups", "getChallengeGroups", challenges::list_groups_mine),
    (GET, "/challenge-groups/{id}", "getChallengeGroup", challenges::get_group_mine),
    (GET, "/actions", "getActions", actions::list_mine),
    (GET, "/action-participations", "getActionParticipations", participations::list_mine),
    (POST, "/action-participations", "createActionParticipation", participations::create),
    (GET, "/rewards", "getRewards", rewards::list),
    (GET, "/me/rewards", "getMyRewards", holdings::list_rewards),
    (GET, "/me/rewards/{id}", "getMyReward", holdings::get_reward),
    (POST, "/me/rewards/{id}/redeem", "redeemReward", holdings::redeem),
    (GET, "/me/reward-entries", "getMyRewardEntries", holdings::list_entries),
    (GET, "/me/reward-entries/{id}", "getMyRewardEntry", holdings::get_entry),
    (POST, "/me/reward-entries/{id}/check", "checkRewardEntry", holdings::check_entry),
    (GET, "/achievements", "getAchievements", catalogue::list_achievements),
    (GET, "/achievements/{id}", "getAchievement", catalogue::get_achievement),
    (GET, "/communities/{id}", "getCommunity", catalogue::find_community),
    (GET, "/leaderboards/configs", "getLeaderboardConfigs", catalogue::list_leaderboards),
];

/// Under `/api/v2/analytics`.
const ANALYTICS: &[Row] = &[(GET, "/users/details", "getUserDetails", points::details)];

/// Without a token.
const PUBLIC: &[Row] = &[(GET, "/api/v2/events/link/{id}", "openCustomEventLink", events::open_link)];

pub(crate) fn router(world: Arc<World>) -> Router {
    let mut router = Router::new().route("/oauth/token", post(oauth::token));
    for (base, rows, public) in [
        ("/api/v2/admin", ADMIN, false),
        ("/api/v2/integration", INTEGRATION, false),
        ("/api/v2/analytics", ANALYTICS, false),
        ("", PUBLIC, true),
    ] {
        for (method, path, name, run) in rows {
            router = router.route(&format!("{base}{path}"), procedure(*method, Procedure { name, run: *run, public }));
        }
    }
    router
        .fallback(|| async { refuse(&Failure::not_found("No procedure"), "") })
        .method_not_allowed_fallback(|| async {
            let message = "Method not supported".to_owned();
            refuse(&Failure { status: StatusCode::METHOD_NOT_ALLOWED, message }, "")
        })
        .with_state(world)
}

fn procedure(method: MethodFilter, procedure: Procedure) -> MethodRouter<Arc<World>> {
    on(method, move |state, params, body, request| run(procedure, state, params, body, request))
}
