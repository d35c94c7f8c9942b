//! Both ways.

mod at_nudj;
mod converges;
#[cfg(feature = "sqlite")]
mod kept;
