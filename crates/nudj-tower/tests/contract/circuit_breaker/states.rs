//! How it opens and closes, by answers and by command.

use std::task::Poll;

use nudj_tower::TryCall;

use super::*;

#[tokio::test(start_paused = true)]
async fn failures_in_a_row_open_it_and_a_probe_closes_it() {
    let layer = layer(&config());
    let (mut service, handle) = (echo(&layer), layer.handle());
    for status in [500, 200, 500, 404, 503] {
        assert!(service.ready().await.unwrap().call(ask(status)).await.is_ok());
        assert_eq!(handle.state(), State::Closed);
    }
    assert!(service.ready().await.unwrap().call(ask(500)).await.is_ok());
    assert_eq!(handle.state(), State::Open);
    let wait = Duration::from_secs(60);
    assert_eq!(refusal(service.ready().await.unwrap().call(ask(200)).await), Some(Some(wait)));
    tokio::time::advance(wait - Duration::from_millis(1)).await;
    assert_eq!(service.availability(), Availability::Unavailable { retry_after: Some(Duration::from_millis(1)) });
    let refused = service.ready().await.unwrap().try_call(ask(200)).expect_err("still open");
    assert_eq!(refused.request.uri().path(), "/200", "the request comes back");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(service.availability(), Availability::Available);
    assert!(service.ready().await.unwrap().call(ask(200)).await.is_ok());
    assert_eq!(handle.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_call_from_before_changes_nothing_afterwards() {
    let layer = layer(&fail_once());
    let (mut service, handle) = (scripted(&layer), layer.handle());
    let (old_answer, asked) = oneshot::channel();
    let mut old = task::spawn(service.ready().await.unwrap().call(Script::Answer(asked)));
    assert!(old.poll().is_pending());
    handle.force_open();
    handle.reset();
    old_answer.send(Err("sick".into())).unwrap();
    assert!(matches!(old.poll(), Poll::Ready(Err(_))));
    assert_eq!(handle.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_answers_retry_after_lengthens_the_open_time() {
    let layer = layer(&fail_once());
    let answer: fn(Request<()>) -> Ready<Answer> =
        |_| ready(Ok(Response::builder().status(503).header("retry-after", "90").body(()).unwrap()));
    assert!(layer.layer(service_fn(answer)).oneshot(ask(503)).await.is_ok());
    assert_eq!(layer.handle().until_probe(), Some(Duration::from_secs(90)));
}

#[tokio::test(start_paused = true)]
async fn forced_states_hold_whatever_the_answers() {
    let layer = layer(&fail_once());
    let (mut service, handle) = (echo(&layer), layer.handle());
    handle.force_open();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert_eq!(service.availability(), Availability::Unavailable { retry_after: None });
    assert_eq!(refusal(service.ready().await.unwrap().call(ask(200)).await), Some(None));
    for (command, state) in
        [(BreakerHandle::disable as fn(&_), State::Disabled), (BreakerHandle::metrics_only, State::MetricsOnly)]
    {
        command(&handle);
        for _ in 0..20 {
            assert!(service.ready().await.unwrap().call(ask(500)).await.is_ok());
        }
        assert_eq!(handle.state(), state);
    }
    assert_eq!(handle.counts().consecutive_failures, 20);
    handle.reset();
    assert_eq!((handle.state(), handle.counts().consecutive_failures), (State::Closed, 0));
}
