//! Challenges, groups, actions, participations.

use http::{Method, StatusCode};
use nudj_mock::{MockService, Records, Seed};
use serde_json::{Value, json};

use crate::client::{Answer, call, get, id_of, post};

const ADMIN: &str = "/api/v2/admin/challenges";
const MINE: &str = "/api/v2/integration/challenges";

async fn challenge(mock: &MockService) -> String {
    id_of(&post(mock, ADMIN, json!({"title": "Test Challenge", "communityId": "test-community"})).await)
}

#[tokio::test]
async fn a_challenge_is_created_started_and_completed_with_a_score_of_100() {
    let mock = MockService::default();
    let user = id_of(&post(&mock, "/api/v2/admin/users", json!({"email": "a@b", "externalUserId": "ext"})).await);
    let id = challenge(&mock).await;
    let step = |step: &'static str, body: Value| {
        let (mock, path) = (mock.clone(), format!("{MINE}/{id}/{step}"));
        async move { post(&mock, &path, body).await }
    };
    assert_eq!(step("complete", json!({"userId": user})).await.refusal().2, "Challenge not started");
    let started = step("start", json!({"userId": user})).await.json;
    assert_eq!((&started["status"], &started["userId"]), (&json!("started"), &json!(user)));
    // Again, and by the external id: nothing changes.
    assert_eq!(step("start", json!({"userId": "ext"})).await.json, started);
    let done = step("complete", json!({"userId": user, "score": 100})).await.json;
    assert_eq!((&done["completed"], &done["score"]), (&json!(true), &json!(100)));
    let again = step("complete", json!({"userId": user, "score": 100})).await;
    assert_eq!(again.refusal(), (409, "CONFLICT", "Challenge already completed", "completeChallenge"));
    // The token's user is another one; no body stands for an empty one.
    assert_eq!(call(&mock, Method::POST, &format!("{MINE}/{id}/start"), None).await.status, StatusCode::OK);
    assert_eq!(step("complete", json!({})).await.json["score"], Value::Null);
    assert_eq!(get(&mock, "/api/v2/integration/me").await.json["completedChallenges"], 1);
    let counts = get(&mock, &format!("{ADMIN}/{id}")).await.json;
    assert_eq!((&counts["startedCount"], &counts["completedCount"]), (&json!(2), &json!(2)));
    assert_eq!(get(&mock, &format!("{MINE}/{id}")).await.json["userState"]["status"], "completed");
    assert_eq!(step("start", json!({"userId": "nobody"})).await.refusal().2, "User not found");
    assert_eq!(post(&mock, &format!("{MINE}/none/start"), json!({})).await.refusal().2, "Challenge not found");
    assert_eq!(step("complete", json!({"score": "high"})).await.refusal().0, 400);
}

