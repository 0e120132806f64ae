//! What a dispatcher writes, and where.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};

use super::*;

fn slot_of(slot: Slot) -> u64 {
    (slot.pid_offset - slot::PID - header::LEN as u64) / SLOT as u64
}

#[test]
fn a_file_is_private_and_has_its_blocks_before_the_first_record() {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().join("sexton/0123");
    let _records = Records::create(&directory, NAME).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let file = directory.join("records").join(NAME);
    assert_eq!((mode(file.parent().unwrap()), mode(&file)), (0o700, 0o600));
    assert_eq!(fs::metadata(file).unwrap().len(), offset(CHUNK));
}

#[test]
fn a_name_cannot_lead_out_of_the_directory() {
    let state = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", "../x", "/x", "a/b", ".x", "-x", "A", "a b", "a\0", "ü"] {
        let error = Records::create(state.path(), name).unwrap_err();
        assert!(matches!(error, RecordsError::Name(_)), "{name:?}: {error}");
    }
    let longest = "1".repeat(header::MAX_NAME);
    assert!(Records::create(state.path(), &longest).is_ok());
    let error = Records::create(state.path(), &format!("{longest}1")).unwrap_err();
    assert!(matches!(error, RecordsError::Name(_)), "{error}");
}

#[test]
fn a_file_that_is_there_is_not_taken_over() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    records.intend(SpawnId(1), &intent(1)).unwrap();
    let before = fs::read(records.file.path()).unwrap();
    let error = Records::create(state.path(), NAME).unwrap_err();
    assert!(error.to_string().contains("use those"), "{error}");
    assert_eq!(fs::read(records.file.path()).unwrap(), before);
}

#[test]
fn what_was_begun_of_a_file_is_removed_when_it_cannot_be_made() {
    let state = tempfile::tempdir().unwrap();
    Records::create_with(state.path(), NAME, MAX_SLOTS + 1).unwrap_err();
    assert_eq!(fs::read_dir(state.path().join("records")).unwrap().count(), 0);
}

#[test]
fn a_slot_is_reused_only_after_it_was_cleared() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    let slot = |number| slot_of(records.intend(SpawnId(number), &intent(number)).unwrap());
    assert_eq!((slot(1), slot(2)), (0, 1));
    records.ended(SpawnId(1), Verdict::Completed).unwrap();
    assert_eq!(slot(3), 2);
    records.clear(SpawnId(1)).unwrap();
    assert_eq!(slot(4), 0);
}

#[test]
fn a_full_file_grows_by_a_chunk() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    for number in 0..5 {
        let slot = records.intend(SpawnId(number), &intent(number)).unwrap();
        assert_eq!(slot_of(slot), number);
    }
    assert_eq!(fs::metadata(records.file.path()).unwrap().len(), offset(6));
}

#[test]
fn nothing_is_written_for_an_attempt_without_a_record_or_with_one_already() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    records.intend(SpawnId(1), &intent(1)).unwrap();
    records.intend(SpawnId(2), &intent(2)).unwrap();
    records.clear(SpawnId(2)).unwrap();
    let before = fs::read(records.file.path()).unwrap();
    let again = records.intend(SpawnId(1), &intent(3)).unwrap_err();
    assert!(matches!(again, RecordsError::Twice { spawn: SpawnId(1), .. }), "{again}");
    for refused in [
        records.pid_known(SpawnId(2), Pid(7)),
        records.started(SpawnId(2), 7),
        records.ended(SpawnId(2), Verdict::Completed),
        records.clear(SpawnId(2)),
    ] {
        let error = refused.unwrap_err();
        assert!(matches!(error, RecordsError::NoRecord { spawn: SpawnId(2), .. }), "{error}");
    }
    assert_eq!(fs::read(records.file.path()).unwrap(), before);
}

#[test]
fn a_process_that_writes_its_own_pid_writes_what_its_parent_would() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    let slot = records.intend(SpawnId(1), &intent(1)).unwrap();
    let pid: u32 = 4711;
    let word = u64::from(pid) | u64::from(!pid) << 32;
    let child = File::from(records.file().try_clone_to_owned().unwrap());
    child.write_all_at(&word.to_ne_bytes(), slot.pid_offset).unwrap();
    let by_child = fs::read(records.file.path()).unwrap();
    records.pid_known(SpawnId(1), Pid(4711)).unwrap();
    assert_eq!(fs::read(records.file.path()).unwrap(), by_child);
}

#[test]
fn an_intent_on_a_full_disk_is_an_error_that_says_so() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let file = RecordsFile::new("/dev/full".into(), full);
    let table = Table { free: vec![0], slots: 1, ..Table::default() };
    let records = Records { file, chunk: 1, table: Mutex::new(table) };
    let error = records.intend(SpawnId(1), &intent(1)).unwrap_err();
    assert!(error.to_string().contains("make room"), "{error}");
    // Afterwards neither the attempt nor the slot, which could not be emptied, exists.
    assert!(records.table().used.is_empty() && records.table().free.is_empty());
}

#[test]
fn a_good_end_removes_the_file_unless_a_record_is_needed() {
    let state = tempfile::tempdir().unwrap();
    for (clear, stays) in [(false, true), (true, false)] {
        let directory = state.path().join(stays.to_string());
        let records = small(&directory);
        records.intend(SpawnId(1), &intent(1)).unwrap();
        records.ended(SpawnId(1), Verdict::Completed).unwrap();
        records.sync().unwrap();
        if clear {
            records.clear(SpawnId(1)).unwrap();
        }
        records.finish().unwrap();
        assert_eq!(directory.join("records").join(NAME).exists(), stays);
    }
}

#[test]
fn any_number_of_threads_share_one_file() {
    fn is_shared<T: Send + Sync>() {}
    is_shared::<Records>();
}
