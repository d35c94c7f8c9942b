//! Events on a bus: in memory, NATS JetStream, a transactional outbox.
