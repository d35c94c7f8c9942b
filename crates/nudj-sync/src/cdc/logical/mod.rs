//! PostgreSQL by logical replication: a slot, `pgoutput`, and a snapshot that ends where the stream begins.

mod address;
mod ages;
mod assemble;
mod catalog;
mod decode;
mod error;
mod place;
mod snapshot;
mod source;
mod stream;
mod table;
mod tls;
mod value;

pub use self::{error::LogicalError, source::LogicalSource};
