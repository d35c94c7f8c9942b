//! Metrics, health checks and a live dashboard for the Nudj stack
