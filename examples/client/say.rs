//! What the program says to whom may have stopped listening.
//!
//! `println!` panics when its reader is gone. Whoever ends a pipe early decides for himself, not for what this program has begun and must
//! still clean up.

use std::{fmt::Arguments, io::Write};

/// A line on the standard output.
macro_rules! say {
    ($($line:tt)*) => { $crate::say::write(std::io::stdout().lock(), format_args!($($line)*)) };
}

/// A line on the standard error output.
macro_rules! tell {
    ($($line:tt)*) => { $crate::say::write(std::io::stderr().lock(), format_args!($($line)*)) };
}

pub(crate) fn write(mut to: impl Write, line: Arguments<'_>) {
    let _ = writeln!(to, "{line}");
}
