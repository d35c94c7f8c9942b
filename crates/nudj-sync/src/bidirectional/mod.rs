//! Changes on both sides, merged.
