//! Rewards, and points.

use http::StatusCode;
use nudj_mock::{MockService, Records};
use serde_json::{Value, json};

use crate::client::{get, id_of, post};

const REWARDS: &str = "/api/v2/admin/rewards";

async fn reward(mock: &MockService) -> String {
    id_of(&post(mock, REWARDS, json!({"communityId": "c", "details": {"title": "Mug"}, "assetPointsPrice": 5})).await)
}

fn distribution(rewards: &Value, users: &Value) -> Value {
    json!({"rewards": rewards, "xpToDistribute": 7, "pointsToDistribute": 5, "distributionMechanism": "select",
           "amountToDistribute": 1, "userIds": users, "communityId": "c"})
}

#[tokio::test]
async fn a_reward_is_created_listed_and_updated() {
    let mock = MockService::default();
    let id = reward(&mock).await;
    assert_eq!(post(&mock, &format!("{REWARDS}/{id}"), json!({"status": "live"})).await.json["status"], "live");
    for list in [REWARDS, "/api/v2/integration/rewards"] {
        assert_eq!(get(&mock, list).await.json["edges"][0]["assetPointsPrice"], 5);
    }
    assert_eq!(post(&mock, REWARDS, json!({"communityId": "c"})).await.refusal().0, 400);
    assert_eq!(post(&mock, REWARDS, json!({"details": {"title": "t"}})).await.refusal().0, 400);
    assert_eq!(post(&mock, &format!("{REWARDS}/none"), json!({})).await.refusal().2, "Reward not found");
    let wrong = json!({"communityId": "c", "details": {"title": "t"}, "status": "alive"});
    assert_eq!(post(&mock, REWARDS, wrong).await.refusal().0, 400);
    for wrong in [json!({"status": "alive"}), json!({"status": null}), json!({"details": null})] {
        assert_eq!(post(&mock, &format!("{REWARDS}/{id}"), wrong).await.refusal().0, 400);
    }
    let kept = get(&mock, REWARDS).await.json["edges"][0].clone();
    assert_eq!((&kept["status"], &kept["details"]["title"]), (&json!("live"), &json!("Mug")));
}

#[tokio::test]
async fn a_distribution_names_the_users_it_did_not_reach() {
    let mock = MockService::default();
    let (reward, me) = (reward(&mock).await, mock.me().unwrap());
    let given = json!([{"rewardId": reward, "allocationType": "assets", "quantity": 2}]);
    let path = format!("{REWARDS}/manual-distribution");
    let answer = post(&mock, &path, distribution(&given, &json!([me, "nobody"]))).await.json;
    assert_eq!((&answer["success"], &answer["usersProcessed"]), (&json!(false), &json!(1)));
    assert_eq!(answer["failedUserIds"], json!(["nobody"]));
    let shown = get(&mock, "/api/v2/integration/me").await.json;
    assert_eq!((shown["points"].as_f64(), shown["xp"]["total"].as_f64()), (Some(5.0), Some(7.0)));
    assert_eq!(shown["earnedRewards"], 2);
    for (field, value) in [
        ("userIds", json!([])),
        ("distributionMechanism", json!("none")),
        ("xpToDistribute", json!(-1)),
        ("xpToDistribute", json!(1.5)),
        ("pointsToDistribute", json!(0.5)),
        ("amountToDistribute", json!(0)),
        ("amountToDistribute", json!(2.5)),
        ("rewards", json!([{"rewardId": reward, "allocationType": "asset", "quantity": 1}])),
        ("rewards", json!([{"rewardId": reward, "quantity": 1.5}])),
    ] {
        let mut wrong = distribution(&given, &json!([me]));
        wrong[field] = value;
        assert_eq!(post(&mock, &path, wrong).await.refusal().0, 400, "{field}");
    }
    let unknown = distribution(&json!([{"rewardId": "none"}]), &json!([me]));
    assert_eq!(post(&mock, &path, unknown).await.refusal().2, "Reward not found");
}

#[tokio::test]
async fn a_held_reward_is_redeemed_once_and_only_by_its_holder() {
    let mock = MockService::default();
    let me = mock.me().unwrap();
    let mine = mock.add_record(Records::RewardAssets, &json!({"userId": me})).unwrap();
    let other = mock.add_record(Records::RewardAssets, &json!({"userId": "other"})).unwrap();
    let path =
        |asset: &Value, rest: &str| format!("/api/v2/integration/me/rewards/{}{rest}", asset["id"].as_str().unwrap());
    assert_eq!(get(&mock, "/api/v2/integration/me/rewards").await.json["totalCount"], 1);
    assert_eq!(get(&mock, &path(&mine, "")).await.json, mine);
    let redeemed = post(&mock, &path(&mine, "/redeem"), json!({})).await;
    assert!(redeemed.json["redeemedAt"].is_string());
    assert_eq!(post(&mock, &path(&mine, "/redeem"), json!({})).await.refusal().1, "CONFLICT");
    for path in [path(&other, ""), path(&json!({"id": "none"}), "")] {
        assert_eq!(get(&mock, &path).await.refusal().2, "Reward asset not found");
    }
}

