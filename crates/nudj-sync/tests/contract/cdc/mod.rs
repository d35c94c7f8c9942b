//! Change data capture.

mod again;
mod child;
mod fixture;
#[cfg(feature = "cdc-sqlite")]
mod letters;
#[cfg(feature = "cdc-logical")]
mod logical;
mod looks;
mod mapping;
mod outage;
#[cfg(feature = "cdc-postgres")]
mod postgres;
#[cfg(feature = "cdc-postgres")]
mod postgres_anew;
#[cfg(feature = "cdc-postgres")]
mod postgres_keys;
#[cfg(feature = "cdc-postgres")]
mod postgres_lost;
#[cfg(feature = "cdc-postgres")]
mod postgres_rights;
#[cfg(feature = "cdc-sqlite")]
mod replay;
#[cfg(feature = "cdc-sqlite")]
mod sqlite;
#[cfg(feature = "cdc-sqlite")]
mod sqlite_anew;
#[cfg(feature = "cdc-sqlite")]
mod sqlite_keys;
#[cfg(feature = "cdc-sqlite")]
mod sqlite_lost;
mod stop;
mod under_load;
#[cfg(feature = "cdc-postgres")]
mod writers;
