//! Random numbers for weighted aliases.

use std::hash::BuildHasher as _;
use std::hash::RandomState;
use std::sync::atomic::{AtomicU64, Ordering};

/// Numbers that look random and are shared by all threads without a lock: SplitMix64. Not for secrets.
#[derive(Debug)]
pub(crate) struct Dice(AtomicU64);

/// What SplitMix64 counts up by.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Dice {
    /// Dice that fall differently in each process.
    pub(crate) fn new() -> Self {
        Self::with_seed(RandomState::new().hash_one(STEP))
    }

    /// Dice that fall the same for the same seed.
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// A number from 0 up to, but not including, 1.
    pub(crate) fn throw(&self) -> f64 {
        let mut number = self.0.fetch_add(STEP, Ordering::Relaxed);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^= number >> 31;
        // As many bits as fit the fraction of an f64 exactly.
        let bits = u32::try_from(number >> 32).unwrap_or_default();
        f64::from(bits) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throws_are_spread_evenly() {
        let dice = Dice::new();
        let mut counts = [0_u32; 10];
        for _ in 0..10_000 {
            let throw = dice.throw();
            assert!((0.0..1.0).contains(&throw));
            let place = (0..10).rfind(|place| throw * 10.0 >= f64::from(*place)).unwrap();
            counts[usize::try_from(place).unwrap()] += 1;
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }
}
