//! What the API sends and takes, read leniently.
//!
//! Of an object only its `id` is required. Every other field may be missing or `null`; a field this crate does not know is kept
//! in `extra` where the type has one, as all have that are read and written back, and passed over elsewhere; an enum value it does not know is kept as `Other`. Amounts are `f64`: the API types them as numbers, not
//! integers, and its own examples have fractions.

mod achievement;
mod action;
mod challenge;
mod community;
mod event;
mod open_enum;
mod page;
mod reward;
mod shared;
mod user;
mod webhook;

pub use self::{
    achievement::*, action::*, challenge::*, community::*, event::*, page::Page, reward::*, shared::*, user::*,
    webhook::*,
};
