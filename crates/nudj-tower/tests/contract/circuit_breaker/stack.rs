//! As a service among others: clones, readiness, threads.

use super::*;

#[tokio::test(start_paused = true)]
async fn layers_clones_and_services_share_one_circuit_and_fresh_has_its_own() {
    let layer = layer(&fail_once());
    let (mut first, second, other) = (echo(&layer), echo(&layer.clone()), echo(&layer.fresh()));
    let clone = first.clone();
    assert!(first.ready().await.unwrap().call(ask(500)).await.is_ok());
    for shared in [first, second, clone] {
        assert!(refusal(shared.oneshot(ask(200)).await).is_some());
    }
    assert!(other.oneshot(ask(200)).await.is_ok());
}

#[tokio::test]
async fn only_the_readied_instance_is_called_and_a_refusal_keeps_its_place() {
    let layer = layer(&fail_once());
    let limited = tower::limit::ConcurrencyLimit::new(echo_inner(), 1);
    let mut service = layer.layer(limited.clone());
    assert!(service.ready().await.unwrap().call(ask(500)).await.is_ok());
    assert!(refusal(service.ready().await.unwrap().call(ask(200)).await).is_some());
    let mut other = task::spawn(limited.clone().ready_oneshot());
    assert!(other.poll().is_pending(), "the readied instance keeps its place for the next call");
    drop(service);
    assert!(other.is_woken() && other.poll().is_ready(), "and gives it back when it is dropped");
}

#[tokio::test(start_paused = true)]
async fn nothing_needs_to_be_clone_and_futures_can_be_sent() {
    struct Sealed;
    fn sendable<F: Future + Send>(future: F) -> F {
        future
    }
    let answer: fn(Sealed) -> Ready<Result<Sealed, std::io::Error>> = |sealed| ready(Ok(sealed));
    let mut service = layer(&config()).for_any().layer(service_fn(answer));
    assert!(sendable(service.ready().await.unwrap().call(Sealed)).await.is_ok());
    fn shareable<T: Send + Sync>(_: &T) {}
    shareable(&service);
}
