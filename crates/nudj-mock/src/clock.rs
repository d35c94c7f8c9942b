//! The mock's wall clock, and how it is written.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{Date, OffsetDateTime, PrimitiveDateTime, Time, format_description::well_known::Rfc3339};
use tokio::time::Instant;

/// Milliseconds since the Unix epoch.
pub(crate) type Millis = i64;

/// A wall clock that starts at a chosen time and then follows tokio's clock, so it stands still while a test pauses time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch: SystemTime,
    started: Instant,
}

impl Clock {
    pub(crate) fn starting_at(epoch: Option<SystemTime>) -> Self {
        Self { epoch: epoch.unwrap_or_else(wall_clock), started: Instant::now() }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.epoch.checked_add(self.started.elapsed()).unwrap_or(self.epoch)
    }

    pub(crate) fn millis(&self) -> Millis {
        millis(self.now())
    }
}

pub(crate) fn millis(at: SystemTime) -> Millis {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
}

#[expect(clippy::disallowed_methods, reason = "the one place where the mock reads the wall clock")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

/// ISO-8601 in UTC with milliseconds, as in the documented examples.
pub(crate) fn iso(at: Millis) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(at).saturating_mul(1_000_000))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        at.millisecond()
    )
}

/// Reads a timestamp with an offset, or a bare date (its midnight in UTC).
pub(crate) fn parse_iso(text: &str) -> Option<Millis> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok().or_else(|| {
        let mut parts = text.splitn(3, '-');
        let year = parts.next()?.parse().ok()?;
        let month = parts.next()?.parse::<u8>().ok()?.try_into().ok()?;
        let day = parts.next()?.parse().ok()?;
        let date = Date::from_calendar_date(year, month, day).ok()?;
        Some(PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc())
    })?;
    Millis::try_from(at.unix_timestamp_nanos() / 1_000_000).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_millisecond_of_four_digit_years_is_read_back(at in -62_135_596_800_000_i64..253_402_300_800_000) {
            prop_assert_eq!(parse_iso(&iso(at)), Some(at));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse_iso(&text);
        }
    }

    #[test]
    fn timestamps_are_written_in_utc_with_milliseconds_and_read_back() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_709_210_096_789, "2024-02-29T12:34:56.789Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(iso(at), text);
            assert_eq!(parse_iso(text), Some(at));
        }
        assert_eq!(parse_iso("2024-02-29"), Some(1_709_164_800_000));
        assert_eq!(parse_iso("2024-02-29T13:34:56+01:00"), parse_iso("2024-02-29T12:34:56Z"));
        for wrong in ["", "yesterday", "2024-13-01", "2024-02-30", "2024"] {
            assert_eq!(parse_iso(wrong), None, "{wrong}");
        }
        let _ = (iso(Millis::MAX), iso(Millis::MIN));
    }

    #[tokio::test(start_paused = true)]
    async fn the_clock_follows_a_paused_runtime() {
        let clock = Clock::starting_at(Some(UNIX_EPOCH));
        assert_eq!(clock.millis(), 0);
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(clock.millis(), 1500);
    }
}
