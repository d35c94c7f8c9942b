use std::collections::{HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::{
    circuit_breaker::{State, Tick},
    classify::Outcome,
};

fn store(max_keys: usize) -> KeyedBreakers<u32> {
    store_with(1, max_keys)
}

fn store_with(failure_threshold: u32, max_keys: usize) -> KeyedBreakers<u32> {
    let config = CircuitBreakerConfig { failure_threshold, ..Default::default() };
    KeyedBreakers::new(&config, max_keys, "keys", Observers::default()).unwrap()
}

#[test]
fn a_key_keeps_its_circuit_and_no_other_keys_state() {
    let store = store(100);
    store.circuit(1).force_open();
    assert_eq!(store.circuit(1).state(), State::ForcedOpen);
    assert_eq!(store.circuit(2).state(), State::Closed);
    assert_eq!(store.find(&1).map(|circuit| circuit.state()), Some(State::ForcedOpen));
    assert!(store.find(&3).is_none() && store.len() == 2, "looking makes no circuit");
}

#[test]
fn there_are_never_more_keys_than_room() {
    for (max_keys, most) in [(1, 1), (10, 10), (2000, 2000)] {
        let store = store(max_keys);
        for key in 0..20_000 {
            let _ = store.circuit(key);
        }
        assert!(store.len() <= most && store.len() > most * 9 / 10, "{} of {max_keys}", store.len());
        assert!(store.find(&19_999).is_some(), "the newest is kept");
    }
}

#[test]
fn open_circuits_and_busy_keys_outlive_idle_ones() {
    let store = store(100);
    store.circuit(0).force_open();
    let held = store.circuit(1);
    for key in 2..10_000 {
        let _ = store.circuit(key);
        let _ = store.circuit(2);
    }
    assert_eq!(store.find(&0).map(|circuit| circuit.state()), Some(State::ForcedOpen));
    assert!(store.find(&1).is_some_and(|circuit| Arc::ptr_eq(&circuit.0, &held.0)), "a call of it is in flight");
    assert!(store.find(&2).is_some(), "it is called all the time");
}

#[test]
fn even_if_all_are_open_or_in_flight_there_are_never_more_than_room() {
    let store = store(50);
    let handles: Vec<_> = (0..500).map(|key| store.circuit(key)).collect();
    handles.iter().for_each(BreakerHandle::force_open);
    assert_eq!(store.len(), 50);
}

#[test]
fn a_sweep_forgets_what_was_not_called_since_the_one_before() {
    let store = store(20_000);
    for key in 0..9000 {
        let _ = store.circuit(key);
    }
    store.circuit(7).force_open();
    let held = store.circuit(8);
    store.sweep();
    assert_eq!(store.len(), 9000, "all were called since the beginning");
    for key in 0..10 {
        let _ = store.circuit(key + 100);
    }
    store.sweep();
    assert_eq!(store.len(), 12, "ten were called, one is open, one in flight");
    drop(held);
    store.sweep();
    assert_eq!(store.len(), 1);
}

#[test]
fn failures_of_a_key_that_is_called_seldom_add_up_across_sweeps() {
    for window_calls in [None, Some(100)] {
        let failure_rate = window_calls.map(|_| 0.5);
        let config = CircuitBreakerConfig { failure_threshold: 5, window_calls, failure_rate, ..Default::default() };
        let store = KeyedBreakers::new(&config, 10_000, "keys", Observers::default()).unwrap();
        for failed in 1..=5 {
            let circuit = store.circuit(1).0;
            let permit = circuit.breaker.admit(|| Tick(0)).permit.unwrap();
            circuit.breaker.settle(permit, Outcome::Failure.into(), || Tick(0));
            drop(circuit);
            store.sweep();
            store.sweep();
            assert_eq!(store.len(), 1, "after {failed} failures");
        }
        assert_eq!(store.circuit(1).state(), State::Open);
    }
}

#[test]
fn a_new_key_takes_the_place_of_one_that_counts_failures_if_all_others_are_open() {
    let store = store_with(5, 4);
    let fail = |key| {
        let circuit = store.circuit(key).0;
        let permit = circuit.breaker.admit(|| Tick(0)).permit.unwrap();
        circuit.breaker.settle(permit, Outcome::Failure.into(), || Tick(0));
    };
    fail(0);
    (1..4).for_each(|key| store.circuit(key).force_open());
    let _ = store.circuit(4);
    assert!(store.find(&0).is_none() && store.find(&4).is_some());
}

#[test]
fn a_sweep_leaves_room_for_new_keys() {
    let store = store(1000);
    (0..1000).for_each(|key| drop(store.circuit(key)));
    store.sweep();
    assert_eq!(store.len(), 938, "one place in 16, though all were called");
    let store = self::store(1000);
    (0..1000).for_each(|key| store.circuit(key).force_open());
    store.sweep();
    assert_eq!(store.len(), 1000, "no open circuit is forgotten before a call needs its place");
}

#[tokio::test(start_paused = true)]
async fn the_sweeper_ends_with_the_circuits() {
    let store = store(100);
    let sweeper = tokio::spawn(store.sweeper(Duration::from_secs(60)));
    let _ = store.circuit(1);
    tokio::time::sleep(Duration::from_secs(121)).await;
    assert!(store.is_empty() && !sweeper.is_finished());
    drop(store);
    assert!(sweeper.await.is_ok());
}

#[test]
fn bad_settings_name_the_field() {
    let new = |config: &CircuitBreakerConfig, max_keys| {
        KeyedBreakers::<u32>::new(config, max_keys, "keys", Observers::default())
            .map(|_| ())
            .unwrap_err()
            .field()
            .to_owned()
    };
    let window = Some(Duration::from_secs(1));
    assert_eq!(new(&CircuitBreakerConfig::default(), 0), "max_keys");
    assert_eq!(new(&CircuitBreakerConfig { failure_rate: Some(0.5), window, ..Default::default() }, 10), "window");
    assert_eq!(new(&CircuitBreakerConfig { half_open_probes: 0, ..Default::default() }, 10), "half_open_probes");
}

proptest! {
    /// A map without bounds is the model: what is still known must be what it says.
    #[test]
    fn what_is_known_of_a_key_is_its_own(steps in proptest::collection::vec((0u32..60, 0u8..4), 1..400)) {
        let store = store(40);
        let (mut model, mut touched) = (HashMap::new(), HashSet::new());
        for (key, step) in steps {
            touched.insert(key);
            match step {
                0 => {
                    store.circuit(key).force_open();
                    model.insert(key, State::ForcedOpen);
                }
                1 => {
                    store.circuit(key).reset();
                    model.insert(key, State::Closed);
                }
                2 => store.sweep(),
                _ => {
                    let _ = store.circuit(key);
                }
            }
            prop_assert!(store.len() <= 40);
            for (key, state) in &model {
                if let Some(circuit) = store.find(key) {
                    let seen = circuit.state();
                    prop_assert!(seen == *state || seen == State::Closed, "{key}: {seen} is not {state}");
                }
                // Where all have room, only a sweep forgets, and never a circuit that is not closed.
                if touched.len() <= 40 && *state == State::ForcedOpen {
                    prop_assert!(store.find(key).is_some(), "{key} is forgotten");
                }
            }
        }
    }
}

#[test]
fn keys_with_one_hash_do_not_share_a_circuit() {
    let store = store(100);
    let (one, other) = (store.circuit(1).0, store.circuit(2).0);
    let mut shard = Shard::new(10);
    shard.insert(7, "one", Arc::clone(&one));
    assert!(shard.find(7, &"other").is_none());
    shard.insert(7, "other", Arc::clone(&other));
    assert!(shard.find(7, &"other").is_some_and(|found| Arc::ptr_eq(found, &other)));
    assert!(shard.find(7, &"one").is_none() && shard.len() == 1, "the later is kept");
}
