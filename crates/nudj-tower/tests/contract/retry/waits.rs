//! When a repeat is sent.

use std::time::SystemTime;

use nudj_tower::{
    classify::Http,
    retry::{Backoff, Exponential},
};

use super::*;

#[tokio::test(start_paused = true)]
async fn never_sooner_than_asked_and_at_most_a_quarter_later() {
    let mut waits = Vec::new();
    for seed in 0..200 {
        let server = Server::new([Say::Later(429, 4), Say::Status(200)]);
        call(layer().seed(seed), &server, request(Method::POST)).await.unwrap();
        waits.push(server.times()[1]);
    }
    let (soonest, latest) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(*soonest >= 4 * SECOND && *soonest < Duration::from_millis(4_100), "{soonest:?}");
    assert!(*latest <= 5 * SECOND && *latest > Duration::from_millis(4_900), "{latest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_date_is_read_against_the_clock_on_the_wall() {
    let noon = || httpdate::parse_http_date("Sun, 06 Nov 1994 12:00:00 GMT").unwrap_or(SystemTime::UNIX_EPOCH);
    let start = Instant::now();
    let answers = ["Sun, 06 Nov 1994 12:00:08 GMT", "Sun, 06 Nov 1994 11:00:00 GMT", "soon"].into_iter();
    let (answers, times) = (Arc::new(Mutex::new(answers)), Arc::new(Mutex::new(Vec::new())));
    let writer = Arc::clone(&times);
    let service = service_fn(move |_: Request<()>| {
        writer.lock().push(start.elapsed());
        let response = match answers.lock().next() {
            Some(date) => Response::builder().status(429).header(RETRY_AFTER, date),
            None => Response::builder(),
        };
        async move { response.body(()) }
    });
    let layer = layer().classifier(Http::default().wall_clock(noon));
    layer.layer(service).oneshot(Request::new(())).await.unwrap();
    let times = times.lock();
    assert!(times[1] >= 8 * SECOND && times[1] <= 10 * SECOND, "{times:?}");
    assert_eq!(times[2] - times[1], SECOND, "a date in the past asks for nothing: the first backoff");
    assert_eq!(times[3] - times[2], 2 * SECOND, "what cannot be read is as if it were not there");
}

#[tokio::test(start_paused = true)]
async fn one_that_is_too_long_ends_the_call_at_once_with_the_answer() {
    let server = Server::new([Say::Later(429, 61)]);
    let answer = call(layer(), &server, get()).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.headers()[RETRY_AFTER]), (429, &"61".parse().unwrap()));
    assert_eq!((server.attempts(), server.start.elapsed()), (1, Duration::ZERO));
    let server = Server::new([Say::Later(503, u64::MAX)]);
    assert_eq!(call(layer(), &server, get()).await.unwrap().status(), 503);
    assert_eq!(server.attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_does_not_fit_the_deadline_is_not_begun() {
    for (deadline, say, attempts, ended) in [
        (5 * SECOND, Say::Later(429, 5), 1, Duration::ZERO),
        (5 * SECOND, Say::Later(429, 4), 2, 5 * SECOND),
        (SECOND, Say::Status(500), 1, Duration::ZERO),
        (3 * SECOND, Say::Status(500), 2, SECOND),
        (Duration::from_millis(3_001), Say::Status(500), 3, 3 * SECOND),
        (Duration::ZERO, Say::Status(500), 1, Duration::ZERO),
    ] {
        let server = Server::new([say]);
        let (request, context) = with_deadline(deadline);
        let answer = call(layer(), &server, request).await.unwrap();
        assert_eq!(context.last_status(), Some(answer.status().as_u16()), "the real last answer");
        assert_eq!(server.attempts(), attempts, "{deadline:?}, {say:?}");
        assert!(server.start.elapsed() <= ended, "{deadline:?}, {say:?}: {:?}", server.start.elapsed());
    }
    let server = Server::new([Say::Refused]).endpoints(3);
    let error = call(layer(), &server, with_deadline(Duration::ZERO).0).await.unwrap_err();
    assert!(error.is::<TransportError>() && server.attempts() == 1, "nor is a failover");
}

#[tokio::test(start_paused = true)]
async fn the_schedule_can_be_replaced_and_may_end_the_call() {
    let twice = Backoff::custom(|| {
        let mut left = [3, 3].into_iter();
        move |_: &mut fastrand::Rng| left.next().map(Duration::from_secs)
    });
    for _ in 0..2 {
        let server = Server::new([Say::Status(500)]);
        call(layer().backoff(twice.clone()), &server, get()).await.unwrap();
        assert_eq!(server.times(), [0, 3, 6].map(Duration::from_secs), "each call starts it anew");
    }
    let none = Exponential::new(Duration::ZERO, SECOND, Jitter::Full);
    let server = Server::new([Say::Status(500)]);
    call(layer().backoff(none), &server, get()).await.unwrap();
    assert_eq!(server.times(), [Duration::ZERO; 4]);
}

#[tokio::test(start_paused = true)]
async fn an_endless_wait_does_not_overflow() {
    let server = Server::new([Say::Status(500)]);
    let layer = layer().backoff(Exponential::new(Duration::MAX, Duration::MAX, Jitter::None));
    let mut call = tokio_test::task::spawn(call(layer, &server, get()));
    assert!(call.poll().is_pending());
    assert_eq!(server.attempts(), 1);
}

#[cfg(feature = "backoff")]
#[tokio::test(start_paused = true)]
async fn types_of_the_backoff_crate_give_the_waits() {
    use backoff::{
        ExponentialBackoffBuilder,
        backoff::{Backoff as _, Stop},
    };
    use nudj_tower::retry::from_backoff;
    let mut exponential = ExponentialBackoffBuilder::new()
        .with_initial_interval(2 * SECOND)
        .with_multiplier(3.0)
        .with_randomization_factor(0.0)
        .with_max_elapsed_time(None)
        .build();
    exponential.next_backoff();
    for _ in 0..2 {
        let server = Server::new([Say::Status(500)]);
        call(layer().backoff(from_backoff(exponential.clone())), &server, get()).await.unwrap();
        let times: Vec<_> = server.times().iter().map(Duration::as_secs).collect();
        assert_eq!(times, [0, 2, 8, 26], "reset for each call");
    }
    #[derive(Clone)]
    struct Ended;
    impl backoff::backoff::Backoff for Ended {
        fn next_backoff(&mut self) -> Option<Duration> {
            Stop {}.next_backoff()
        }
    }
    let server = Server::new([Say::Status(500)]);
    call(layer().backoff(from_backoff(Ended)), &server, get()).await.unwrap();
    assert_eq!(server.attempts(), 1);
}
