//! Is a timestamp recent enough? Arithmetic is checked: the value comes from whoever sent the request.

use std::time::Duration;

use super::Refusal;

/// Seconds since 1970 in ASCII digits, with an optional leading minus.
pub(super) fn parse_timestamp(text: &str) -> Result<i64, Refusal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::MalformedTimestamp);
    }
    text.parse().map_err(|_| Refusal::MalformedTimestamp)
}

/// Refuses `timestamp` unless it lies within `tolerance` of `now` (both in seconds), the boundary included.
pub(crate) fn check_age(timestamp: i64, now: i64, tolerance: Duration) -> Result<(), Refusal> {
    let side = if timestamp > now { Refusal::TooNew } else { Refusal::TooOld };
    match now.checked_sub(timestamp) {
        Some(age) if age.unsigned_abs() <= tolerance.as_secs() => Ok(()),
        _ => Err(side),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIVE_MINUTES: Duration = Duration::from_secs(300);

    #[test]
    fn boundary_is_inside_on_both_sides() {
        assert_eq!(check_age(700, 1000, FIVE_MINUTES), Ok(()));
        assert_eq!(check_age(699, 1000, FIVE_MINUTES), Err(Refusal::TooOld));
        assert_eq!(check_age(1300, 1000, FIVE_MINUTES), Ok(()));
        assert_eq!(check_age(1301, 1000, FIVE_MINUTES), Err(Refusal::TooNew));
    }

    #[test]
    fn ends_of_the_number_range_are_refused_and_do_not_overflow() {
        for now in [i64::MIN, -1, 0, 1, 1_760_000_000, i64::MAX] {
            for timestamp in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
                let near = now.abs_diff(timestamp) <= 300;
                assert_eq!(check_age(timestamp, now, FIVE_MINUTES).is_ok(), near, "{timestamp} at {now}");
            }
        }
    }

    #[test]
    fn only_plain_digits_are_a_timestamp() {
        assert_eq!(parse_timestamp("1760000000"), Ok(1_760_000_000));
        assert_eq!(parse_timestamp("-9223372036854775808"), Ok(i64::MIN));
        for text in ["", "-", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "--1", "9223372036854775808", "\u{0661}"] {
            assert_eq!(parse_timestamp(text), Err(Refusal::MalformedTimestamp), "{text:?}");
        }
    }
}
