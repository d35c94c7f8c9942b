use super::*;

fn budget(ratio: f64, min_per_second: u32) -> RetryBudget {
    RetryBudget::new(BudgetConfig { ratio, min_per_second }).unwrap()
}

#[tokio::test(start_paused = true)]
async fn seldom_calls_are_dated_exactly() {
    let budget = budget(1.0, 0);
    for _ in 0..5 {
        budget.count_call();
        tokio::time::advance(Duration::from_millis(9_999)).await;
        assert_eq!(budget.left(), 1, "this call counts, the one before is past");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(budget.left(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn frequent_calls_read_the_clock_seldom_and_lose_little() {
    let budget = budget(1.0, 0);
    for _ in 0..20_000 {
        budget.count_call();
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(budget.0.skip.load(Relaxed) >= 15, "every 16th call or fewer");
    let left = budget.left();
    assert!((9_600..=10_000).contains(&left), "{left} of 10 000");
    // Then they come seldom: what the last long stride holds is lost, what comes after is dated exactly again.
    for _ in 0..600 {
        tokio::time::advance(Duration::from_secs(1)).await;
        budget.count_call();
    }
    assert_eq!(budget.left(), 10);
    tokio::time::advance(Duration::from_secs(10)).await;
    assert_eq!(budget.left(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reservation_that_is_dropped_comes_back() {
    let budget = budget(0.0, 1);
    let now = Instant::now();
    let all: Vec<_> = std::iter::from_fn(|| budget.reserve(now)).collect();
    assert_eq!((all.len(), budget.left()), (10, 0));
    drop(all);
    assert_eq!(budget.left(), 10);
    budget.reserve(now).unwrap().spend(now);
    assert_eq!(budget.left(), 9);
}

#[test]
fn threads_together_stay_within_it() {
    let budget = budget(0.2, 0);
    let granted: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..1000).for_each(|_| budget.count_call());
                    (0..1000).filter(|_| budget.reserve(Instant::now()).map(std::mem::forget).is_some()).count()
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert!(granted <= 800, "{granted}");
}
