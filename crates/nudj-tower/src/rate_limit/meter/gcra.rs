use std::{cell::Cell, num::NonZeroU32, time::Duration};

use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    nanos::Nanos as Cells,
    state::{NotKeyed, StateStore},
};

use super::{Nanos, Rate};

/// Governor's cell rate algorithm, asked for one cell at a time.
#[derive(Clone, Debug)]
pub(in super::super) struct Gcra {
    pub(super) rate: Rate,
    /// What one call adds to the level.
    cell: Nanos,
    /// The theoretical arrival time: when everything granted so far will have drained.
    level: Nanos,
    /// How far all that was ever given back has moved the level, modulo what the type holds.
    refunded: Nanos,
}

/// The clock governor reads: the caller's `now`, so that it stands still where tokio's does and is read once per call.
struct Now(Cell<Nanos>);

impl Clock for Now {
    type Instant = Cells;

    fn now(&self) -> Cells {
        Cells::new(self.0.get())
    }
}

/// Governor's state, lent for one question: it offers no way to look at it or to give a cell back.
struct Level<'a>(&'a Cell<Nanos>);

impl StateStore for Level<'_> {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Cells>) -> Result<(T, Cells), E>,
    {
        let (verdict, next) = decide(Some(Cells::new(self.0.get())))?;
        self.0.set(next.as_u64());
        Ok(verdict)
    }
}

impl Gcra {
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, cell: (rate.window / u64::from(rate.max)).max(1), level: 0, refunded: 0 }
    }

    pub(super) fn take(&mut self, now: Nanos) -> Option<Nanos> {
        let level = Cell::new(self.level);
        let quota =
            governor::Quota::with_period(Duration::from_nanos(self.cell))?.allow_burst(NonZeroU32::new(self.rate.max)?);
        // Governor counts from what its clock shows when it is made: zero, as all our times do.
        let limiter: RateLimiter<_, _, _, NoOpMiddleware<Cells>> =
            RateLimiter::new(quota, Level(&level), Now(Cell::new(0)));
        limiter.clock().0.set(now);
        limiter.check().ok()?;
        self.level = level.get();
        Some(self.level.wrapping_add(self.refunded))
    }

    /// `mark` is what `take` gave. Less all that was given back by now, it is when the cell has drained. What has drained stays used.
    /// A refund of a later cell moves this one too, which is strict: it may count as drained before it is.
    pub(super) fn give_back(&mut self, mark: Nanos, now: Nanos) {
        // Negative when it has drained. Times here are far from half of what the type holds.
        let undrained = mark.wrapping_sub(self.refunded).wrapping_sub(now).cast_signed();
        let left = u64::try_from(undrained).unwrap_or(0).min(self.cell).min(self.level);
        self.level -= left;
        self.refunded = self.refunded.wrapping_add(left);
    }

    pub(super) fn nth(&self, ahead: u64, from: Nanos) -> Nanos {
        let before = self.level.max(from).saturating_add(ahead.saturating_mul(self.cell));
        before.saturating_sub(self.tolerance()).max(from)
    }

    pub(super) fn available(&self, now: Nanos) -> u32 {
        let room = self.tolerance().saturating_add(self.cell).saturating_sub(self.level.saturating_sub(now));
        u32::try_from(room / self.cell).unwrap_or(u32::MAX).min(self.rate.max)
    }

    /// The same number of cells is still to drain, each in its new time, but no more than a full bucket: that already lets no call
    /// pass but one per new cell. What a larger rate had beyond it is forgotten, also when a larger one comes back.
    ///
    /// Grants of before can no longer be given back: when their cells would have drained says nothing about the new time.
    pub(super) fn change(&mut self, rate: Rate, now: Nanos) {
        if rate == self.rate {
            return;
        }
        let undrained = self.level.saturating_sub(now);
        let cells = undrained.div_ceil(self.cell).min(u64::from(rate.max));
        *self = Self { refunded: self.refunded.wrapping_add(undrained), ..Self::new(rate) };
        self.level = now.saturating_add(cells.saturating_mul(self.cell));
    }

    fn tolerance(&self) -> Nanos {
        self.cell.saturating_mul(u64::from(self.rate.max) - 1)
    }
}
