//! Communities, achievements, leaderboards, events, seeds.

use std::time::Duration;

use http::{Method, StatusCode};
use nudj_mock::{MockError, MockNudj, MockService, Records, Seed};
use serde_json::{Value, json};

use crate::client::{call, get, id_of, post, request, send};

#[tokio::test]
async fn a_seed_fills_the_catalogue() {
    let seed = Seed::demo().user(json!({"email": "a@b"}));
    let mock = MockService::builder().seed(seed).service().unwrap();
    let api = "/api/v2";
    for (list, count) in [
        ("/admin/communities", 2),
        ("/admin/achievements", 1),
        ("/integration/achievements", 1),
        ("/admin/leaderboards/configs", 1),
        ("/integration/leaderboards/configs", 1),
        ("/admin/rewards", 2),
        ("/admin/users", 1),
    ] {
        assert_eq!(get(&mock, &format!("{api}{list}")).await.json["totalCount"], count, "{list}");
    }
    let community = get(&mock, &format!("{api}/integration/communities/test-community")).await;
    let by_id = format!("{api}/admin/communities/{}", id_of(&community));
    assert_eq!(get(&mock, &by_id).await.json, community.json);
    assert_eq!(get(&mock, &format!("{api}/integration/communities/none")).await.refusal().2, "Community not found");
    let achievement = get(&mock, &format!("{api}/admin/achievements")).await.json["edges"][0].clone();
    let one = format!("{api}/integration/achievements/{}", achievement["id"].as_str().unwrap());
    assert_eq!(get(&mock, &one).await.json, achievement);
    assert_eq!(get(&mock, &format!("{api}/admin/communities?search=ANOTHER&sort=-name")).await.json["totalCount"], 1);
    assert_eq!(mock.users()[0]["email"], "a@b");
    let first = |sort: &'static str| {
        let mock = mock.clone();
        async move { get(&mock, &format!("/api/v2/admin/communities?sort={sort}")).await.json["edges"][0]["name"].clone() }
    };
    assert_eq!([first("name").await, first("-name").await], ["Another community", "Test community"]);
    assert_eq!(get(&mock, "/api/v2/admin/communities?sort=colour").await.refusal().0, 400);
}

#[tokio::test]
async fn a_seed_that_does_not_fit_is_refused() {
    let twice = Seed::new().user(json!({"email": "a@b"})).user(json!({"email": "a@b"}));
    assert!(matches!(MockNudj::builder().seed(twice).start().await, Err(MockError::Data { what: "a user", .. })));
    for record in [json!([]), json!({"id": 5})] {
        let seed = Seed::new().record(Records::Rewards, record);
        assert!(matches!(MockService::builder().seed(seed).service(), Err(MockError::Data { what: "Reward", .. })));
    }
    let two = Seed::new().record(Records::Rewards, json!({})).record(Records::Rewards, json!({}));
    assert!(MockService::builder().most_records(1).seed(two).service().is_err());
}

#[tokio::test]
async fn a_leaderboard_is_created_and_read() {
    let mock = MockService::default();
    let whole =
        json!({"name": "L", "metricType": "total-xp", "startsAt": "2026-01-01", "status": "live", "period": "weekly"});
    let created = post(&mock, "/api/v2/admin/leaderboards", whole.clone()).await;
    assert_eq!(get(&mock, &format!("/api/v2/admin/leaderboards/configs/{}", id_of(&created))).await.json, created.json);
    assert_eq!(get(&mock, "/api/v2/admin/leaderboards/configs?status=draft").await.json["totalCount"], 0);
    for field in ["name", "metricType", "startsAt", "status", "period"] {
        let mut wrong = whole.clone();
        wrong[field] = Value::Null;
        let refused = post(&mock, "/api/v2/admin/leaderboards", wrong).await;
        assert!(refused.refusal().2.contains(field));
    }
    for field in ["metricType", "status", "period"] {
        let mut wrong = whole.clone();
        wrong[field] = json!("other");
        let refused = post(&mock, "/api/v2/admin/leaderboards", wrong).await;
        assert_eq!(refused.refusal().0, 400);
        assert!(refused.refusal().2.contains(field));
    }
}

#[tokio::test]
async fn a_custom_event_is_logged_and_can_create_its_user() {
    let mock = MockService::default();
    let log = |user: &str, create: bool| {
        let body = json!({"eventName": "e", "payload": {"n": 1}, "userId": user, "autoCreateUser": create});
        let mock = mock.clone();
        async move { post(&mock, "/api/v2/admin/events/custom", body).await }
    };
    assert_eq!(log("ext", false).await.refusal(), (404, "NOT_FOUND", "User not found", "createCustomEvent"));
    let first = log("ext", true).await.json;
    assert_eq!((&first["name"], &first["externalUserId"]), (&json!("e"), &json!("ext")));
    let second = log(first["userId"].as_str().unwrap(), true).await.json;
    assert_eq!((&second, mock.users_count(), mock.events().len()), (&first, 1, 2));
    // Two users without an email are no conflict.
    assert_eq!(log("other", true).await.status, StatusCode::OK);
    for body in [
        json!({"payload": {}, "userId": "ext"}),
        json!({"eventName": "e", "userId": "ext"}),
        json!({"eventName": "e", "payload": 1, "userId": "ext"}),
    ] {
        assert_eq!(post(&mock, "/api/v2/admin/events/custom", body).await.refusal().0, 400);
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_logs_its_event_once_and_until_it_expires() {
    let mock = MockService::default();
    let link = |extra: Value| {
        let mut body = json!({"eventName": "e", "payload": {}});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let mock = mock.clone();
        async move {
            let url =
                post(&mock, "/api/v2/admin/events/custom/link", body).await.json["url"].as_str().unwrap().to_owned();
            url.parse::<http::Uri>().unwrap().path().to_owned()
        }
    };
    let open = |path: String| {
        let mock = mock.clone();
        async move { send(&mock, request(Method::GET, &path, "no token", None)).await.unwrap().status.as_u16() }
    };
    let (once, often) = (link(json!({})).await, link(json!({"isSingleUse": false, "expiryTime": 10})).await);
    assert_eq!([open(once.clone()).await, open(once).await], [200, 404]);
    assert_eq!([open(often.clone()).await, open(often.clone()).await], [200, 200]);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(open(often).await, 404);
    assert_eq!(mock.events().len(), 3);
}

#[tokio::test]
async fn every_route_of_the_api_wants_a_token() {
    let mock = MockService::default();
    for (method, path) in [
        (Method::GET, "/api/v2/integration/me"),
        (Method::GET, "/api/v2/analytics/users/details"),
        (Method::PUT, "/api/v2/admin/webhooks/configs"),
        (Method::POST, "/api/v2/admin/auth/rotate-api-key"),
        (Method::DELETE, "/api/v2/admin/users/1"),
    ] {
        assert_eq!(send(&mock, request(method, path, "wrong", None)).await.unwrap().status, StatusCode::UNAUTHORIZED);
    }
    assert_eq!(call(&mock, Method::GET, "/api/v2/admin/users/%FF", None).await.refusal().0, 400);
}
