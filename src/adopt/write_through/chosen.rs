//! Which of a view's columns a statement writes.

/// As many as a view can have.
const MOST: usize = 1664;
const WORDS: usize = MOST / u64::BITS as usize;

/// A set of columns, by their places.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Chosen([u64; WORDS]);

impl Default for Chosen {
    fn default() -> Chosen {
        Chosen([0; WORDS])
    }
}

impl Chosen {
    /// Adds one. A place that no view has is left out.
    pub fn add(&mut self, at: usize) {
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    /// Whether it is among them.
    pub fn has(&self, at: usize) -> bool {
        self.0.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Each of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0.iter().enumerate().flat_map(|(at, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                let bit = (left != 0).then(|| left.trailing_zeros() as usize)?;
                left &= left - 1;
                Some(at * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_gives_what_was_added_in_order() {
        let mut chosen = Chosen::default();
        for at in [1663, 64, 0, 63, 64, 700, 1664, usize::MAX] {
            chosen.add(at);
        }
        assert_eq!(chosen.iter().collect::<Vec<_>>(), [0, 63, 64, 700, 1663]);
        assert_eq!(chosen.len(), 5);
        assert!(chosen.has(64) && !chosen.has(65) && !chosen.has(5000));
        assert!(Chosen::default().iter().next().is_none());
    }
}
