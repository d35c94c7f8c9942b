//! Synchronization patterns: request-response, batch, event-driven, bidirectional, change data capture
