//! The smallest entropy that still breaks the same promise.
//!
//! Fewer bytes are better, and of as many bytes the one with more zeros: a zero is the harmless
//! choice, so that what is left over is what the failure needs.

use crate::world::{Options, run};

/// Searches for smaller entropy until nothing smaller is found, or `tries` runs were made.
#[must_use]
pub fn shrink(entropy: Vec<u8>, options: Options, promise: &str, tries: usize) -> Vec<u8> {
    let mut search = Search { best: entropy, options, promise, left: tries };
    search.cut_what_was_not_used();
    loop {
        let before = search.best.clone();
        search.cut_the_end();
        search.cut_pieces();
        search.lower_bytes();
        if search.best == before || search.left == 0 {
            return search.best;
        }
    }
}

struct Search<'a> {
    best: Vec<u8>,
    options: Options,
    promise: &'a str,
    left: usize,
}

impl Search<'_> {
    /// Takes this for the best if it breaks the promise, too.
    fn try_it(&mut self, bytes: Vec<u8>) -> bool {
        if self.left == 0 || bytes == self.best {
            return false;
        }
        self.left -= 1;
        let breaks = run(bytes.clone(), self.options)
            .broken
            .is_some_and(|broken| broken.promise == self.promise);
        if breaks {
            self.best = bytes;
        }
        breaks
    }

    fn cut_what_was_not_used(&mut self) {
        let used = run(self.best.clone(), self.options).used;
        let bytes = self.best[..used.min(self.best.len())].to_vec();
        self.try_it(bytes);
    }

    fn cut_the_end(&mut self) {
        let mut piece = self.best.len() / 2;
        while piece > 0 {
            let keep = self.best.len().saturating_sub(piece);
            let bytes = self.best[..keep].to_vec();
            if !self.try_it(bytes) {
                piece /= 2;
            }
        }
    }

    /// Pieces in the middle: taken out, or made zero.
    fn cut_pieces(&mut self) {
        for size in [64, 16, 4, 1] {
            let mut at = 0;
            while at < self.best.len() && self.left > 0 {
                let end = (at + size).min(self.best.len());
                let mut without = self.best.clone();
                without.drain(at..end);
                let mut zeroed = self.best.clone();
                zeroed[at..end].fill(0);
                if !self.try_it(without) {
                    self.try_it(zeroed);
                    at = end;
                }
            }
        }
    }

    fn lower_bytes(&mut self) {
        for at in 0..self.best.len() {
            for shift in [4, 1] {
                while self.best.get(at).is_some_and(|byte| *byte > 0) {
                    let mut bytes = self.best.clone();
                    bytes[at] = if shift == 4 { bytes[at] / 2 } else { bytes[at] - 1 };
                    if !self.try_it(bytes) {
                        break;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saboteur::Saboteur;
    use crate::sweep::{SIZE, entropy};

    #[test]
    fn what_is_left_breaks_the_same_promise_with_few_bytes() {
        let options = Options { saboteur: Some(Saboteur::ReapInsideThePass), ..Options::default() };
        let [promise] = *Saboteur::ReapInsideThePass.breaks() else { panic!("it breaks one") };
        let broken = |seed: u64| run(entropy(seed, SIZE), options).broken.map(|b| b.promise);
        let seed = (0..100).find(|seed| broken(*seed) == Some(promise)).expect("such a seed");
        let small = shrink(entropy(seed, SIZE), options, promise, 2_000);
        assert_eq!(run(small.clone(), options).broken.map(|b| b.promise), Some(promise));
        assert!(small.len() < SIZE / 10, "{} bytes", small.len());
    }
}
