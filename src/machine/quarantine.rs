//! When a sick board is tried again.

use super::backoff::Doubling;
use super::fault::FaultClass;

/// Longest wait after bad content, in milliseconds; a changed file is looked at sooner.
pub const CONTENT_MS: u64 = 300_000;
/// How soon after a change notice a sick board is looked at, in milliseconds: a repair may still be
/// under way.
pub const NOTICE_MS: u64 = 100;
/// Failures in a row for which a lock held by others is everyday life, not sickness.
pub const BUSY_IS_NORMAL: u32 = 6;
/// After this many failures in a row, another one of any class no longer changes the wait.
pub const MOST_FAILURES: u32 = BUSY_IS_NORMAL + 6;

const SICK: Doubling = Doubling { first_ms: 1_000, most_ms: 30_000 };
const BUSY: Doubling = Doubling { first_ms: 25, most_ms: 800 };

/// Milliseconds to wait after the `failures`-th failure in a row (counted from 1) of this class.
pub fn wait_ms(class: FaultClass, failures: u32) -> u64 {
    match class {
        FaultClass::Content => CONTENT_MS,
        FaultClass::Access => SICK.after(failures),
        FaultClass::Busy if failures <= BUSY_IS_NORMAL => BUSY.after(failures),
        FaultClass::Busy => SICK.after(failures - BUSY_IS_NORMAL),
        FaultClass::Replaced if failures <= 1 => 0,
        FaultClass::Replaced => SICK.after(failures - 1),
    }
}

/// Whether the open connection survives a fault of this class: only where the file under it is
/// still the right one, and sound.
pub fn stays_open(class: FaultClass) -> bool {
    match class {
        FaultClass::Content | FaultClass::Replaced => false,
        FaultClass::Access | FaultClass::Busy => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_trouble_waits_one_second_doubling_to_thirty() {
        let waits: Vec<u64> = (1..=7).map(|n| wait_ms(FaultClass::Access, n)).collect();
        assert_eq!(waits, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
    }

    #[test]
    fn a_busy_board_is_tried_again_soon_and_backs_off_when_it_stays_busy() {
        let waits: Vec<u64> = (1..=9).map(|n| wait_ms(FaultClass::Busy, n)).collect();
        assert_eq!(waits, [25, 50, 100, 200, 400, 800, 1_000, 2_000, 4_000]);
        assert_eq!(wait_ms(FaultClass::Busy, u32::MAX), 30_000);
    }

    #[test]
    fn from_some_number_on_one_more_failure_changes_nothing() {
        for class in
            [FaultClass::Content, FaultClass::Access, FaultClass::Busy, FaultClass::Replaced]
        {
            for more in [1, 2, 99, u32::MAX - MOST_FAILURES] {
                let (most, more) = (wait_ms(class, MOST_FAILURES), MOST_FAILURES + more);
                assert_eq!(wait_ms(class, more), most, "{class:?} {more}");
            }
        }
    }

    #[test]
    fn a_replaced_file_is_opened_immediately_and_bad_content_waits_for_a_change() {
        assert_eq!(wait_ms(FaultClass::Replaced, 1), 0);
        assert_eq!(wait_ms(FaultClass::Replaced, 2), 1_000);
        assert_eq!(wait_ms(FaultClass::Content, 1), CONTENT_MS);
    }
}
