use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, future::pending, stream};
use http::Response;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody};
use nudj_tower::{
    BoxError, Rejection,
    timeout::{AttemptTimeoutConfig, AttemptTimeoutLayer, TimeoutBody},
};
use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer, Service, ServiceExt, buffer::Buffer, limit::ConcurrencyLimit, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const TIMED_OUT: Rejection = Rejection::AttemptTimeout { limit: SECOND };

fn layer() -> AttemptTimeoutLayer {
    AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: SECOND }).unwrap()
}

/// One byte each `pause`, `count` of them.
fn drip(pause: Duration, count: usize) -> impl Body<Data = Bytes, Error = BoxError> {
    let bytes = stream::iter(0..count).then(move |_| async move {
        sleep(pause).await;
        Ok(Frame::data(Bytes::from_static(b".")))
    });
    StreamBody::new(bytes)
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_in_time_and_each_has_its_own() {
    let mut service = layer().layer(service_fn(|()| pending::<Result<(), BoxError>>()));
    for _ in 0..2 {
        let started = Instant::now();
        let error = service.call(()).await.unwrap_err();
        assert_eq!(Rejection::find(&*error), Some(&TIMED_OUT));
        assert_eq!(started.elapsed(), SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_there_in_the_last_moment_is_given() {
    let slow = service_fn(|()| async {
        sleep(SECOND).await;
        Ok::<_, BoxError>("late")
    });
    assert_eq!(layer().layer(slow).oneshot(()).await.unwrap(), "late");
}

#[tokio::test(start_paused = true)]
async fn the_plain_layer_leaves_the_body_alone() {
    let dripping = service_fn(|()| async { Ok::<_, BoxError>(Response::new(drip(SECOND, 4))) });
    let response = layer().layer(dripping).oneshot(()).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "....");
}

#[tokio::test(start_paused = true)]
async fn a_dripping_body_ends_in_time_too() {
    let dripping = service_fn(|()| async {
        sleep(SECOND / 2).await;
        Ok::<_, BoxError>(Response::new(drip(SECOND / 5, 20)))
    });
    let started = Instant::now();
    let response = layer().with_body().layer(dripping).oneshot(()).await.unwrap();
    let mut body = Box::pin(response.into_body());
    let mut received = 0;
    let error = loop {
        match body.frame().await.unwrap() {
            Ok(_) => received += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(Rejection::find(&*error), Some(&TIMED_OUT));
    assert_eq!(started.elapsed(), SECOND, "head and body share one time");
    assert_eq!(received, 2);
    assert!(body.frame().await.is_none() && body.is_end_stream(), "one error, then the end");
}

#[tokio::test(start_paused = true)]
async fn a_body_after_a_head_that_was_there_at_once_has_the_whole_time() {
    let hung = service_fn(|()| async { Ok::<_, BoxError>(Response::new(drip(Duration::from_secs(9), 1))) });
    let response = layer().with_body().layer(hung).oneshot(()).await.unwrap();
    let started = Instant::now();
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(started.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn data_that_is_there_is_given_even_late() {
    let whole = service_fn(|()| async {
        sleep(SECOND / 2).await;
        Ok::<_, BoxError>(Response::new(Full::new(Bytes::from_static(b"all of it"))))
    });
    let response = layer().with_body().layer(whole).oneshot(()).await.unwrap();
    advance(9 * SECOND).await;
    let body: TimeoutBody<Full<Bytes>> = response.into_body();
    assert_eq!(body.size_hint().exact(), Some(9));
    assert_eq!(body.collect().await.unwrap().to_bytes(), "all of it");
}

#[test]
fn a_body_that_is_never_waited_for_needs_no_timer() {
    // Outside of a runtime a timer would panic.
    let whole =
        service_fn(|()| async { Ok::<_, BoxError>(Response::new(Full::new(Bytes::from_static(b"all of it")))) });
    let mut call = task::spawn(layer().with_body().layer(whole).oneshot(()));
    let response = assert_ready!(call.poll()).unwrap();
    let mut collect = task::spawn(response.into_body().collect());
    assert!(assert_ready!(collect.poll()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn errors_from_below_pass_unchanged() {
    let broken = service_fn(|()| async { Err::<(), _>(std::io::Error::other("broken")) });
    let error = layer().layer(broken).oneshot(()).await.unwrap_err();
    assert!(error.is::<std::io::Error>());
    let body = StreamBody::new(stream::iter([Err::<Frame<Bytes>, _>(std::io::Error::other("broken"))]));
    let mut body = Some(body);
    let once = service_fn(move |()| {
        let response = Response::new(body.take().unwrap());
        async move { Ok::<_, BoxError>(response) }
    });
    let response = layer().with_body().layer(once).oneshot(()).await.unwrap();
    assert!(response.into_body().collect().await.unwrap_err().is::<std::io::Error>());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_or_timed_out_attempt_gives_its_permit_back() {
    let mut service = layer().layer(ConcurrencyLimit::new(service_fn(|()| pending::<Result<(), BoxError>>()), 1));
    let mut call = task::spawn(service.ready().await.unwrap().call(()));
    assert_pending!(call.poll());
    let mut other = service.clone();
    let mut waits = task::spawn(async move { other.ready().await.map(drop) });
    assert_pending!(waits.poll());
    drop(call);
    assert!(waits.is_woken(), "whoever waits for the permit is woken");
    assert!(assert_ready!(waits.poll()).is_ok());
    drop(waits);
    service.ready().await.unwrap().call(()).await.unwrap_err();
    service.ready().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn holds_over_a_buffer() {
    let hung = service_fn(|()| pending::<Result<(), BoxError>>());
    let service = layer().layer(Buffer::new(ConcurrencyLimit::new(hung, 1), 4));
    for _ in 0..3 {
        assert!(Rejection::find(&*service.clone().oneshot(()).await.unwrap_err()).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_needs_clone_and_send_and_sync_are_kept() {
    struct NoClone;
    fn check<T: Send + Sync>(_: &T) {}
    let mut service = layer().layer(service_fn(|input: NoClone| async move { Ok::<_, BoxError>(input) }));
    check(&service);
    let call = service.call(NoClone);
    check(&call);
    assert!(call.await.is_ok());
    let with_body = layer()
        .with_body()
        .layer(service_fn(|_: NoClone| async { Ok::<_, BoxError>(Response::new(Full::new(Bytes::new()))) }));
    check(&with_body);
    check(&with_body.oneshot(NoClone).await.unwrap().into_body());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_wakes_nobody_before_its_time() {
    let polls = Arc::new(AtomicUsize::new(0));
    let counting = service_fn(|()| {
        let polls = Arc::clone(&polls);
        std::future::poll_fn(move |_| {
            polls.fetch_add(1, SeqCst);
            std::task::Poll::<Result<(), BoxError>>::Pending
        })
    });
    layer().layer(counting).oneshot(()).await.unwrap_err();
    assert_eq!(polls.load(SeqCst), 2, "once at first, once when the time was up");
}

#[test]
fn an_attempt_of_zero_is_refused_by_name() {
    let error = AttemptTimeoutLayer::new(AttemptTimeoutConfig { attempt: Duration::ZERO }).unwrap_err();
    assert_eq!(error.field(), "attempt");
}
