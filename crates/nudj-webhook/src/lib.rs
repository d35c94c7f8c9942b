//! Receives Nudj webhooks: signature check, replay guard, typed events, durable hand-over
