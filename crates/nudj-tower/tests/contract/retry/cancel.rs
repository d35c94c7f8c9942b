//! A call that is dropped leaves nothing behind, wherever it is.

use tokio_test::task;

use super::*;

/// Answers, each after one turn of the runtime, so that a call has many places to be dropped at.
fn slowly(server: &Server) -> Below {
    let server = server.clone();
    BoxCloneService::new(service_fn(move |request: Request<String>| {
        let server = server.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            server.answer(request).await
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn dropped_after_any_number_of_polls_everything_is_given_back() {
    let mut ended = false;
    for polls in 0..40 {
        let server = Server::new([Say::Status(500), Say::Broken, Say::Status(500), Say::Status(200)]);
        let budget = BudgetConfig { ratio: 0.0, min_per_second: 1 };
        let layer = RetryLayer::new(RetryConfig { budget, ..config() }).unwrap();
        let below = ConcurrencyLimit::new(slowly(&server), 1);
        let mut call = task::spawn(layer.layer(below.clone()).oneshot(get()));
        for _ in 0..polls {
            if call.poll().is_ready() {
                ended = true;
                break;
            }
            tokio::time::advance(Duration::from_millis(300)).await;
        }
        drop(call);
        let spent =
            CallContext::find(server.asked.lock().first().map_or(&http::Extensions::new(), |(_, r)| r.extensions()))
                .map_or(0, CallContext::resends);
        assert_eq!(
            layer.handle().unwrap().left(),
            10 - u64::from(spent),
            "after {polls} polls: what was not sent came back"
        );
        let slot = below.ready_oneshot();
        assert!(task::spawn(slot).poll().is_ready(), "after {polls} polls: the slot below is free");
    }
    assert!(ended, "the last rounds go to the end");
}

#[tokio::test(start_paused = true)]
async fn dropped_while_the_service_below_is_not_ready_the_grant_comes_back() {
    let server = Server::new([Say::Status(500), Say::Hang]);
    let budget = BudgetConfig { ratio: 0.0, min_per_second: 1 };
    let layer = RetryLayer::new(RetryConfig { budget, ..config() }).unwrap();
    let below = ConcurrencyLimit::new(server.service(), 1);
    let mut call = task::spawn(layer.layer(below.clone()).oneshot(get()));
    assert!(call.poll().is_pending());
    let mut holder = task::spawn(below.clone().oneshot(get()));
    assert!(holder.poll().is_pending());
    tokio::time::advance(SECOND).await;
    assert!(call.is_woken() && call.poll().is_pending(), "the wait is over and the slot taken");
    assert_eq!(layer.handle().unwrap().left(), 9);
    let mut next = task::spawn(below.ready_oneshot());
    assert!(next.poll().is_pending());
    drop(call);
    assert_eq!(layer.handle().unwrap().left(), 10);
    drop(holder);
    assert!(next.is_woken(), "the next in line gets the slot");
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_not_retry_s_to_end() {
    let server = Server::new([Say::Hang]);
    let mut call = task::spawn(call(layer(), &server, get()));
    assert!(call.poll().is_pending());
    tokio::time::advance(3600 * SECOND).await;
    assert!(!call.is_woken());
}
