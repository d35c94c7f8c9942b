//! A server that does the work and loses the answer is asked again with the same key, and does it once.

use http::Method;
use nudj_client::{Client, Config, model::NewUser};
use nudj_mock::{Fault, MockNudj};

/// Unless `NUDJ_TEST_CALLS` says how many.
const CALLS: u32 = 2000;

#[tokio::test(start_paused = true)]
async fn answers_lost_a_third_of_the_time_repeat_no_effect() {
    let asked = std::env::var("NUDJ_TEST_CALLS").ok().and_then(|calls| calls.parse().ok());
    let calls: u32 = asked.unwrap_or(CALLS);
    let mock = MockNudj::builder().idempotency(true).request_log(0).most_users(usize::MAX).service().unwrap();
    let mut config = Config::with_endpoints(["http://localhost"]);
    config.rate_limit.max_requests = 1_000_000;
    config.circuit_breaker.failure_threshold = 0;
    config.retry.idempotency_keys = true;
    config.retry.max_retries = 20;
    config.retry.budget.ratio = 2.0;
    config.timeout.total = std::time::Duration::from_secs(3600);
    let client = Client::builder().config(config).token(mock.token()).seed(1).build_over(mock.clone()).unwrap();
    let before = mock.users_count();
    let fault = mock.inject(Fault::lost_answer().on(Method::POST, "/api/v2/admin/users").probability(0.3, 1));
    for number in 0..calls {
        let user = NewUser { email: Some(format!("{number}@example.org")), ..NewUser::default() };
        client.admin().users().create(&user).await.unwrap();
    }
    assert_eq!(mock.users_count() - before, calls as usize, "effects");
    assert_eq!(mock.request_count(), u64::from(calls) + mock.fired(fault), "requests");
    assert!(mock.fired(fault) > u64::from(calls) / 5, "{} answers were lost", mock.fired(fault));
    if asked.is_some() {
        let lost = mock.fired(fault);
        println!("{calls} calls, {lost} answers lost: {} effects, 0 of them twice", mock.users_count() - before);
    }
}
