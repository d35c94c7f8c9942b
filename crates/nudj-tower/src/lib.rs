//! Resilience as Tower layers.
