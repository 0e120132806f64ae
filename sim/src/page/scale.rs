//! The time axis. Virtual time has hours in which nothing happens and milliseconds in which much
//! does, so that a place on the axis is a matter of order first: each record gets room after its
//! kind, and the time between two records adds to it by its logarithm, up to a mark that says how
//! much was left out.

use std::ops::Range;

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
    /// Records that are not drawn. They are all in one place.
    hidden: Range<usize>,
}

impl Scale {
    /// For these records, of which some in the middle are not drawn.
    pub fn new(records: &[Record], hidden: Range<usize>) -> Scale {
        let mut at = Vec::with_capacity(records.len());
        let (mut gaps, mut x) = (Vec::new(), 12);
        let mut last = records.first().map_or(0, |record| record.at);
        for (n, record) in records.iter().enumerate() {
            if hidden.contains(&n) {
                at.push(x);
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
        Scale { at, gaps, width: x + 12, hidden }
    }

    /// Whether a record is drawn.
    pub fn draws(&self, record: usize) -> bool {
        !self.hidden.contains(&record)
    }

    /// Whether nothing of a time is drawn.
    pub fn hides(&self, time: &Range<usize>) -> bool {
        self.hidden.contains(&time.start) && self.hidden.contains(&time.end)
    }

    /// The records that are not drawn.
    pub fn hidden(&self) -> &Range<usize> {
        &self.hidden
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
        let scale = Scale::new(&records, 0..0);
        assert!(scale.at.is_sorted());
        assert_eq!(scale.gaps.iter().map(|gap| gap.1).collect::<Vec<_>>(), [1_100, 8_998_000]);
        assert!(scale.width < 300);
        let cut = Scale::new(&records, 2..6);
        assert_eq!((cut.x(2), cut.gaps.len()), (cut.x(5), 1));
        assert!(cut.hides(&(2..5)) && !cut.hides(&(2..6)));
    }
}
