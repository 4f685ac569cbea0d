//! User ids for sandboxes: the lowest free one is given out, and comes back when nothing is left of the
//! sandbox.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// The free ones of a range.
#[derive(Debug)]
pub(super) struct Slots {
    base: u32,
    count: u32,
    /// How many from the start of the range have ever been given out.
    used: u32,
    returned: BinaryHeap<Reverse<u32>>,
}

impl Slots {
    /// All of a range.
    pub(super) fn new(base: u32, count: u32) -> Slots {
        Slots { base, count, used: 0, returned: BinaryHeap::new() }
    }

    /// Takes the lowest free one.
    pub(super) fn take(&mut self) -> Option<u32> {
        if let Some(Reverse(uid)) = self.returned.pop() {
            return Some(uid);
        }
        if self.used == self.count {
            return None;
        }
        let uid = self.base + self.used;
        self.used += 1;
        Some(uid)
    }

    /// Gives one back.
    pub(super) fn give_back(&mut self, uid: u32) {
        self.returned.push(Reverse(uid));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lowest_first_and_bounded() {
        let mut slots = Slots::new(100, 3);
        assert_eq!([slots.take(), slots.take(), slots.take()], [Some(100), Some(101), Some(102)]);
        assert_eq!(slots.take(), None);
        slots.give_back(102);
        slots.give_back(100);
        assert_eq!([slots.take(), slots.take(), slots.take()], [Some(100), Some(102), None]);
    }
}
