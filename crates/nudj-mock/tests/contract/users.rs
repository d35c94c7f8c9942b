//! Users, in the words of the documentation and of the seed.

use std::time::{Duration, UNIX_EPOCH};

use http::{Method, StatusCode, header};
use nudj_mock::{MockNudj, MockService};
use serde_json::{Value, json};

use crate::client::{Http, call, get, post, request, send};

const USERS: &str = "/api/v2/admin/users";

fn user(n: usize) -> Value {
    json!({"email": format!("user{n}@example.com"), "username": format!("user{n}"), "externalUserId": format!("ext-{n}")})
}

#[tokio::test]
async fn a_user_is_created_updated_and_deleted_and_then_not_found() {
    let mock = MockNudj::start().await.unwrap();
    let http = Http::new();
    let at = |path: &str| format!("{}{USERS}{path}", mock.url());
    let data = json!({"email": "test@example.com", "username": "testuser", "displayName": "Test User",
                      "externalUserId": "ext"});
    let created = http.send(request(Method::POST, &at(""), mock.token(), Some(&data))).await.unwrap();
    assert_eq!((created.status, &created.json["email"]), (StatusCode::OK, &data["email"]));
    let id = created.json["id"].as_str().unwrap().to_owned();
    let path = at(&format!("/{id}"));
    let change = json!({"displayName": "Updated User"});
    let updated = http.send(request(Method::PATCH, &path, mock.token(), Some(&change))).await.unwrap();
    assert_eq!(updated.json["displayName"], "Updated User");
    let deleted = http.send(request(Method::DELETE, &path, mock.token(), None)).await.unwrap();
    assert_eq!(deleted.json["success"], true);
    let gone = http.send(request(Method::GET, &path, mock.token(), None)).await.unwrap();
    assert_eq!(gone.refusal(), (404, "NOT_FOUND", "User not found", "getUser"));
    // The record stays, without personal data.
    let kept = mock.user_record(&id).unwrap();
    assert!(kept["email"].as_str().unwrap().starts_with("deleted-") && kept.get("displayName").is_none());
    assert_eq!((mock.users_count(), kept["isAnonymous"].as_bool()), (0, Some(true)));
    // Its email is free again, and a second delete finds nobody.
    assert_eq!(
        http.send(request(Method::DELETE, &path, mock.token(), None)).await.unwrap().status,
        StatusCode::NOT_FOUND
    );
    let again = http.send(request(Method::POST, &at(""), mock.token(), Some(&data))).await.unwrap();
    assert_eq!(again.status, StatusCode::OK);
}

