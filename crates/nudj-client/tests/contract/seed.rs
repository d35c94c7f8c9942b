//! The seed page's own tests, against the mock and, when `NUDJ_TEST_API_KEY` and `NUDJ_TEST_BASE_URL` are set, a real host.

use http::StatusCode;
use nudj_client::{
    Client, Config,
    model::{NewChallenge, NewUser, UserUpdate},
};

use super::start;

async fn should_create_update_and_delete_user(client: &Client) {
    let users = client.admin().users();
    let unique = format!("{:016x}", fastrand::u64(..));
    let data = NewUser {
        email: Some(format!("test-{unique}@example.com")),
        username: Some(format!("testuser-{unique}")),
        display_name: Some("Test User".to_owned()),
        ..NewUser::default()
    };
    let user = users.create(&data).await.unwrap();
    assert_eq!(user.email, data.email);
    let update = UserUpdate { display_name: Some("Updated User".to_owned()), ..UserUpdate::default() };
    let updated = users.update(&user.id, &update).await.unwrap();
    assert_eq!(updated.display_name, update.display_name);
    users.delete(&user.id).await.unwrap();
    let error = users.get(&user.id).await.unwrap_err();
    assert!(error.to_string().contains("User not found"), "{error}");
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    assert_eq!(error.code(), Some("NOT_FOUND"));
    assert!(!error.is_retryable());
}

async fn should_complete_full_challenge_workflow(client: &Client) {
    let new = NewChallenge::titled("Test Challenge", "test-community");
    let challenge = client.admin().challenges().create(&new).await.unwrap();
    let mine = client.integration().challenges();
    mine.start(&challenge.id, None).await.unwrap();
    let completion = mine.complete(&challenge.id, None, 100.0).await.unwrap();
    assert_eq!(completion.completed, Some(true));
    assert_eq!(completion.score, Some(100.0));
}

#[tokio::test]
async fn user_management_against_the_mock() {
    let (_mock, client) = start().await;
    should_create_update_and_delete_user(&client).await;
}

#[tokio::test]
async fn challenge_workflow_against_the_mock() {
    let (_mock, client) = start().await;
    should_complete_full_challenge_workflow(&client).await;
}

#[tokio::test]
async fn both_against_a_real_host() {
    let (Ok(key), Ok(url)) = (std::env::var("NUDJ_TEST_API_KEY"), std::env::var("NUDJ_TEST_BASE_URL")) else {
        // Not an error under CI either: a real organisation is nobody's to have.
        // Past the test harness, which shows what a test prints only when it fails.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("left out: both_against_a_real_host: set NUDJ_TEST_API_KEY and NUDJ_TEST_BASE_URL\n"),
        );
        return;
    };
    let client = Client::builder().config(Config::with_endpoints([url])).token(key).build().unwrap();
    should_create_update_and_delete_user(&client).await;
    should_complete_full_challenge_workflow(&client).await;
}
