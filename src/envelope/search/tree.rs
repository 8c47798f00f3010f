//! Trees: a value is in one interval of each height that has nodes, and a range is made up of few of them.

use super::rule::Tree;

/// An interval of 2^height values of the domain, the `at`-th of its height.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// 0: one value.
    pub height: u8,
    /// Counted from the low end of the domain.
    pub at: u64,
}

/// How many bytes the payload of a node has.
pub(super) const PAYLOAD_LEN: usize = 9;

impl Node {
    pub(super) fn payload(self) -> [u8; PAYLOAD_LEN] {
        let mut payload = [0; PAYLOAD_LEN];
        payload[0] = self.height;
        payload[1..].copy_from_slice(&self.at.to_be_bytes());
        payload
    }
}

impl Tree {
    /// The last ordinal of the domain.
    pub fn last(&self) -> u64 {
        self.low.saturating_add(self.last_inside())
    }

    fn last_inside(&self) -> u64 {
        1u64.checked_shl(self.bits.into()).unwrap_or(0).wrapping_sub(1)
    }

    /// The heights that have nodes, from the bottom: a value is in one node of each.
    pub fn heights(&self) -> impl DoubleEndedIterator<Item = u8> {
        let (highest, sparsity) = (self.bits - self.trim, self.sparsity.max(1));
        (0..=highest / sparsity).map(move |step| step * sparsity)
    }

    /// The nodes that hold an ordinal; none if it is outside the domain.
    pub fn nodes(&self, ordinal: u64) -> impl Iterator<Item = Node> {
        let inside = ordinal.checked_sub(self.low).filter(|x| *x <= self.last_inside());
        let above =
            move |x: u64| self.heights().map(move |height| Node { height, at: up(x, height) });
        inside.into_iter().flat_map(above)
    }

    /// The fewest nodes that hold all ordinals of the domain from `low` to `high`, each in one node, and no others; from
    /// the low end on.
    pub fn cover(&self, low: u64, high: u64, mut each: impl FnMut(Node)) {
        let (low, high) = (low.max(self.low), high.min(self.last()));
        if low > high {
            return;
        }
        let (mut x, high) = (low - self.low, high - self.low);
        loop {
            // The highest node that begins here and ends within.
            let (height, last) = self
                .heights()
                .rev()
                .filter(|height| x & width_of(*height) == 0)
                .map(|height| (height, x + width_of(height)))
                .find(|(_, last)| *last <= high)
                .unwrap_or((0, x));
            each(Node { height, at: up(x, height) });
            if last >= high {
                return;
            }
            x = last + 1;
        }
    }
}

/// `x >> height`, for heights up to 64.
fn up(x: u64, height: u8) -> u64 {
    x.checked_shr(height.into()).unwrap_or(0)
}

/// The last place within a node, counted from its first.
fn width_of(height: u8) -> u64 {
    1u64.checked_shl(height.into()).unwrap_or(0).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// The least number of nodes that make up each range that begins at `from`: by trying all of them.
    fn fewest(tree: &Tree, from: u64, size: u64) -> Vec<u32> {
        let mut least = vec![u32::MAX; (size - from) as usize + 1];
        least[0] = 0;
        for x in from..size {
            let so_far = least[(x - from) as usize];
            for height in tree.heights() {
                let width = 1u64 << height;
                if so_far != u32::MAX && x.is_multiple_of(width) && x + width <= size {
                    let end = &mut least[(x + width - from) as usize];
                    *end = (*end).min(so_far + 1);
                }
            }
        }
        least
    }

    /// Every range of whole small domains.
    #[test]
    fn a_cover_is_exact_and_the_smallest() {
        for (sparsity, trim, low) in [
            (1, 0, 0),
            (1, 3, 1000),
            (2, 0, 0),
            (2, 1, u64::MAX - 255),
            (2, 6, 7),
            (3, 2, 0),
            (4, 4, 0),
            (5, 0, 1 << 63),
            (8, 0, 3),
            (8, 7, 3),
        ] {
            let tree = Tree { sparsity, trim, bits: 8, low };
            // The nodes of each value, as they are stored.
            let mut of_node: HashMap<Node, Vec<u64>> = HashMap::new();
            for x in 0..256 {
                tree.nodes(low + x).for_each(|node| of_node.entry(node).or_default().push(x));
            }
            for from in 0..256 {
                let least = fewest(&tree, from, 256);
                for to in from..256 {
                    let (mut found, mut nodes) = (Vec::<u64>::new(), 0);
                    tree.cover(low + from, low + to, |node| {
                        found.extend(of_node.get(&node).into_iter().flatten().copied());
                        nodes += 1;
                    });
                    assert!(found.into_iter().eq(from..=to), "{tree:?} {from} {to}");
                    assert_eq!(nodes, least[(to - from) as usize + 1], "{tree:?} {from} {to}");
                }
            }
        }
    }

    #[test]
    fn the_whole_of_the_largest_domain() {
        let tree = Tree { sparsity: 1, trim: 0, bits: 64, low: 0 };
        let mut cover = Vec::new();
        tree.cover(0, u64::MAX, |node| cover.push(node));
        assert_eq!(cover, [Node { height: 64, at: 0 }]);
        assert_eq!(tree.nodes(u64::MAX).last(), Some(Node { height: 64, at: 0 }));
        cover.clear();
        tree.cover(1, u64::MAX - 1, |node| cover.push(node));
        assert_eq!(cover.len(), 126);
    }

    #[test]
    fn outside_the_domain_there_is_nothing() {
        let tree = Tree { sparsity: 2, trim: 1, bits: 4, low: 100 };
        for ordinal in [0, 99, 116, u64::MAX] {
            assert_eq!(tree.nodes(ordinal).count(), 0);
        }
        for (low, high) in [(0, 99), (116, u64::MAX), (110, 109)] {
            tree.cover(low, high, |node| unreachable!("{node:?}"));
        }
        let mut all = 0;
        tree.cover(0, u64::MAX, |node| all += 1u64 << node.height);
        assert_eq!(all, 16);
    }
}
