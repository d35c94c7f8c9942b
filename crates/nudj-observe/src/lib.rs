//! Seeing the client work: metrics, health, logs, OTLP, and a dashboard for who would rather look than read.
//!
//! | module | feature | what is there |
//! |---|---|---|
#![cfg_attr(feature = "metrics", doc = "| [`metrics`] | `metrics` | an observer that counts by the `metrics` facade |")]
#![cfg_attr(feature = "prometheus", doc = "| [`prometheus`] | `prometheus` | a recorder and its route `/metrics` |")]
#![cfg_attr(feature = "health", doc = "| [`health`] | `health` | checks, and `/livez`, `/readyz`, `/health` |")]
#![cfg_attr(feature = "dashboard", doc = "| [`dashboard`] | `dashboard` | a live page of all of it |")]
#![cfg_attr(feature = "logs", doc = "| [`logs`] | `logs` | tracing output: JSON or pretty |")]
#![cfg_attr(feature = "otlp", doc = "| [`otlp`] | `otlp` | metrics and traces to a collector |")]
//!
//! A client takes one observer; [`Fanout`] makes one of several.

#[cfg(feature = "dashboard")]
pub mod dashboard;
mod fanout;
#[cfg(feature = "health")]
pub mod health;
#[cfg(feature = "logs")]
pub mod logs;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(feature = "prometheus")]
pub mod prometheus;

pub use self::fanout::Fanout;
