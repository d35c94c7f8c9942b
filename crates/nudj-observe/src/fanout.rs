use std::{fmt, sync::Arc};

use nudj_tower::observe::{Event, Observer};

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

    fn traces(&self) -> bool {
        self.0.iter().any(|observer| observer.traces())
    }
}

impl fmt::Debug for Fanout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Fanout").field(&self.0.len()).finish()
    }
}
