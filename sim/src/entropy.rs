//! The source of all chance: a finite string of bytes. When it runs out, every choice is the first
//! one, which is always the harmless one. So every run ends, and a search for the smallest string
//! that still breaks a promise only removes bytes or sets them to zero.

/// A string of bytes, used up one choice at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entropy {
    bytes: Vec<u8>,
    used: usize,
}

impl Entropy {
    /// Draws from these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Entropy {
        Entropy { bytes, used: 0 }
    }

    /// `size` bytes that follow from `seed`.
    #[must_use]
    pub fn of_seed(seed: u64, size: usize) -> Vec<u8> {
        let mut state = seed;
        let words = std::iter::repeat_with(|| split_mix(&mut state).to_le_bytes());
        words.flatten().take(size).collect()
    }

    /// True once every byte was used.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.used >= self.bytes.len()
    }

    /// How many bytes were used.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.min(self.bytes.len())
    }

    /// The next byte; 0 if there is none left.
    pub fn byte(&mut self) -> u8 {
        let byte = self.bytes.get(self.used).copied().unwrap_or(0);
        self.used += 1;
        byte
    }

    /// A number below `n`, which is at most 256.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) * n / 256
    }

    /// Returns one of these; the first when the entropy is used up.
    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Returns true in `of_256` of 256 cases; false when the entropy is used up.
    pub fn chance(&mut self, of_256: u8) -> bool {
        u16::from(self.byte()) >= 256 - u16::from(of_256)
    }
}

/// The SplitMix generator of Steele, Lea and Flood: similar seeds yield unrelated sequences.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_entropy_every_choice_is_the_first() {
        let mut entropy = Entropy::new(Vec::new());
        assert!(entropy.is_spent());
        assert_eq!((entropy.byte(), entropy.below(256), entropy.one_of(&[7, 8])), (0, 0, 7));
        assert!(!entropy.chance(255));
    }

    #[test]
    fn a_choice_uses_one_byte_and_stays_in_its_bounds() {
        let mut entropy = Entropy::new(vec![255, 255, 0, 128]);
        assert_eq!(entropy.below(256), 255);
        assert_eq!(entropy.below(3), 2);
        assert!(!entropy.chance(255), "0 never is");
        assert_eq!(entropy.below(2), 1);
        assert!(entropy.is_spent());
    }

    #[test]
    fn a_seed_yields_the_same_bytes_each_time_and_a_longer_string_begins_with_the_shorter() {
        assert_eq!(Entropy::of_seed(7, 3), Entropy::of_seed(7, 30)[..3]);
        assert_ne!(Entropy::of_seed(7, 30), Entropy::of_seed(8, 30));
    }
}
