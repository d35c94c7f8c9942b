use std::{fmt, sync::Arc};

use nudj_tower::{
    CallContext,
    observe::{Event, Observer},
};

/// Tells several observers: a client takes one.
///
/// ```
/// use nudj_observe::Fanout;
/// use nudj_tower::observe::{Event, Observer};
/// use std::sync::{Arc, atomic::{AtomicU32, Ordering::Relaxed}};
///
/// let counted = Arc::new(AtomicU32::new(0));
/// let count = || {
///     let counted = Arc::clone(&counted);
///     Arc::new(move |_: &Event<'_>| drop(counted.fetch_add(1, Relaxed)))
/// };
/// Fanout::new([count() as Arc<dyn Observer>, count()]).observe(&Event::RetryBudgetExhausted);
/// assert_eq!(counted.load(Relaxed), 2);
/// ```
#[derive(Clone)]
pub struct Fanout(Arc<[Arc<dyn Observer>]>);

impl Fanout {
    /// Tells each of these, in this order.
    pub fn new(observers: impl IntoIterator<Item = Arc<dyn Observer>>) -> Self {
        Self(observers.into_iter().collect())
    }
}

impl Observer for Fanout {
    fn observe(&self, event: &Event<'_>) {
        self.0.iter().for_each(|observer| observer.observe(event));
    }

    fn is_on(&self) -> bool {
        self.0.iter().any(|observer| observer.is_on())
    }

    fn traces(&self, call: &CallContext) -> bool {
        self.0.iter().any(|observer| observer.traces(call))
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fanout").field(&self.0.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Says {
        is_on: bool,
        traces: bool,
    }

    impl Observer for Says {
        fn observe(&self, _: &Event<'_>) {}

        fn is_on(&self) -> bool {
            self.is_on
        }

        fn traces(&self, _: &CallContext) -> bool {
            self.traces
        }
    }

    #[test]
    fn it_is_on_and_traces_as_soon_as_one_of_them_does() {
        let of = |pairs: [(bool, bool); 2]| {
            let fanout =
                Fanout::new(pairs.map(|(is_on, traces)| Arc::new(Says { is_on, traces }) as Arc<dyn Observer>));
            (fanout.is_on(), fanout.traces(&CallContext::new()))
        };
        assert_eq!(of([(false, false), (false, false)]), (false, false));
        assert_eq!(of([(false, true), (true, false)]), (true, true));
        assert_eq!(of([(true, true), (true, true)]), (true, true));
    }
}
