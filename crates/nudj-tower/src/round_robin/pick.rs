//! Whose turn it is.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// A set of places in the list of endpoints: one word for lists of up to [`FEW`](Places::FEW), else [`Many`].
pub(super) trait Places: Clone + Default {
    /// How many places fit in one word.
    const FEW: usize = u64::BITS as usize;

    fn insert(&mut self, place: usize);
    fn contains(&self, place: usize) -> bool;
    fn len(&self) -> u32;
    fn without(&self, other: &Self) -> Self;
    fn at_or_after(&self, start: usize) -> Option<usize>;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first place at or after `start`, or else the first of all.
    fn next_from(&self, start: usize) -> Option<usize> {
        self.at_or_after(start).or_else(|| self.at_or_after(0))
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let mut next = self.at_or_after(0);
        std::iter::from_fn(move || {
            let place = next?;
            next = self.at_or_after(place + 1);
            Some(place)
        })
    }
}

/// Places below 64.
impl Places for u64 {
    fn insert(&mut self, place: usize) {
        *self |= bit(place);
    }

    fn contains(&self, place: usize) -> bool {
        self & bit(place) != 0
    }

    fn len(&self) -> u32 {
        self.count_ones()
    }

    fn without(&self, other: &Self) -> Self {
        self & !other
    }

    fn at_or_after(&self, start: usize) -> Option<usize> {
        let rest = u32::try_from(start).ok().and_then(|start| u64::MAX.checked_shl(start)).unwrap_or(0) & self;
        (rest != 0).then_some(rest.trailing_zeros() as usize)
    }
}

fn bit(place: usize) -> u64 {
    1 << (place % u64::FEW)
}

/// Any places, on the heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Many(Vec<u64>);

impl Many {
    fn word(&self, index: usize) -> u64 {
        self.0.get(index).copied().unwrap_or(0)
    }
}

impl Places for Many {
    fn insert(&mut self, place: usize) {
        let index = place / Self::FEW;
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        self.0[index].insert(place);
    }

    fn contains(&self, place: usize) -> bool {
        self.word(place / Self::FEW).contains(place)
    }

    fn len(&self) -> u32 {
        self.0.iter().map(Places::len).sum()
    }

    fn without(&self, other: &Self) -> Self {
        Self(self.0.iter().enumerate().map(|(index, word)| word.without(&other.word(index))).collect())
    }

    fn at_or_after(&self, start: usize) -> Option<usize> {
        let (first, within) = (start / Self::FEW, start % Self::FEW);
        let found = |index: usize, start| Some(index * Self::FEW + self.word(index).at_or_after(start)?);
        found(first, within).or_else(|| (first + 1..self.0.len()).find_map(|index| found(index, 0)))
    }
}

/// Who could take a call.
#[derive(Debug, Default)]
pub(super) struct Candidates<P> {
    /// Those that are well.
    pub(super) healthy: P,
    /// Those that are ejected or marked down.
    pub(super) out: P,
    /// Those that this call has been to.
    pub(super) tried: P,
}

impl<P: Places> Candidates<P> {
    /// Healthy ones first, among them those that this call has not been to; those that are out only when nobody else is there:
    /// a call that may fail beats one that is refused.
    pub(super) fn preferred(&self) -> Option<P> {
        [&self.healthy, &self.out]
            .into_iter()
            .filter(|places| !places.is_empty())
            .map(|places| {
                let untried = places.without(&self.tried);
                if untried.is_empty() { places.clone() } else { untried }
            })
            .next()
    }

    /// How many healthy endpoints are left that this call has not been to, once it has been to `place`.
    pub(super) fn untried_after(&self, place: usize) -> u32 {
        let untried = self.healthy.without(&self.tried);
        untried.len() - u32::from(untried.contains(place))
    }
}

/// Hands out turns. First tries and repeats have turns of their own: with one order for both, two endpoints of which one
/// fails would fall into step, and every call would go to the sick one first.
#[derive(Debug)]
pub(super) struct Picker {
    weights: Box<[u32]>,
    first: Turns,
    again: Turns,
}

impl Picker {
    pub(super) fn new(weights: impl Into<Box<[u32]>>) -> Self {
        let weights = weights.into();
        Self { first: Turns::new(&weights), again: Turns::new(&weights), weights }
    }

