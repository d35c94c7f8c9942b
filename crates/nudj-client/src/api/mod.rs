//! The typed API, in the shape of the documentation: `client.admin().users().get(id)`.
//!
//! Calls marked **seed only** are named in Nudj's integration-patterns page, whose code is pseudocode, and are not in the public
//! reference. They are served by `nudj-mock`; against the real host they may not exist.

mod admin;
mod analytics;
mod integration;
mod list;

pub use self::{
    admin::*,
    analytics::*,
    integration::*,
    list::{List, ListStream},
};

/// A route's two names, for metrics, spans and paths.
const fn route(operation: &'static str, template: &'static str) -> nudj_tower::Route {
    nudj_tower::Route { operation, template }
}

/// Declares a borrowed view of the client onto one resource.
macro_rules! resource {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name<'c> {
            pub(crate) client: &'c crate::Client,
        }
    };
}
use resource;
