//! The time axis. Virtual time has hours in which nothing happens and milliseconds in which much
//! does, so that a place on the axis is a matter of order first: each record gets room after its
//! kind, and the time between two records adds to it by its logarithm, up to a mark that says how
//! much was left out.

use crate::page::kind;
use crate::trace::Record;

/// From this many milliseconds on the time between two records is marked.
const GAP_MS: u64 = 1_000;
/// The room of such a mark.
const GAP: u32 = 34;

/// Where each record is.
pub struct Scale {
    /// Places, one for each record.
    pub at: Vec<u32>,
    /// Where time was left out: place and milliseconds.
    pub gaps: Vec<(u32, u64)>,
    /// The end.
    pub width: u32,
    /// The first record that is drawn. Those before it are all at 0.
    pub first: usize,
}

impl Scale {
    /// For these records, of which only those from `first` on are drawn.
    pub fn new(records: &[Record], first: usize) -> Scale {
        let mut at = Vec::with_capacity(records.len());
        let (mut gaps, mut x) = (Vec::new(), 12);
        let mut last = records.get(first).map_or(0, |record| record.at);
        for (n, record) in records.iter().enumerate() {
            if n < first {
                at.push(0);
                continue;
            }
            let passed = record.at.saturating_sub(last);
            last = last.max(record.at);
            if passed >= GAP_MS {
                gaps.push((x + GAP / 2, passed));
            }
            x += between(passed);
            at.push(x);
            x += kind::of(&record.what).room;
        }
        Scale { at, gaps, width: x + 12, first }
    }

    /// The place of a record.
    pub fn x(&self, record: usize) -> u32 {
        self.at.get(record).copied().unwrap_or(self.width)
    }
}

/// The room of so many milliseconds: 3 for each doubling.
fn between(ms: u64) -> u32 {
    if ms >= GAP_MS { GAP } else { 3 * (u64::BITS - ms.leading_zeros()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{What, Who};

    #[test]
    fn time_never_goes_back_and_hours_take_no_more_room_than_seconds() {
        let moments = [0, 0, 1, 900, 2_000, 9_000_000, 9_000_001];
        let record = |at| Record { at, who: Who::World, what: What::Calm };
        let records: Vec<Record> = moments.into_iter().map(record).collect();
        let scale = Scale::new(&records, 0);
        assert!(scale.at.is_sorted());
        assert_eq!(scale.gaps.iter().map(|gap| gap.1).collect::<Vec<_>>(), [1_100, 8_998_000]);
        assert!(scale.width < 300);
        let late = Scale::new(&records, 5);
        assert_eq!((late.x(4), late.gaps.len()), (0, 0));
    }
}
