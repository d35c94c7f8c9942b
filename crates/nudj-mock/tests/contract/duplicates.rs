//! A mock that takes an email address or external id twice.

use http::{Method, StatusCode};
use nudj_mock::{MockNudj, MockService};
use serde_json::{Value, json};

use crate::client::{call, get, id_of, post};

const USERS: &str = "/api/v2/admin/users";

/// Users in the order of creation, all under one external id and one email.
async fn twins(mock: &MockService, how_many: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..how_many {
        ids.push(id_of(&post(mock, USERS, json!({"email": "a@b.c", "externalUserId": "1"})).await));
    }
    ids
}

/// Whom the external id means.
async fn meant(mock: &MockService) -> Value {
    let event = json!({"eventName": "e", "payload": {}, "userId": "1"});
    post(mock, "/api/v2/admin/events/custom", event).await.json["userId"].clone()
}

#[tokio::test]
async fn a_mock_that_takes_duplicates_shows_who_creates_twice() {
    let mock = MockNudj::builder().duplicate_users(true).service().unwrap();
    for _ in 0..2 {
        let answer = post(&mock, USERS, json!({"email": "a@b.c", "externalUserId": "1"})).await;
        assert!(answer.status.is_success());
    }
    assert_eq!(mock.users_count(), 2);
}

#[tokio::test]
async fn an_external_id_means_its_latest_holder_whoever_lets_go_of_it() {
    let mock = MockNudj::builder().duplicate_users(true).service().unwrap();
    let ids = twins(&mock, 4).await;
    assert_eq!(meant(&mock).await, json!(ids[3]));
    // One that it does not mean: nothing changes.
    call(&mock, Method::DELETE, &format!("{USERS}/{}", ids[1]), None).await;
    assert_eq!(meant(&mock).await, json!(ids[3]));
    // The one that it means, by another id and by erasure: the latest of those that are left.
    call(&mock, Method::PATCH, &format!("{USERS}/{}", ids[3]), Some(json!({"externalUserId": "2"}))).await;
    assert_eq!(meant(&mock).await, json!(ids[2]));
    call(&mock, Method::DELETE, &format!("{USERS}/{}", ids[2]), None).await;
    assert_eq!(meant(&mock).await, json!(ids[0]));
    call(&mock, Method::PATCH, &format!("{USERS}/{}", ids[0]), Some(json!({"externalUserId": null}))).await;
    assert_eq!(meant(&mock).await, Value::Null);
}

#[tokio::test]
async fn an_edit_from_outside_leaves_identity_and_points_alone() {
    let mock = MockService::default();
    let user = post(&mock, USERS, json!({"email": "a@b.c"})).await.json;
    let id = user["id"].as_str().unwrap();
    let kept = json!({"id": "x", "organisationId": "x", "username": "x", "email": "x", "externalUserId": "x", "points": 9,
                      "keys": 9, "xp": 9, "communityData": 9, "roles": 9, "isAnonymous": 9, "createdAt": "x",
                      "updatedAt": user["updatedAt"]});
    assert_eq!(mock.edit_user(id, &kept).unwrap(), user);
    // Nobody is to be found by it, nor shown with it.
    assert_eq!(get(&mock, "/api/v2/analytics/users/details?userId=x").await.status, StatusCode::NOT_FOUND);
    assert_eq!(mock.edit_user(id, &json!({"externalUserId": "x", "bio": "b"})).unwrap().get("externalUserId"), None);
}
