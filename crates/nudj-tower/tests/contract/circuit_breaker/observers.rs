//! What observers are told, and in which order.

use std::sync::{Arc, Mutex, OnceLock};

use nudj_tower::observe::{Event, Observers};

use super::*;

#[tokio::test(start_paused = true)]
async fn changes_and_refusals_are_told_in_order() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        log.lock().unwrap().push(match event {
            Event::BreakerChanged { name, from, to, retry_after } => {
                format!("{name}: {from} to {to} {:?}", retry_after.map(|wait| wait.as_secs()))
            }
            Event::BreakerRefused { name } => format!("{name}: refused"),
            other => format!("{other:?}"),
        });
    });
    let layer = layer(&fail_once()).observers(observers);
    let (mut service, handle) = (echo(&layer), layer.handle());
    for status in [200, 500, 200] {
        let _ = service.ready().await.unwrap().call(ask(status)).await;
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    let _ = service.ready().await.unwrap().call(ask(200)).await;
    handle.reset();
    assert_eq!(
        *told.lock().unwrap(),
        ["a: closed to open Some(60)", "a: refused", "a: open to half_open None", "a: half_open to closed None"]
    );
    let transitions = handle.transitions();
    assert_eq!(transitions.iter().map(|t| t.to).collect::<Vec<_>>(), [State::Open, State::HalfOpen, State::Closed]);
    assert_eq!(transitions[1].at - transitions[0].at, Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn an_observer_may_drive_the_breaker() {
    let handle = Arc::new(OnceLock::<BreakerHandle>::new());
    let (own, told) = (Arc::clone(&handle), Arc::new(Mutex::new(Vec::new())));
    let log = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        if let Event::BreakerChanged { from, to, .. } = event {
            log.lock().unwrap().push((*from, *to));
            if *to == "open" {
                own.get().unwrap().disable();
            }
        }
    });
    let layer = layer(&fail_once()).observers(observers);
    handle.set(layer.handle()).unwrap();
    assert!(echo(&layer).oneshot(ask(500)).await.is_ok());
    assert_eq!(layer.handle().state(), State::Disabled);
    assert_eq!(*told.lock().unwrap(), [("closed", "open"), ("open", "disabled")]);
}

#[test]
fn many_threads_leave_observers_with_the_last_state() {
    let told = Arc::new(Mutex::new("closed"));
    let log = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        if let Event::BreakerChanged { from, to, .. } = event {
            let mut last = log.lock().unwrap();
            assert_eq!(*last, *from, "each change starts where the one before ended");
            *last = *to;
        }
    });
    let handle = layer(&fail_once()).observers(observers).handle();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    handle.force_open();
                    handle.reset();
                    handle.disable();
                }
            });
        }
    });
    // Not by `state`, which tells what nobody told, and would wait for the lock that this holds.
    let last = handle.transitions().last().unwrap().to;
    assert_eq!(*told.lock().unwrap(), last.as_str());
}

#[test]
fn more_changes_than_are_kept_still_end_in_the_last_state() {
    let handle = Arc::new(OnceLock::<BreakerHandle>::new());
    let (own, told) = (Arc::clone(&handle), Arc::new(Mutex::new(vec!["closed"])));
    let log = Arc::clone(&told);
    let observers = Observers::new(move |event: &Event<'_>| {
        if let Event::BreakerChanged { from, to, .. } = event {
            let first = log.lock().unwrap().len() == 1;
            assert_eq!(log.lock().unwrap().last(), Some(from), "each change starts where the one before ended");
            log.lock().unwrap().push(to);
            if first {
                for _ in 0..33 {
                    own.get().unwrap().reset();
                    own.get().unwrap().disable();
                    own.get().unwrap().metrics_only();
                }
            }
        }
    });
    let layer = layer(&fail_once()).observers(observers);
    handle.set(layer.handle()).unwrap();
    layer.handle().force_open();
    assert_eq!(told.lock().unwrap().last(), Some(&"metrics_only"));
    assert_eq!(told.lock().unwrap().len(), 2 + 32, "so many are kept");
}
