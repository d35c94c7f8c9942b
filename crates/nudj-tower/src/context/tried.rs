//! The set of endpoints a call has been to: four in place, more on the heap, so that the usual call allocates nothing.

const INLINE: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Tried {
    inline: [u64; INLINE],
    len: usize,
    spill: Vec<u64>,
}

impl Tried {
    #[inline]
    pub(super) fn contains(&self, id: u64) -> bool {
        self.inline[..self.len].contains(&id) || self.spill.contains(&id)
    }

    #[inline]
    pub(super) fn insert(&mut self, id: u64) {
        if self.contains(id) {
            return;
        }
        if self.len < INLINE {
            self.inline[self.len] = id;
            self.len += 1;
        } else {
            self.spill.push(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_more_than_fits_in_place_and_each_id_once() {
        let mut tried = Tried::default();
        assert!(!tried.contains(0), "an empty set holds nothing, not even zero");
        for id in (0..10).chain(0..10) {
            tried.insert(id);
        }
        assert!((0..10).all(|id| tried.contains(id)) && !tried.contains(10));
        assert_eq!(tried.len + tried.spill.len(), 10);
    }
}
