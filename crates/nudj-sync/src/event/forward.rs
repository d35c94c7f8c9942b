//! [`forward_to`]: from one bus to another.

use std::sync::Arc;

use super::{Delivery, EventBus, FollowUps, Handler, Handling, Permanent};
use crate::Error;

/// A handler that publishes each event on another bus, same id and all: an outbox's events to JetStream, say. A repeat has no second effect
/// there, and while the other bus is away the events wait on this one. What is too large for the other bus is a dead letter at once.
///
/// Order per key is kept: the next event of a key is not handed out before the other bus has acknowledged the one before.
pub fn forward_to(bus: impl EventBus) -> impl Handler {
    Forward(Arc::new(bus))
}

struct Forward(Arc<dyn EventBus>);

impl Handler for Forward {
    fn handle(&self, delivery: Delivery) -> Handling {
        let bus = Arc::clone(&self.0);
        Box::pin(async move {
            match bus.publish(&delivery.event).await {
                Ok(_) => Ok(FollowUps::default()),
                Err(error @ Error::EventTooLarge { .. }) => Err(Permanent::new(error).into()),
                Err(error) => Err(error.into()),
            }
        })
    }
}
