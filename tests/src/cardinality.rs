//! What is counted per call has few names, however many users there are.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
};

use http::Method;
use nudj_client::{Client, Config};
use nudj_mock::MockNudj;
use nudj_tower::observe::{Event, Observer};

/// The labels of a call's series, as a metrics backend would keep them.
type Labels =
    (Option<&'static str>, Option<&'static str>, Option<&'static str>, Option<u16>, Option<String>, Option<Arc<str>>);

#[derive(Default)]
struct Series(Mutex<HashSet<Labels>>);

impl Observer for Series {
    fn observe(&self, event: &Event<'_>) {
        if let Event::CallEnded { context, method, status, error, .. } = event {
            let route = context.route();
            let labels = (
                route.map(|route| route.operation),
                route.map(|route| route.template),
                *method,
                *status,
                error.map(str::to_owned),
                context.endpoint(),
            );
            self.0.lock().unwrap().insert(labels);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn two_thousand_users_make_one_series_for_each_route_and_end() {
    let mock = MockNudj::builder().request_log(0).service().unwrap();
    let series = Arc::new(Series::default());
    let mut config = Config::with_endpoints(["http://localhost"]);
    config.rate_limit.max_requests = 1_000_000;
    let observer = Arc::clone(&series) as Arc<dyn Observer>;
    let client = Client::builder().config(config).token(mock.token()).observer(observer).build_over(mock).unwrap();
    for number in 0..2_000_u32 {
        let id = format!("{number:024x}");
        client.admin().users().get(&id).await.unwrap_err();
        // Untyped calls, with an id in the path, in the query and in the method.
        let method = Method::from_bytes(format!("X{number}").as_bytes()).unwrap();
        client.request(method, format!("/api/v2/admin/users/{id}")).query("id", number).send().await.unwrap_err();
    }
    let series = series.0.lock().unwrap();
    assert!(series.len() <= 3, "{} series, such as {:?}", series.len(), series.iter().take(5).collect::<Vec<_>>());
}
