//! Webhooks as Nudj sends them: two documented families of bodies, signed, retried, logged.

mod event;
mod send;
mod signature;

pub use event::WebhookEvent;
pub use send::WebhookDelivery;
pub use signature::webhook_signature;