#[tokio::test]
async fn a_giveaway_is_drawn_once_and_entries_learn_of_it() {
    let mock = MockService::default();
    let (reward, me) = (reward(&mock).await, mock.me().unwrap());
    let loser = post(&mock, "/api/v2/admin/users", json!({"email": "a@b"})).await.json["id"].clone();
    let entries = json!([{"rewardId": reward, "allocationType": "entries", "quantity": 3}]);
    post(&mock, &format!("{REWARDS}/manual-distribution"), distribution(&entries, &json!([me, loser]))).await;
    let mine = get(&mock, "/api/v2/integration/me/reward-entries").await.json;
    assert_eq!((&mine["totalCount"], &mine["edges"][0]["totalEntries"]), (&json!(1), &json!(3)));
    let entry = format!("/api/v2/integration/me/reward-entries/{}", mine["edges"][0]["id"].as_str().unwrap());
    assert_eq!(get(&mock, &entry).await.json["status"], "pending");
    let draw = format!("{REWARDS}/{reward}/process-giveaway");
    assert_eq!(post(&mock, &draw, json!({"winners": []})).await.refusal().0, 400);
    assert_eq!(post(&mock, &draw, json!({"winners": [{"userId": "nobody", "quantity": 1}]})).await.refusal().0, 404);
    let winners = json!({"winners": [{"userId": me, "quantity": 1}]});
    assert_eq!(post(&mock, &draw, winners.clone()).await.json["success"], true);
    assert_eq!(post(&mock, &draw, winners).await.refusal().0, 409);
    let checked = post(&mock, &format!("{entry}/check"), json!({})).await.json;
    assert_eq!(checked["status"], "won");
    assert!(checked["checkedAt"].is_string() && checked["drawnAt"].is_string());
    assert_eq!(get(&mock, "/api/v2/integration/me/rewards").await.json["totalCount"], 1);
}

#[tokio::test]
async fn a_points_transaction_happens_once_under_its_reference() {
    let mock = MockService::default();
    let user = post(&mock, "/api/v2/admin/users", json!({"email": "a@b", "externalUserId": "ext"})).await.json;
    let transact = |amount: Value, direction: &'static str, reference: String| {
        let body = json!({"amount": amount, "direction": direction, "externalTransactionReference": reference});
        let mock = mock.clone();
        async move { post(&mock, "/api/v2/admin/users/ext/points-transaction", body).await }
    };
    let first = transact(json!(10.5), "credit", "one".into()).await.json;
    assert_eq!((&first["success"], &first["transaction"]["userId"]), (&json!(true), &user["id"]));
    let again = transact(json!(10.5), "credit", "one".into()).await;
    assert_eq!((again.refusal().0, again.refusal().3), (409, "managePointsTransaction"));
    assert_eq!(transact(json!(4), "debit", "two".into()).await.status, StatusCode::OK);
    assert_eq!(transact(json!(100), "debit", "three".into()).await.refusal().2, "Not enough points");
    let path = format!("/api/v2/admin/users/{}", user["id"].as_str().unwrap());
    assert_eq!((get(&mock, &path).await.json["points"].as_f64(), mock.transactions_count()), (Some(6.5), 2));
    for (amount, direction, reference) in [
        (json!(0), "credit", "x".to_owned()),
        (json!(1_000_001), "credit", "x".to_owned()),
        (json!("1"), "credit", "x".to_owned()),
        (json!(1), "sideways", "x".to_owned()),
        (json!(1), "credit", String::new()),
        (json!(1), "credit", "x".repeat(201)),
    ] {
        assert_eq!(transact(amount, direction, reference).await.refusal().0, 400);
    }
    let details = get(&mock, "/api/v2/analytics/users/details?userId=ext").await.json;
    assert_eq!((details["stats"]["totalPoints"].as_f64(), &details["userId"]), (Some(6.5), &user["id"]));
    assert_eq!(get(&mock, "/api/v2/analytics/users/details").await.refusal().0, 400);
}
