//! Changes inputs blindly but with some sense, where no coverage leads the way.

/// A small generator of random numbers: splitmix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same numbers for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where that is 0.
    pub fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { usize::try_from(self.any() % limit as u64).unwrap() }
    }
}

/// Inputs do not grow beyond this many bytes.
const MAX: usize = 64 * 1024;

/// Numbers that sizes and counts are replaced with.
const NUMBERS: [&str; 8] =
    ["0", "-1", "1", "65536", "4294967295", "9223372036854775807", "18446744073709551616", "1e400"];

/// Changes `data` in one to eight ways; `other` is an input to take pieces from.
pub fn mutate(random: &mut Random, data: &mut Vec<u8>, other: &[u8], words: &[&str]) {
    for _ in 0..=random.below(8) {
        let at = random.below(data.len() + 1);
        let length = random.below((data.len() - at).min(64) + 1);
        match random.below(9) {
            0 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            1 => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = u8::try_from(random.below(256)).unwrap();
                }
            }
            2 => {
                data.drain(at..at + length);
            }
            3 => {
                let piece = data[at..at + length].to_vec();
                data.splice(at..at, piece);
            }
            4 | 5 if !words.is_empty() => {
                let word = words[random.below(words.len())].bytes();
                data.splice(at..at + length * random.below(2), word);
            }
            6 => {
                let from = random.below(other.len() + 1);
                let piece = &other[from..from + random.below((other.len() - from).min(256) + 1)];
                data.splice(at..at + length, piece.iter().copied());
            }
            7 => {
                // a number in text
                if let Some(digit) = data.iter().skip(at).position(u8::is_ascii_digit).map(|found| at + found)
                {
                    let end = data[digit..].iter().position(|byte| !byte.is_ascii_digit());
                    let end = end.map_or(data.len(), |found| digit + found);
                    data.splice(digit..end, NUMBERS[random.below(NUMBERS.len())].bytes());
                }
            }
            _ => {
                // a number in binary
                let size = [1, 2, 4, 8][random.below(4)];
                if let Some(field) = data.get_mut(at..at + size) {
                    let value = [0, 1, u64::MAX, u64::MAX >> 1, 0x10000, random.any()][random.below(6)];
                    field.copy_from_slice(&value.to_le_bytes()[..size]);
                }
            }
        }
    }
    data.truncate(MAX);
}