    /// The same for another list: it goes on where `self` stands. `moved` gives the new place of an old one that is still there.
    pub(super) fn resume(&self, weights: impl Into<Box<[u32]>>, moved: impl Fn(usize) -> Option<usize>) -> Self {
        let weights = weights.into();
        let turns = |turns: &Turns| turns.resume(&self.weights, &weights, &moved);
        Self { first: turns(&self.first), again: turns(&self.again), weights }
    }

    /// The next in turn among `places`, which this uses up.
    pub(super) fn pick(&self, again: bool, places: &impl Places) -> Option<usize> {
        let turns = if again { &self.again } else { &self.first };
        match turns {
            Turns::Even(next) => even(next, places),
            Turns::Weighted(credits) => weighted(&mut credits.lock(), &self.weights, places),
        }
    }
}

#[derive(Debug)]
enum Turns {
    /// All weigh the same. The place after the one picked last.
    Even(AtomicUsize),
    /// What each place has earned and not been given, in units of one over the sum of weights.
    Weighted(Mutex<Vec<i64>>),
}

impl Turns {
    fn new(weights: &[u32]) -> Self {
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            Self::Even(AtomicUsize::new(0))
        } else {
            Self::Weighted(Mutex::new(vec![0; weights.len()]))
        }
    }

    fn resume(&self, old: &[u32], weights: &[u32], moved: impl Fn(usize) -> Option<usize>) -> Self {
        let mut new = Self::new(weights);
        match (self, &mut new) {
            (Self::Even(next), Self::Even(new)) => {
                let start = next.load(Ordering::Relaxed);
                let survivor = (start..old.len()).chain(0..start.min(old.len())).find_map(moved);
                *new.get_mut() = survivor.unwrap_or(0);
            }
            (Self::Weighted(credits), Self::Weighted(new)) => {
                let new = new.get_mut();
                // The same part of a turn, however large the weights are now.
                let (from, to) = (sum(old).max(1), sum(weights));
                for (place, credit) in credits.lock().iter().enumerate() {
                    if let Some(slot) = moved(place).and_then(|place| new.get_mut(place)) {
                        *slot = i64::try_from(i128::from(*credit) * i128::from(to) / i128::from(from)).unwrap_or(0);
                    }
                }
            }
            _ => {}
        }
        new
    }
}

fn sum(weights: &[u32]) -> i64 {
    weights.iter().map(|weight| i64::from(*weight)).sum()
}

/// One ring, whatever is skipped: what stands behind a sick endpoint gets no second share. Exact among any number of callers,
/// since a pick depends on nothing but the word that it swaps.
fn even(next: &AtomicUsize, places: &impl Places) -> Option<usize> {
    let mut start = next.load(Ordering::Relaxed);
    loop {
        let place = places.next_from(start)?;
        match next.compare_exchange_weak(start, place + 1, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Some(place),
            Err(now) => start = now,
        }
    }
}

/// Smooth weighted round robin: each earns its weight, the one picked pays the sum. Of those that have earned anything, the one
/// that would soonest have earned a whole turn is picked; so nobody is ever a whole turn ahead or behind its share.
fn weighted(credits: &mut [i64], weights: &[u32], places: &impl Places) -> Option<usize> {
    let sum: i64 = places.iter().filter_map(|place| weights.get(place)).map(|weight| i64::from(*weight)).sum();
    let mut best: Option<Claim> = None;
    // A turn in a larger ring is many in this one. Cut down to one here, lest it be paid off by many calls in a row to one place. With
    // all places present this changes nothing.
    for place in places.iter() {
        let (Some(credit), Some(&weight)) = (credits.get_mut(place), weights.get(place)) else { continue };
        *credit = (*credit).clamp(-sum, sum).saturating_add(i64::from(weight));
        let claim = Claim { place, weight, credit: *credit, missing: sum - *credit };
        if best.as_ref().is_none_or(|best| claim.goes_before(best)) {
            best = Some(claim);
        }
    }
    let Claim { place, .. } = best?;
    if let Some(credit) = credits.get_mut(place) {
        *credit -= sum;
    }
    Some(place)
}

struct Claim {
    place: usize,
    weight: u32,
    credit: i64,
    /// To a whole turn.
    missing: i64,
}

impl Claim {
    fn goes_before(&self, other: &Self) -> bool {
        let until = |claim: &Self, scale: &Self| i128::from(claim.missing) * i128::from(scale.weight);
        let key = |claim: &Self, scale: &Self| (claim.credit <= 0, until(claim, scale), -claim.credit);
        key(self, other) < key(other, self)
    }
}

#[cfg(test)]
mod tests;