#[tokio::test]
async fn a_challenge_needs_a_title_and_a_community_and_is_updated_by_post() {
    let mock = MockService::default();
    for body in [json!({"communityId": "c"}), json!({"title": "t"}), json!({"title": "", "communityId": "c"})] {
        assert_eq!(post(&mock, ADMIN, body).await.refusal().1, "BAD_REQUEST");
    }
    let documented = json!({"details": {"title": "T", "description": "D"}, "communityId": "c", "tags": ["x"]});
    let created = post(&mock, ADMIN, documented).await;
    assert_eq!(created.json["details"], json!({"title": "T", "description": "D"}));
    let path = format!("{ADMIN}/{}", id_of(&created));
    let change = json!({"status": "archived", "unknown": 1, "featured": true});
    let updated = post(&mock, &path, change).await.json;
    assert_eq!((&updated["status"], updated.get("unknown")), (&json!("archived"), None));
    assert!(post(&mock, &path, json!({"featured": null})).await.json.get("featured").is_none());
    // Nothing that the documentation always shows can be taken out, nor be what it does not list.
    for (wrong, field) in [
        (json!({"status": 1}), "status"),
        (json!({"status": "done"}), "status"),
        (json!({"status": null}), "status"),
        (json!({"details": null}), "details"),
        (json!({"progressPeriod": "hourly"}), "progressPeriod"),
    ] {
        let refused = post(&mock, &path, wrong).await;
        assert_eq!(refused.refusal().0, 400);
        assert!(refused.refusal().2.contains(field));
    }
    assert_eq!(get(&mock, &path).await.json["status"], "archived");
    let wrong = json!({"title": "t", "communityId": "c", "progressPeriod": "hourly"});
    assert_eq!(post(&mock, ADMIN, wrong).await.refusal().0, 400);
    assert_eq!(call(&mock, Method::PATCH, &path, Some(json!({}))).await.status, StatusCode::METHOD_NOT_ALLOWED);
    challenge(&mock).await;
    let count = |query: &'static str| {
        let mock = mock.clone();
        async move { get(&mock, &format!("{ADMIN}?{query}")).await.json["totalCount"].clone() }
    };
    assert_eq!([count("").await, count("status=archived").await, count("search=TEST").await], [2, 1, 1]);
    assert_eq!([count("communityId=c").await, count("toDate=2001-01-01").await], [1, 0]);
    // What the token's user sees has its tags expanded.
    let mine = get(&mock, &format!("{MINE}?status=archived")).await.json;
    assert_eq!(mine["edges"][0]["tags"][0]["id"], "x");
    assert_eq!(mine["edges"][0]["userState"]["status"], "not-started");
}

#[tokio::test]
async fn unlocking_spends_keys() {
    let mock = MockService::default();
    let path = format!("{MINE}/{}/unlock", challenge(&mock).await);
    let unlocked = post(&mock, &path, json!({"amount": 60})).await.json;
    assert_eq!((unlocked["amountDebited"].as_f64(), &unlocked["challengeStatus"]), (Some(60.0), &json!("unlocked")));
    assert_eq!(post(&mock, &path, json!({"amount": 60})).await.refusal().2, "Not enough keys");
    for amount in [json!(0), json!(1.5), json!("1"), Value::Null] {
        assert_eq!(post(&mock, &path, json!({"amount": amount})).await.refusal().0, 400);
    }
}

#[tokio::test]
async fn groups_are_created_and_patched_and_show_their_challenges() {
    let mock = MockService::default();
    let groups = "/api/v2/admin/challenge-groups";
    let challenge = challenge(&mock).await;
    let group = json!({"communityId": "c", "details": {"title": "G"}, "type": "random", "challengeIds": [challenge]});
    let id = id_of(&post(&mock, groups, group).await);
    let path = format!("{groups}/{id}");
    assert_eq!(call(&mock, Method::PATCH, &path, Some(json!({"status": "live"}))).await.json["status"], "live");
    for wrong in [
        json!({"type": "any"}),
        json!({"period": "hourly"}),
        json!({"activeAmount": 0}),
        json!({"status": "done"}),
        json!({"status": null}),
        json!({"challengeIds": null}),
    ] {
        assert_eq!(call(&mock, Method::PATCH, &path, Some(wrong)).await.refusal().0, 400);
    }
    assert_eq!(post(&mock, groups, json!({"communityId": "c"})).await.refusal().0, 400);
    assert_eq!(get(&mock, groups).await.json["totalCount"], 1);
    let mine = get(&mock, &format!("/api/v2/integration/challenge-groups/{id}")).await.json;
    assert_eq!(mine["challenges"][0]["id"], json!(challenge));
    assert_eq!(
        get(&mock, "/api/v2/integration/challenge-groups").await.json["edges"][0]["challenges"],
        mine["challenges"]
    );
}

fn participation(action: &Answer, challenge: &str) -> Value {
    json!({"actionId": action.json["id"], "actionInput": {"key": action.json["key"], "nonce": "n"}, "allocationId": challenge})
}

