//! A breaker's state as gauges, of which exactly one is 1.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use metrics::{Counter, Gauge, Label};
use nudj_tower::circuit_breaker::{BreakerHandle, State};
use parking_lot::Mutex;

use super::{
    catalogue::{BREAKER_REFUSALS, BREAKER_STATE, BREAKER_TRANSITIONS},
    meter::Meter,
    named::{Named, OTHER},
};

/// Held while states are written, and while they are read for Prometheus or a collector: no reader sees two states, or none.
pub(crate) static STATES: Mutex<()> = Mutex::new(());

#[derive(Debug, Default)]
pub(super) struct Breakers(Named<Breaker>);

struct Breaker {
    /// There once the first is written, and not before: a reader would see a breaker that is in none.
    states: OnceLock<Vec<(&'static str, Gauge)>>,
    refusals: Counter,
    /// The state last written, and how many changes were told: a reading from before a change must not undo it.
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    state: &'static str,
    told: u64,
    /// Whether it was read from a handle. One that never was may be somebody's own, of whom nobody says when it is no more.
    read: bool,
}

impl Breakers {
    fn get(&self, meter: &Meter, name: &str) -> &(Arc<str>, Breaker) {
        self.0.entry(name, |name| Breaker::new(meter, name))
    }

    pub(super) fn changed(&self, meter: &Meter, name: &str, from: &'static str, to: &'static str) {
        let (name, breaker) = self.get(meter, name);
        let labels = vec![Label::new("endpoint", Arc::clone(name)), Label::new("from", from), Label::new("to", to)];
        meter.counter(&BREAKER_TRANSITIONS, labels).increment(1);
        if **name == *OTHER {
            // Which of several it was is not known here; the next reading counts them.
            return;
        }
        let _states = STATES.lock();
        let mut written = breaker.written.lock();
        written.told = written.told.wrapping_add(1);
        breaker.write(meter, name, &mut written, to);
    }

    pub(super) fn refused(&self, meter: &Meter, name: &str) {
        self.get(meter, name).1.refusals.increment(1);
    }

    /// Writes what the handles say, and forgets the states of breakers that are no more: those read before, and those of endpoints that
    /// came and went in between.
    pub(super) fn read(&self, meter: &Meter, handles: &[BreakerHandle], is_endpoint: impl Fn(&str) -> bool) {
        let mut others = Vec::new();
        for handle in handles {
            let (name, breaker) = self.get(meter, handle.name());
            let told = breaker.written.lock().told;
            // May tell a change, and so come back to `changed`: no lock is held here.
            let state = handle.state().as_str();
            if **name == *OTHER {
                others.push(state);
                continue;
            }
            let _states = STATES.lock();
            let mut written = breaker.written.lock();
            written.read = true;
            if written.told == told {
                breaker.write(meter, name, &mut written, state);
            }
        }
        let _states = STATES.lock();
        for (name, breaker) in self.0.all() {
            if **name == *OTHER {
                breaker.tally(meter, name, &others);
            } else if !handles.iter().any(|handle| *handle.name() == **name) {
                let mut written = breaker.written.lock();
                if written.read || is_endpoint(name) {
                    breaker.write(meter, name, &mut written, "");
                }
            }
        }
    }
}

impl Breaker {
    fn new(meter: &Meter, name: &Arc<str>) -> Self {
        let refusals = meter.counter(&BREAKER_REFUSALS, vec![Label::new("endpoint", Arc::clone(name))]);
        Self { states: OnceLock::new(), refusals, written: Mutex::default() }
    }

    /// To be written while [`STATES`] is held, as they are made.
    fn states(&self, meter: &Meter, name: &Arc<str>) -> &[(&'static str, Gauge)] {
        self.states.get_or_init(|| {
            let labels =
                |state: &State| vec![Label::new("endpoint", Arc::clone(name)), Label::new("state", state.as_str())];
            State::ALL.iter().map(|state| (state.as_str(), meter.gauge(&BREAKER_STATE, labels(state)))).collect()
        })
    }

    /// For breakers that share these gauges: how many are in each state.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
    fn tally(&self, meter: &Meter, name: &Arc<str>, states: &[&'static str]) {
        for (of, gauge) in self.states(meter, name) {
            gauge.set(states.iter().filter(|state| *state == of).count() as f64);
        }
    }

    fn write(&self, meter: &Meter, name: &Arc<str>, written: &mut Written, state: &'static str) {
        if written.state != state {
            written.state = state;
            for (of, gauge) in self.states(meter, name) {
                gauge.set(f64::from(u8::from(*of == state)));
            }
        }
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("state", &self.written.lock().state).finish_non_exhaustive()
    }
}
