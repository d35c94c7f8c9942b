//! Keys and tags as the levels take them.

use std::{borrow::Cow, fmt::Write as _};

use sha2::{Digest, Sha256};

/// Longest name stored as it is, in bytes. PostgreSQL indexes no more than about 2700.
pub(crate) const MAX_LENGTH: usize = 512;
/// Bytes of a long name that stay readable.
const READABLE: usize = 64;
/// Most tags an entry keeps; further ones are left out, so an entry with more could not be found by them.
pub(crate) const MAX_TAGS: usize = 64;

/// The name itself, or, where it is too long or holds a NUL (which PostgreSQL refuses), its beginning and its hash.
pub(crate) fn normal(name: &str) -> Cow<'_, str> {
    if name.len() <= MAX_LENGTH && !name.as_bytes().contains(&0) {
        return Cow::Borrowed(name);
    }
    let mut out: String = name.chars().filter(|char| *char != '\0').take(READABLE).collect();
    out.push('~');
    push_hex(&mut out, &Sha256::digest(name.as_bytes()));
    Cow::Owned(out)
}

/// Appends bytes in hex.
pub(crate) fn push_hex(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn short_names_stay_and_long_ones_are_bounded_and_distinct(name in ".{0,700}") {
            let normal_name = normal(&name).into_owned();
            prop_assert!(normal_name.len() <= MAX_LENGTH);
            prop_assert!(!normal_name.contains('\0'));
            if name.len() <= MAX_LENGTH && !name.contains('\0') {
                prop_assert_eq!(&normal_name, &name);
            } else {
                prop_assert_ne!(normal_name, normal(&format!("{name}x")).into_owned());
            }
        }
    }
}
