//! The places of a half-open circuit's probes.

use futures_util::FutureExt;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_dropped_probe_gives_its_place_back() {
    let (mut service, handle) = probing(&fail_once()).await;
    for _ in 0..3 {
        let mut probe = task::spawn(service.ready().await.unwrap().call(Script::Hang));
        assert!(probe.poll().is_pending());
        assert_eq!(service.availability(), Availability::Unavailable { retry_after: None });
        let refused = service.ready().await.unwrap().call(Script::Hang).now_or_never();
        assert!(refused.is_some_and(|answer| answer.is_err()), "the place is taken");
        drop(probe);
        assert_eq!((handle.state(), service.availability()), (State::HalfOpen, Availability::Available));
    }
    let mut hung = task::spawn(service.ready().await.unwrap().call(Script::Hang));
    assert!(hung.poll().is_pending());
    tokio::time::advance(Duration::from_secs(1)).await;
    drop(hung);
    assert_eq!(handle.state(), State::Open, "a probe that hung has failed");
}

#[tokio::test(start_paused = true)]
async fn a_lost_probe_does_not_hold_the_circuit_half_open() {
    let (mut service, handle) = probing(&fail_once()).await;
    let mut lost = task::spawn(service.ready().await.unwrap().call(Script::Hang));
    assert!(lost.poll().is_pending());
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!((handle.state(), handle.until_probe()), (State::Open, Some(Duration::from_secs(60))));
    tokio::time::advance(Duration::from_secs(60)).await;
    let (answer, asked) = oneshot::channel();
    answer.send(Ok(1)).unwrap();
    assert_eq!(service.ready().await.unwrap().call(Script::Answer(asked)).await.unwrap(), 1);
    assert_eq!(handle.state(), State::Closed);
    drop(lost);
    assert_eq!((handle.state(), handle.counts().consecutive_failures), (State::Closed, 0), "its news is stale");
}

/// A second of probing and attempts of ten: the answer came after 1.2 s, which was too late, and so for ever.
#[tokio::test(start_paused = true)]
async fn probes_that_take_their_whole_attempt_one_after_the_other_close_the_circuit() {
    let timeout = Duration::from_secs(10);
    for probes in [1, 3] {
        let open_for = Duration::from_secs(1);
        let config = CircuitBreakerConfig { open_for, half_open_probes: probes, ..fail_once() };
        let (mut service, handle) = probing(&config.with_attempt_timeout(timeout)).await;
        for _ in 0..probes {
            let (answer, asked) = oneshot::channel();
            let mut probe = task::spawn(service.ready().await.unwrap().call(Script::Answer(asked)));
            assert!(probe.poll().is_pending());
            tokio::time::advance(timeout).await;
            answer.send(Ok(1)).unwrap();
            assert!(probe.poll().is_ready());
        }
        assert_eq!(handle.state(), State::Closed, "{probes}");
    }
}
