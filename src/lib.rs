//! Resilient calls to the Nudj engagement API.
