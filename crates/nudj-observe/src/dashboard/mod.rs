//! The live dashboard: one router.
