//! Clients that failed together do not come back together.

use super::*;

fn assert_spread(delays: &[Duration]) {
    assert!(delays.iter().all(|delay| (SECOND / 2..=SECOND).contains(delay)), "half to whole of the base");
    let mut buckets = [0; 11];
    for delay in delays {
        buckets[delay.as_millis() as usize / 100] += 1;
    }
    let mean = delays.len() / 10;
    assert!(buckets.iter().all(|count| *count <= 3 * mean), "{buckets:?}");
    assert!(buckets[5..10].iter().all(|count| *count >= mean), "{buckets:?}");
}

fn seeded(seed: u64) -> RetryLayer {
    RetryLayer::new(RetryConfig::default()).unwrap().without_budget().seed(seed)
}

#[tokio::test(start_paused = true)]
async fn first_delays_of_a_thousand_clients_are_spread() {
    let mut delays = Vec::new();
    for client in 0..1000 {
        let server = Server::new([Say::Status(500), Say::Status(200)]);
        call(seeded(client), &server, get()).await.unwrap();
        delays.push(server.times()[1]);
    }
    assert_spread(&delays);
}

#[tokio::test(start_paused = true)]
async fn first_delays_of_a_thousand_calls_of_clones_are_spread() {
    let server = Server::new([Say::Status(500)]);
    let layer = RetryLayer::new(RetryConfig { max_retries: 1, ..RetryConfig::default() }).unwrap().without_budget();
    let service = layer.seed(1).layer(server.service());
    let calls = (0..1000).map(|_| service.clone().oneshot(get()));
    futures_util::future::join_all(calls).await;
    let delays: Vec<_> = server.times().into_iter().filter(|at| !at.is_zero()).collect();
    assert_eq!(delays.len(), 1000);
    assert_spread(&delays);
}

#[tokio::test(start_paused = true)]
async fn a_seed_brings_the_same_waits_again() {
    let run = |seed: u64| async move {
        let server = Server::new([Say::Status(500)]);
        call(seeded(seed), &server, get()).await.unwrap();
        server.times()
    };
    assert_eq!(run(3).await, run(3).await);
    assert_ne!(run(3).await, run(4).await);
}
