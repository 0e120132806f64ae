//! What is drawn from the entropy: how long things take, and which fault strikes.

use super::{FINE, Item, World};
use crate::fault::Fault;
use crate::trace::{What, Who};

impl World {
    /// Schedules an item in `millis` milliseconds, and a moment.
    pub(super) fn after(&mut self, millis: u64, item: Item) {
        let fine = u64::from(self.entropy.byte());
        let moment = self.moment.saturating_add(millis.saturating_mul(FINE)).saturating_add(fine);
        self.items.insert((moment, self.numbered), item);
        self.numbered += 1;
    }

    /// How long something takes, in milliseconds: as a rule not long.
    pub(super) fn millis(&mut self) -> u64 {
        match self.entropy.byte() {
            byte @ 0..128 => u64::from(byte) / 16,
            byte @ 128..224 => u64::from(byte - 127) * 10,
            byte => u64::from(byte - 223) * 400,
        }
    }

    /// Whether a fault strikes here.
    pub(super) fn fires(&mut self, fault: Fault, who: Who) -> bool {
        self.strike(&[fault], who).is_some()
    }

    /// Which of these faults strikes here, if one does.
    pub(super) fn strike(&mut self, among: &[Fault], who: Who) -> Option<Fault> {
        if let Some(forced) = self.forced.filter(|forced| among.contains(forced)) {
            self.forced = None;
            self.tell(who, || What::Fault(forced));
            return Some(forced);
        }
        let weights = among.iter().map(|fault| u16::from(self.faults.weight(*fault)));
        let total: u16 = weights.clone().sum();
        if total == 0 {
            return None;
        }
        let drawn = u16::from(self.entropy.byte());
        // The highest bytes strike, so that a zero never does.
        let (drawn, total) = if total > 192 { (drawn * 4 / 3, 256) } else { (drawn, total) };
        let mut left = (drawn + total).checked_sub(256)?;
        for (fault, weight) in among.iter().zip(weights) {
            if left < weight {
                self.faults.fired[*fault as usize] += 1;
                self.tell(who, || What::Fault(*fault));
                return Some(*fault);
            }
            left -= weight;
        }
        None
    }
}
