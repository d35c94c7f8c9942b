//! Change data capture.
