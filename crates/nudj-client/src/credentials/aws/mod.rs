//! AWS Secrets Manager over its HTTP API, signed by Signature Version 4.

mod keys;
mod refusal;
mod secret;
mod sigv4;

pub use self::{keys::AwsKeys, secret::AwsSecret};
