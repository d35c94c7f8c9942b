//! From ended calls and attempts to spans.

use std::{fmt, sync::Arc};

use nudj_tower::{
    CallFacts,
    observe::{EndedSpan, Event, Observer},
};

use super::{
    encode::Ids,
    shapes::Shape,
    waiting::{Clock, Waiting},
};

/// Writes what ended into the queue, where its trace is sampled.
pub(super) struct Traces {
    waiting: Arc<Waiting>,
    sampling: Sampling,
}

/// Which traces are kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampling {
    /// A trace that begins here is kept when the lower 56 bits of its id are below.
    below: u64,
}

/// As many bits of a trace id must be random, by W3C Trace Context level 2.
const RANDOM: u32 = 56;

impl Sampling {
    /// Keeps this share of the traces that begin here: 0 none, 1 all.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 2^56")]
    pub(super) fn of(share: f64) -> Self {
        Self { below: (share.clamp(0.0, 1.0) * (1u64 << RANDOM) as f64) as u64 }
    }

    /// A trace that began elsewhere is kept when its sender says so.
    pub(super) fn keeps(self, trace_id: u128, flags: u8, begins_here: bool) -> bool {
        let random = trace_id as u64 & ((1 << RANDOM) - 1);
        flags & 1 == 1 && (!begins_here || random < self.below)
    }
}

impl Traces {
    pub(super) fn new(waiting: Arc<Waiting>, sampling: Sampling) -> Self {
        Self { waiting, sampling }
    }

    fn ended(&self, ended: &EndedSpan<'_>, facts: &CallFacts<'_>) {
        let EndedSpan { attempt, method, status, error, start, end, .. } = *ended;
        let (Some(trace), Some(call)) = (facts.trace, facts.span) else { return };
        let trace_id = trace.trace_id.get();
        if !self.sampling.keeps(trace_id, trace.flags, call.begins_here) {
            return;
        }
        let (id, parent) = attempt.map_or((call.id, call.parent), |attempt| (attempt.id, Some(call.id)));
        let ids = |clock: &Clock| Ids {
            trace_id,
            id: id.get(),
            parent: parent.map(|id| id.get()),
            start: clock.unix_nanos(start),
            end: clock.unix_nanos(end),
        };
        let (template, resends) = (facts.route.map(|route| route.template), attempt.map(|attempt| attempt.resends));
        let shape = Shape { resends, method, template, endpoint: facts.endpoint, status, error };
        // The attempts of a call are found by their trace; one line of the trace with the id is enough.
        let correlation_id = facts.correlation_id.filter(|_| resends.is_none()).and_then(|id| id.to_str().ok());
        self.waiting.push_shaped(ids, shape, correlation_id);
    }
}

impl Observer for Traces {
    fn observe(&self, event: &Event<'_>) {
        if let Event::SpanEnded(ended) = event {
            ended.context.with_facts(|facts| self.ended(ended, facts));
        }
    }

    fn traces(&self) -> bool {
        true
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").field("sampling", &self.sampling).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_what_begins_here_is_kept_and_of_what_came_in_what_its_sender_says() {
        let mut rng = fastrand::Rng::with_seed(1);
        let kept = (0..100_000).filter(|_| Sampling::of(0.25).keeps(rng.u128(..), 1, true)).count();
        assert!((24_000..26_000).contains(&kept), "{kept}");
        for (share, flags, begins_here, is_kept) in [
            (1.0, 1, true, true),
            (0.0, 1, true, false),
            (0.0, 1, false, true),
            (0.0, 3, false, true),
            (1.0, 0, false, false),
            (1.0, 2, false, false),
            (1.0, 0, true, false),
        ] {
            let kept = Sampling::of(share).keeps(u128::MAX, flags, begins_here);
            assert_eq!(kept, is_kept, "share {share}, flags {flags}, begins here: {begins_here}");
        }
    }
}
