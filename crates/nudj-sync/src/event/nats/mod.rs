//! The bus over NATS JetStream, by two streams; server 2.9 and later.
//!
//! Stream `NAME` is a work queue: an event goes to the subject of its key's partition, a hash of the key; each partition has one durable
//! consumer with at most one message out, whoever asks. That is what keeps order per key over retries and over processes. A partition is
//! the unit of waiting: while an event waits for its retry, the other keys of its partition wait too.
//!
//! Stream `NAME_dead` has the dead letters, one subject per key. Under [`AfterDeadLetter::Hold`](super::AfterDeadLetter) the later events of such a
//! key are put behind it (parked) when their turn comes. A replay sends a copy of the first entry through the work queue; when that is
//! done, its entry goes, and the next one's copy is sent.

mod bus;
mod claim;
mod config;
mod dead_letters;
mod heads;
mod incoming;
mod room;
mod sending;
mod streams;
mod wire;

pub use bus::NatsBus;
pub use config::NatsConfig;