#[tokio::test]
async fn taking_part_in_every_action_completes_the_challenge() {
    let mock = MockService::default();
    let challenge = challenge(&mock).await;
    let action = |key: &str| {
        let body = json!({"allocationId": challenge, "allocatedTo": "challenge", "category": "question", "key": key});
        let mock = mock.clone();
        async move { post(&mock, "/api/v2/admin/actions", body).await }
    };
    let (first, second) = (action("question-vote").await, action("question-open-ended").await);
    let hourly = json!({"allocationId": challenge, "allocatedTo": "challenge", "category": "question",
                        "key": "question-vote", "progressPeriod": "hourly"});
    assert_eq!(post(&mock, "/api/v2/admin/actions", hourly).await.refusal().0, 400);
    let takes = "/api/v2/integration/action-participations";
    let one = post(&mock, takes, participation(&first, &challenge)).await;
    assert_eq!(one.json["participationStatuses"][0]["criteriaMet"], true);
    let state = || async { get(&mock, &format!("{MINE}/{challenge}")).await.json["userState"]["status"].clone() };
    assert_eq!(state().await, "started");
    assert_eq!(post(&mock, takes, participation(&first, &challenge)).await.refusal().2, "Action already completed");
    // A preview leaves no trace.
    let mut preview = participation(&second, &challenge);
    preview["isPreview"] = json!(true);
    assert_eq!(post(&mock, takes, preview).await.status, StatusCode::OK);
    assert_eq!((state().await, get(&mock, takes).await.json["totalCount"].clone()), (json!("started"), json!(1)));
    post(&mock, takes, participation(&second, &challenge)).await;
    assert_eq!(state().await, "completed");
    let path = format!("/api/v2/admin/action-participations/{}", id_of(&one));
    assert_eq!(get(&mock, &path).await.json, one.json);
    let mine = get(&mock, "/api/v2/integration/actions").await.json;
    assert_eq!(mine["edges"][0]["userState"]["status"], "completed");
    assert_eq!(mine["edges"][0]["participations"][0]["id"], one.json["id"]);
    // What does not fit the action is refused.
    for (field, value) in
        [("actionInput", json!({"key": "other"})), ("allocationId", json!("other")), ("actionInput", json!({}))]
    {
        let mut wrong = participation(&second, &challenge);
        wrong[field] = value;
        assert_eq!(post(&mock, takes, wrong).await.refusal().0, 400, "{field}");
    }
    let mut unknown = participation(&second, &challenge);
    unknown["actionId"] = json!("none");
    assert_eq!(post(&mock, takes, unknown).await.refusal().2, "Action not found");
}

#[tokio::test]
async fn reordering_answers_with_a_bare_array() {
    let mock = MockService::builder().seed(Seed::demo()).service().unwrap();
    let actions = get(&mock, "/api/v2/admin/actions").await.json;
    let (one, two) = (actions["edges"][0]["id"].clone(), actions["edges"][1]["id"].clone());
    let allocation = actions["edges"][0]["allocationId"].clone();
    let reorder = |body: Value| call(&mock, Method::PATCH, "/api/v2/admin/actions/reorder", Some(body));
    let answer = reorder(json!({"allocationId": allocation, "actionIds": [two, one]})).await.json;
    assert_eq!((&answer[0]["id"], &answer[0]["position"], answer[1]["position"].as_u64()), (&two, &json!(0), Some(1)));
    assert_eq!(reorder(json!({"allocationId": "other", "actionIds": [one]})).await.refusal().0, 400);
    assert_eq!(reorder(json!({"allocationId": allocation, "actionIds": ["none"]})).await.refusal().0, 404);
    let kept = mock.record(Records::Challenges, allocation.as_str().unwrap()).unwrap();
    assert_eq!(kept["actionIds"], json!([two, one]));
    let path = format!("/api/v2/admin/actions/{}", one.as_str().unwrap());
    assert_eq!(get(&mock, &path).await.json["position"], 1);
}
