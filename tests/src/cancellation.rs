//! A call that is dropped after any number of polls gives back what it held, in every layer of the composed stack.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use nudj_client::{Client, Config};
use nudj_tower::{BoxError, circuit_breaker::State};
use tokio::time::{advance, sleep};
use tokio_test::task;
use tower::{Service, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// What the transport knows of itself.
#[derive(Clone, Default)]
struct Below {
    healthy: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    under_way: Arc<()>,
}

impl Below {
    async fn exchange(self) -> Result<Response<Full<Bytes>>, BoxError> {
        self.sent.fetch_add(1, SeqCst);
        tokio::task::yield_now().await;
        sleep(5 * MS).await;
        let status = if self.healthy.load(SeqCst) { 200 } else { 500 };
        Ok(Response::builder().status(status).body(Full::default())?)
    }
}

/// Two endpoints, a call per 40 ms, circuits that open by one failure and would stay half-open for an hour if a probe were lost.
fn client(below: &Below) -> Client {
    let mut config = Config::with_endpoints(["http://127.0.0.1:1", "http://127.0.0.1:2"]);
    config.retry.base_delay = 20 * MS;
    config.retry.budget.ratio = 0.0;
    config.retry.budget.min_per_second = 1;
    config.rate_limit.max_requests = 1;
    config.rate_limit.window = 40 * MS;
    config.circuit_breaker.failure_threshold = 1;
    config.circuit_breaker.open_for = 30 * MS;
    config.circuit_breaker.half_open_for = Some(Duration::from_secs(3600));
    let transport = service_fn({
        let below = below.clone();
        move |_: Request<Full<Bytes>>| {
            let mut below = below.clone();
            below.under_way = Arc::clone(&below.under_way);
            below.exchange()
        }
    });
    Client::builder().config(config).token("token").seed(7).build_over(transport).unwrap()
}

async fn get(client: &Client) -> u16 {
    let request = Request::get("/").body(Full::default()).unwrap();
    client.service().call(request).await.unwrap().status().as_u16()
}

/// Whether the call ended before it was dropped, and how many requests were sent.
async fn dropped_after(polls: usize) -> (bool, u64) {
    let below = Below::default();
    let client = client(&below);
    below.healthy.store(true, SeqCst);
    assert_eq!(get(&client).await, 200); // So that the next one has to wait for quota.
    below.healthy.store(false, SeqCst);

    // The transport, as the stack keeps it, and this function.
    let holders = Arc::strong_count(&below.under_way);
    let request = Request::get("/").body(Full::default()).unwrap();
    let mut call = task::spawn(client.service().call(request));
    let mut ended = false;
    for _ in 0..polls {
        ended = call.poll().is_ready();
        if ended {
            break;
        }
        advance(MS).await;
    }
    drop(call);

    let handles = client.handles();
    let sent = below.sent.load(SeqCst);
    assert_eq!(Arc::strong_count(&below.under_way), holders, "an exchange goes on after {polls} polls");
    assert!(handles.endpoints().endpoints().iter().all(|endpoint| endpoint.in_flight == 0), "in flight after {polls}");
    assert_eq!(handles.rate_limit().queue_depth(), 0, "in line after {polls} polls");
    let counts = handles.rate_limit().counts();
    assert_eq!(counts.granted - counts.given_back, sent, "quota not used and not given back after {polls} polls");
    let repeats = sent.saturating_sub(2); // The first call, and the first attempt of the second.
    // Retry has sent a repeat when it hands it down; one that then stood in the limiter's line counts as sent.
    let in_line = u64::from(!ended);
    let left = handles.retry_budget().unwrap().left();
    assert!((10 - repeats - in_line..=10 - repeats).contains(&left), "{left} of the budget left after {polls} polls");

    // No probe is lost: both circuits close again.
    below.healthy.store(true, SeqCst);
    advance(100 * MS).await;
    assert_eq!((get(&client).await, get(&client).await), (200, 200), "after {polls} polls");
    for breaker in handles.breakers() {
        assert_eq!(breaker.state(), State::Closed, "{} after {polls} polls", breaker.name());
    }
    (ended, sent)
}

#[tokio::test(start_paused = true)]
async fn a_call_dropped_after_any_number_of_polls_leaves_nothing_behind() {
    let mut most_sent = 0;
    for polls in 0..2000 {
        let (ended, sent) = dropped_after(polls).await;
        most_sent = sent.max(most_sent);
        if ended {
            assert!(polls > 50 && most_sent >= 4, "{polls} polls, {most_sent} sent: not all waits were seen");
            return;
        }
    }
    panic!("the call never ended");
}

#[tokio::test(start_paused = true)]
async fn who_presses_cancel_opens_no_circuit_before_an_attempt_would_have_timed_out() {
    let mut config = Config::with_endpoints(["http://127.0.0.1:1"]);
    config.circuit_breaker.failure_threshold = 1;
    config.timeout.attempt = 10 * SECOND;
    let hung = service_fn(|_: Request<Full<Bytes>>| std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>());
    let client = Client::builder().config(config).token("token").build_over(hung).unwrap();
    let state = || client.handles().breakers()[0].state();
    for (wait, then) in [(9 * SECOND, State::Closed), (10 * SECOND, State::Open)] {
        let request = Request::get("/").body(Full::default()).unwrap();
        // Dropped, by a task that is ended, after that long.
        let call = tokio::spawn(client.service().call(request));
        tokio::task::yield_now().await;
        advance(wait).await;
        call.abort();
        assert!(call.await.is_err_and(|end| end.is_cancelled()));
        assert_eq!(state(), then, "after {wait:?}");
    }
}
