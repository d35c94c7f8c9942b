//! Change data capture.

mod again;
mod child;
mod fixture;
mod outage;
#[cfg(feature = "cdc-postgres")]
mod postgres;
#[cfg(feature = "cdc-sqlite")]
mod sqlite;
mod stop;
mod under_load;
