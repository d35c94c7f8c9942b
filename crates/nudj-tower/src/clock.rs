//! One reading of the clock for what a call does in one go.
//!
//! From the deadline down to the transport a call is handed on within a microsecond, and several layers want to know when that was.
//! A reading costs as much as a layer. So a function call on one thread can be made a [`step`], in which the latest [`read`]ing is noted;
//! those to whom a microsecond does not matter take that [`recent`] one. A rule that holds to the nanosecond reads anew, as a limiter's
//! does, and so does what measures how long something took.
//!
//! The deadline layer makes a step of each `call` below it. A step within a step has readings of its own: of other calls that are made
//! there it learns nothing, nor they of it. The clock is `tokio::time`'s, so that tests can stop it.
//!
//! ```
//! use nudj_tower::clock;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! clock::step(|| {
//!     let began = clock::read();
//!     assert_eq!(clock::recent(), began);
//! });
//! # }
//! ```

use std::cell::Cell;

use tokio::time::Instant;

thread_local! {
    static NOTED: Cell<Noted> = const { Cell::new(Noted::Nowhere) };
}

/// The latest reading of the step that this thread is in.
#[derive(Clone, Copy)]
enum Noted {
    /// There is no step.
    Nowhere,
    Nothing,
    At(Instant),
}

/// Runs `work` as a step, in which nothing has been read yet.
#[inline]
pub fn step<T>(work: impl FnOnce() -> T) -> T {
    let _ended = Ended(NOTED.replace(Noted::Nothing));
    work()
}

/// Reads the clock, and notes the reading for the rest of the step.
#[must_use]
#[inline]
pub fn read() -> Instant {
    let now = Instant::now();
    if !matches!(NOTED.get(), Noted::Nowhere) {
        NOTED.set(Noted::At(now));
    }
    now
}

/// The reading that was noted last in this step. Where there is none, the clock is read, and nothing is noted: who only wants to know
/// roughly vouches for nobody else.
#[must_use]
#[inline]
pub fn recent() -> Instant {
    match NOTED.get() {
        Noted::At(reading) => reading,
        Noted::Nothing | Noted::Nowhere => Instant::now(),
    }
}

/// Puts back what was noted before, also when the step's work panics: nothing later may take its reading for the time.
struct Ended(Noted);

impl Drop for Ended {
    #[inline]
    fn drop(&mut self) {
        NOTED.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::{panic::catch_unwind, time::Duration};

    use tokio::time::advance;
    use tokio_test::block_on;

    use super::*;

    /// Time goes by, in the midst of a step.
    fn pass() {
        assert!(tokio_test::task::spawn(advance(Duration::from_secs(1))).poll().is_pending());
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_has_the_latest_reading_that_was_noted() {
        step(|| {
            let glance = recent();
            pass();
            assert_ne!(recent(), glance, "a glance is not noted");
            let first = read();
            pass();
            assert_eq!(recent(), first);
            let second = read();
            assert_ne!(second, first);
            assert_eq!(recent(), second);
            pass();
        });
        assert_eq!(recent(), Instant::now(), "outside of any, each is new");
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_within_another_neither_knows_its_reading_nor_leaves_its_own() {
        step(|| {
            let outer = read();
            pass();
            let inner = step(|| {
                assert_eq!(recent(), Instant::now());
                read()
            });
            assert_ne!(inner, outer);
            assert_eq!(recent(), outer);
        });
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_the_step() {
        let panicked = catch_unwind(|| {
            step(|| {
                let _ = read();
                panic!("below")
            })
        });
        pass();
        assert!(panicked.is_err());
        assert_eq!(recent(), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn other_threads_have_steps_of_their_own() {
        step(|| {
            let first = read();
            let other = std::thread::scope(|scope| scope.spawn(|| block_on(async { recent() })).join().unwrap());
            assert_ne!(other, first);
        });
    }
}
