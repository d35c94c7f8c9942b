//! What counts as a failure.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_panic_below_is_a_failure() {
    for script in [|| Script::PanicInCall, || Script::PanicInPoll] {
        let layer = layer(&fail_once());
        let mut service = scripted(&layer);
        assert!(tokio::spawn(async move { service.ready().await.unwrap().call(script()).await }).await.is_err());
        assert_eq!(layer.handle().state(), State::Open);
    }
    let (mut service, handle) = probing(&fail_once()).await;
    assert!(tokio::spawn(async move { service.ready().await.unwrap().call(Script::PanicInPoll).await }).await.is_err());
    assert_eq!(handle.state(), State::Open, "a probe that panicked has failed");
}

#[tokio::test(start_paused = true)]
async fn a_panic_elsewhere_that_drops_the_call_is_not_its_failure() {
    let layer = layer(&fail_once());
    let mut service = scripted(&layer);
    let task = tokio::spawn(async move {
        let mut call = task::spawn(service.ready().await.unwrap().call(Script::Hang));
        assert!(call.poll().is_pending());
        panic!("the caller's own");
    });
    assert!(task.await.is_err());
    assert_eq!(layer.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn slow_answers_open_it_by_the_time_since_the_first_wait() {
    let config = CircuitBreakerConfig {
        slow_call: Some(Duration::from_secs(1)),
        slow_call_rate: Some(1.0),
        minimum_calls: Some(1),
        ..Default::default()
    };
    for (took, expected) in [(Duration::from_millis(999), State::Closed), (Duration::from_secs(1), State::Open)] {
        let layer = layer(&config);
        let mut service = scripted(&layer);
        let (answer, asked) = oneshot::channel();
        let call = service.ready().await.unwrap().call(Script::Answer(asked));
        tokio::time::advance(Duration::from_secs(5)).await;
        let mut call = task::spawn(call);
        assert!(call.poll().is_pending(), "the time before the first poll is the caller's");
        tokio::time::advance(took).await;
        answer.send(Ok(1)).unwrap();
        assert!(call.poll().is_ready());
        assert_eq!(layer.handle().state(), expected, "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refusals_of_layers_below_are_nobodys_failure() {
    let layer = layer(&fail_once());
    let mut service = scripted(&layer);
    for rejection in [
        Rejection::RateLimited { by: LimitedBy::MaxWait, retry_after: None },
        Rejection::QueueFull { limit: 1, retry_after: None },
        Rejection::CircuitOpen { endpoint: None, retry_after: None },
    ] {
        let (answer, asked) = oneshot::channel();
        answer.send(Err(rejection.clone().into())).unwrap();
        let error = service.ready().await.unwrap().call(Script::Answer(asked)).await.unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&rejection), "it passes through as it is");
        assert_eq!(layer.handle().state(), State::Closed);
    }
    let (answer, asked) = oneshot::channel();
    answer.send(Err(Rejection::AttemptTimeout { limit: MILLISECOND }.into())).unwrap();
    assert!(service.ready().await.unwrap().call(Script::Answer(asked)).await.is_err());
    assert_eq!(layer.handle().state(), State::Open, "but a timeout is");
}

#[tokio::test(start_paused = true)]
async fn a_429_fails_a_probe_but_opens_nothing_by_itself() {
    let layer = layer(&fail_once());
    let (mut service, handle) = (echo(&layer), layer.handle());
    for _ in 0..20 {
        assert!(service.ready().await.unwrap().call(ask(429)).await.is_ok());
    }
    assert_eq!(handle.state(), State::Closed);
    assert!(service.ready().await.unwrap().call(ask(500)).await.is_ok());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(service.ready().await.unwrap().call(ask(429)).await.is_ok());
    assert_eq!(handle.state(), State::Open);
}