#[tokio::test]
async fn either_header_takes_a_token_with_or_without_bearer() {
    let mock = MockService::builder().token("one").token("two").service().unwrap();
    let with = |name: &'static str, value: &'static str| {
        let mut asked = request(Method::GET, USERS, "", None);
        asked.headers_mut().remove("x-api-token");
        asked.headers_mut().insert(name, header::HeaderValue::from_static(value));
        let mock = mock.clone();
        async move { send(&mock, asked).await.unwrap() }
    };
    for (name, value) in [
        ("x-api-token", "one"),
        ("X-Api-Token", "Bearer two"),
        ("authorization", "bearer one"),
        ("authorization", "two"),
    ] {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        let name: &'static str = if name == "x-api-token" { "x-api-token" } else { "authorization" };
        assert_eq!(with(name, value).await.status, StatusCode::OK, "{name} {value}");
    }
    for (name, value) in
        [("x-api-token", "three"), ("authorization", "Basic one"), ("x-other", "one"), ("x-api-token", "")]
    {
        let refused = with(name, value).await;
        assert_eq!(refused.refusal(), (401, "UNAUTHORIZED", "Invalid or missing API token", "getUsers"), "{name}");
    }
    assert!(mock.revoke_token("one"));
    assert_eq!(with("x-api-token", "one").await.status, StatusCode::UNAUTHORIZED);
    mock.add_token("three");
    assert_eq!(with("x-api-token", "three").await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_is_taken_is_a_conflict_and_what_is_missing_a_bad_request() {
    let mock = MockService::default();
    assert_eq!(post(&mock, USERS, user(1)).await.status, StatusCode::OK);
    let same_email = json!({"email": "USER1@example.com"});
    let same_external = json!({"email": "other@example.com", "externalUserId": "ext-1"});
    for (body, field) in [(same_email, "email"), (same_external, "externalUserId")] {
        let refused = post(&mock, USERS, body).await;
        let (status, code, message, procedure) = refused.refusal();
        assert_eq!((status, code, procedure), (409, "CONFLICT", "createUser"));
        assert!(message.contains(field));
    }
    for (body, field) in [
        (json!({}), "email"),
        (json!({"email": null}), "email"),
        (json!({"email": 5}), "email"),
        (json!({"email": "no-at-sign"}), "email"),
        (json!({"email": "a@b", "username": []}), "username"),
        (json!([]), "object"),
    ] {
        let refused = post(&mock, USERS, body.clone()).await;
        assert_eq!((refused.refusal().0, refused.refusal().1), (400, "BAD_REQUEST"), "{body}");
        assert!(refused.refusal().2.contains(field), "{body}");
    }
    assert_eq!(mock.users_count(), 1);
}

#[tokio::test]
async fn an_update_cannot_take_what_another_user_has_and_null_clears() {
    let mock = MockService::default();
    let one = post(&mock, USERS, user(1)).await.json["id"].as_str().unwrap().to_owned();
    post(&mock, USERS, user(2)).await;
    let path = format!("{USERS}/{one}");
    let patch = |body| call(&mock, Method::PATCH, &path, Some(body));
    assert_eq!(patch(json!({"email": "user2@example.com"})).await.refusal().1, "CONFLICT");
    assert_eq!(patch(json!({"externalUserId": "ext-2"})).await.refusal().1, "CONFLICT");
    assert_eq!(patch(json!({"email": "user1@example.com", "bio": "b"})).await.json["bio"], "b");
    assert!(patch(json!({"bio": null})).await.json.get("bio").is_none());
    assert_eq!(patch(json!({"bio": 1})).await.refusal().0, 400);
    // The other verb that the API uses for updates.
    assert_eq!(post(&mock, &path, json!({"displayName": "D"})).await.json["displayName"], "D");
    assert_eq!(
        call(&mock, Method::PATCH, &format!("{USERS}/none"), Some(json!({}))).await.refusal().2,
        "User not found"
    );
    // null clears the external id, which is free again; the search knows.
    assert!(patch(json!({"externalUserId": null})).await.json.get("externalUserId").is_none());
    assert_eq!(get(&mock, &format!("{USERS}?search=ext-1")).await.json["totalCount"], 0);
    assert_eq!(post(&mock, USERS, json!({"email": "3@b", "externalUserId": "ext-1"})).await.status, StatusCode::OK);
    // A changed email frees the old one.
    patch(json!({"email": "new@example.com"})).await;
    assert_eq!(post(&mock, USERS, json!({"email": "user1@example.com"})).await.status, StatusCode::OK);
    assert_eq!(get(&mock, &format!("{USERS}?search=NEW@")).await.json["totalCount"], 1);
}

#[tokio::test]
async fn pages_have_the_documented_shape_and_bounds() {
    let mock = MockService::default();
    for n in 0..25 {
        post(&mock, USERS, user(n)).await;
    }
    let first = get(&mock, USERS).await.json;
    assert_eq!((first["totalCount"].as_u64(), first["edges"].as_array().unwrap().len()), (Some(25), 10));
    let last = get(&mock, &format!("{USERS}?limit=100&skip=20")).await.json;
    assert_eq!((last["totalCount"].as_u64(), last["edges"].as_array().unwrap().len()), (Some(25), 5));
    assert_eq!(last["edges"][0]["username"], "user20");
    let past = get(&mock, &format!("{USERS}?skip=100")).await.json;
    assert_eq!(past["edges"], json!([]));
    for query in ["limit=0", "limit=101", "limit=-1", "limit=ten", "skip=-1", "fromDate=x", "sort=colour"] {
        let refused = get(&mock, &format!("{USERS}?{query}")).await;
        assert_eq!(refused.refusal().0, 400, "{query}");
        assert!(refused.refusal().2.contains(query.split('=').next().unwrap()), "{query}");
    }
}

#[tokio::test]
async fn a_search_finds_email_name_and_external_id_in_any_case() {
    let mock = MockService::default();
    for n in 0..12 {
        post(&mock, USERS, user(n)).await;
    }
    post(&mock, USERS, json!({"email": "x@y.z", "displayName": "Grüße Welt"})).await;
    let found = |search: &'static str| {
        let mock = mock.clone();
        async move { get(&mock, &format!("{USERS}?search={search}")).await.json["totalCount"].as_u64().unwrap() }
    };
    assert_eq!(found("ext-11").await, 1);
    assert_eq!(found("EXT-1").await, 3);
    assert_eq!(found("USER5%40example").await, 1);
    assert_eq!(found("GR%C3%9C%C3%9FE").await, 1);
    assert_eq!(found("nobody").await, 0);
}

#[tokio::test(start_paused = true)]
async fn timestamps_follow_the_clock_and_filter_and_sort_lists() {
    let mock = MockService::builder().clock(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).service().unwrap();
    let mut ids = Vec::new();
    for n in 0..3 {
        let created = post(&mock, USERS, user(n)).await.json;
        ids.push(created["id"].as_str().unwrap().to_owned());
        tokio::time::advance(Duration::from_secs(60)).await;
    }
    let one = get(&mock, &format!("{USERS}/{}", ids[0])).await.json;
    assert_eq!(
        (&one["createdAt"], &one["updatedAt"]),
        (&json!("2023-11-14T22:13:20.000Z"), &json!("2023-11-14T22:13:20.000Z"))
    );
    let changed = post(&mock, &format!("{USERS}/{}", ids[0]), json!({"bio": "b"})).await.json;
    assert_eq!((&changed["createdAt"], &changed["updatedAt"]), (&one["createdAt"], &json!("2023-11-14T22:16:20.000Z")));
    let names = |query: &'static str| {
        let mock = mock.clone();
        async move {
            let page = get(&mock, &format!("{USERS}?{query}")).await.json;
            page["edges"]
                .as_array()
                .unwrap()
                .iter()
                .map(|user| user["username"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        }
    };
    assert_eq!(names("sort=-createdAt").await, ["user2", "user1", "user0"]);
    assert_eq!(names("sort=updatedAt").await, ["user1", "user2", "user0"]);
    assert_eq!(names("fromDate=2023-11-14T22:14:20Z&toDate=2023-11-14T22:14:20Z").await, ["user1"]);
    // Someone else's edit, at a time of the test's choice.
    let edited = mock.edit_user(&ids[1], &json!({"bio": "theirs", "updatedAt": "2024-01-01T00:00:00Z"})).unwrap();
    assert_eq!(edited["updatedAt"], "2024-01-01T00:00:00.000Z");
    assert_eq!(get(&mock, &format!("{USERS}/{}", ids[1])).await.json["bio"], "theirs");
    assert!(mock.edit_user(&ids[1], &json!({"updatedAt": "soon"})).is_err());
    assert!(mock.edit_user("nobody", &json!({})).is_err());
}

#[tokio::test]
async fn a_bulk_creation_tells_each_user_apart() {
    let mock = MockService::default();
    post(&mock, USERS, user(1)).await;
    let users = json!({"users": [user(0), user(1), {"username": "nobody"}, user(2), user(2)]});
    let answer = post(&mock, "/api/v2/admin/users/bulk", users).await;
    let results = answer.json["results"].as_array().unwrap();
    let seen: Vec<_> = results
        .iter()
        .map(|one| (one["index"].as_u64().unwrap(), one["success"].as_bool().unwrap(), one["error"]["code"].as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            (0, true, None),
            (1, false, Some("CONFLICT")),
            (2, false, Some("BAD_REQUEST")),
            (3, true, None),
            (4, false, Some("CONFLICT"))
        ]
    );
    assert_eq!(results[3]["user"]["externalUserId"], "ext-2");
    assert_eq!(mock.users_count(), 3);
    for body in [json!({}), json!({"users": []}), json!({"users": 1}), json!({"users": vec![user(9); 1001]})] {
        assert_eq!(post(&mock, "/api/v2/admin/users/bulk", body).await.refusal().0, 400);
    }
}

#[tokio::test]
async fn the_tokens_user_is_shown_but_in_no_list() {
    let mock = MockService::default();
    let me = get(&mock, "/api/v2/integration/me").await.json;
    assert_eq!((me["id"].as_str(), me["level"].as_u64()), (mock.me().as_deref(), Some(1)));
    assert!(me.get("updatedAt").is_none());
    assert_eq!(get(&mock, USERS).await.json["totalCount"], 0);
    assert_eq!(mock.users_count(), 0);
}

#[tokio::test]
async fn a_full_mock_says_so() {
    let mock = MockService::builder().most_users(2).service().unwrap();
    for n in 0..2 {
        assert_eq!(post(&mock, USERS, user(n)).await.status, StatusCode::OK);
    }
    let refused = post(&mock, USERS, user(3)).await;
    assert_eq!(refused.refusal().0, 500);
    assert!(refused.refusal().2.contains("full"));
}

#[tokio::test]
async fn unknown_paths_and_methods_get_the_envelope() {
    let mock = MockService::default();
    assert_eq!(get(&mock, "/nothing").await.refusal().1, "NOT_FOUND");
    assert_eq!(call(&mock, Method::PUT, USERS, None).await.refusal().0, 405);
    let broken = request(Method::POST, USERS, mock.token(), Some(&json!({})));
    let (head, _) = broken.into_parts();
    let broken = http::Request::from_parts(head, http_body_util::Full::from("{\"email\":"));
    assert_eq!(send(&mock, broken).await.unwrap().refusal().0, 400);
}

#[tokio::test]
async fn a_body_that_does_not_say_it_is_json_is_refused() {
    let mock = MockService::default();
    for (kind, status) in [
        (None, 415),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("application/jsonp"), 415),
        (Some("application/json"), 200),
        (Some("Application/JSON ; charset=utf-8"), 200),
    ] {
        let mut asked =
            request(Method::PATCH, &format!("{USERS}/{}", mock.me().unwrap()), mock.token(), Some(&json!({})));
        asked.headers_mut().remove(header::CONTENT_TYPE);
        asked.headers_mut().extend(kind.map(|kind| (header::CONTENT_TYPE, header::HeaderValue::from_static(kind))));
        let answer = send(&mock, asked).await.unwrap();
        assert_eq!(answer.status, status, "{kind:?}");
        if status == 415 {
            assert_eq!((answer.refusal().1, answer.refusal().3), ("UNSUPPORTED_MEDIA_TYPE", "updateUser"), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_unread() {
    let mock = MockService::builder().most_body_bytes(100).service().unwrap();
    let refused = post(&mock, USERS, json!({"email": "x".repeat(200)})).await;
    assert_eq!(refused.refusal().0, 413);
    assert_eq!(mock.request_count(), 0);
}

#[tokio::test]
async fn an_idempotency_key_gives_the_first_answer_when_it_is_on() {
    let mock = MockService::default();
    let keyed = |key: &'static str, body: Value| {
        let mut asked = request(Method::POST, USERS, mock.token(), Some(&body));
        asked.headers_mut().insert("idempotency-key", header::HeaderValue::from_static(key));
        let mock = mock.clone();
        async move { send(&mock, asked).await.unwrap() }
    };
    // Off, a repeat is a conflict like any other.
    assert_eq!(keyed("k", user(1)).await.status, StatusCode::OK);
    assert_eq!(keyed("k", user(1)).await.status, StatusCode::CONFLICT);
    mock.set_idempotency(true);
    let first = keyed("l", user(2)).await;
    let second = keyed("l", user(2)).await;
    assert_eq!((first.status, &first.bytes), (second.status, &second.bytes));
    assert!(!first.headers.contains_key("idempotent-replayed") && second.headers.contains_key("idempotent-replayed"));
    assert_eq!(keyed("l", user(3)).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(keyed("m", user(2)).await.status, StatusCode::CONFLICT);
    assert_eq!(mock.users_count(), 2);
}
