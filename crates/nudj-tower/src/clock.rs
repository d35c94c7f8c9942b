//! One reading of the clock for what a call does in one go.
//!
//! From the deadline down to the transport a call is handed on within a microsecond, and half a dozen layers want to know when that was.
//! A reading costs as much as a layer. So what is done in one function call on one thread is a [`step`], whose latest reading is noted, and those
//! to whom a microsecond does not matter take the [`recent`] one. A rule that holds to the nanosecond [`read`]s anew, as a limiter's does.
//!
//! The deadline layer, and the metrics layer when somebody listens, make a step of each `call` and `poll` below them. A `Buffer`, a task or a wait ends a step, and what comes after reads
//! the clock for itself. The clock is `tokio::time`'s, so that tests can stop it.
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

/// Runs `work` as one step, or as a part of the one it stands in.
pub fn step<T>(work: impl FnOnce() -> T) -> T {
    if !matches!(NOTED.get(), Noted::Nowhere) {
        return work();
    }
    NOTED.set(Noted::Nothing);
    let _ended = Ended;
    work()
}

/// Reads the clock, and notes the reading for the rest of the step.
#[must_use]
pub fn read() -> Instant {
    let now = Instant::now();
    if !matches!(NOTED.get(), Noted::Nowhere) {
        NOTED.set(Noted::At(now));
    }
    now
}

/// The latest reading of this step; a new one where there is none.
#[must_use]
pub fn recent() -> Instant {
    match NOTED.get() {
        Noted::At(reading) => reading,
        Noted::Nothing | Noted::Nowhere => read(),
    }
}

/// Ends the step, also when its work panics: nothing later may take its reading for the time.
struct Ended;

impl Drop for Ended {
    fn drop(&mut self) {
        NOTED.set(Noted::Nowhere);
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
    async fn a_step_has_one_reading_until_somebody_reads_anew() {
        let began = Instant::now();
        step(|| {
            pass();
            let first = recent();
            assert_ne!(first, began, "nothing is read before somebody asks");
            pass();
            assert_eq!(recent(), first);
            step(|| assert_eq!(recent(), first, "one within another is part of it"));
            let second = read();
            assert_ne!(second, first);
            assert_eq!(recent(), second);
            pass();
        });
        assert_eq!(recent(), Instant::now(), "outside of any, each is new");
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
            let first = recent();
            let other = std::thread::scope(|scope| scope.spawn(|| block_on(async { recent() })).join().unwrap());
            assert_ne!(other, first);
        });
    }
}
