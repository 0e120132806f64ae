//! Which files stay.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::*;

/// Creates a file with one record, of a dead dispatcher.
fn dead(directory: &Path, name: &str) -> std::path::PathBuf {
    let records = Records::create_with(directory, name, 2).unwrap();
    records.intend(SpawnId(1), &intent(1)).unwrap();
    records.file.path().to_owned()
}

fn all_are_dead(_: &str) -> bool {
    false
}

#[test]
fn a_file_goes_when_its_last_record_was_cleared() {
    let state = tempfile::tempdir().unwrap();
    let path = dead(state.path(), NAME);
    assert_eq!(sweep(state.path(), all_are_dead).unwrap(), [NAME]);
    let foreign = Foreign::open(state.path(), NAME).unwrap().unwrap();
    foreign.clear(SpawnId(1)).unwrap();
    assert!(path.exists());
    assert!(sweep(state.path(), all_are_dead).unwrap().is_empty());
    assert!(!path.exists());
}

#[test]
fn the_file_of_a_dispatcher_that_lives_is_not_touched() {
    let state = tempfile::tempdir().unwrap();
    let path = dead(state.path(), NAME);
    fs::write(&path, "").unwrap();
    assert!(sweep(state.path(), |name| name == NAME).unwrap().is_empty());
    assert!(path.exists());
}

#[test]
fn a_file_stays_while_a_child_has_not_executed() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    let of_a_child = records.file().try_clone_to_owned().unwrap();
    drop(records);
    assert_eq!(sweep(state.path(), all_are_dead).unwrap(), [NAME]);
    drop(of_a_child);
    assert!(sweep(state.path(), all_are_dead).unwrap().is_empty());
    assert!(Foreign::open(state.path(), NAME).unwrap().is_none());
}

#[test]
fn a_file_that_cannot_be_judged_stays_and_keeps_no_other() {
    let state = tempfile::tempdir().unwrap();
    assert!(sweep(state.path(), all_are_dead).unwrap().is_empty(), "nor a directory");
    for name in ["1.garbage", "2.short", "3.torn", "4.begun", "5.cleared"] {
        let path = dead(state.path(), name);
        let foreign = Foreign::open(state.path(), name).unwrap().unwrap();
        foreign.clear(SpawnId(1)).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        match name {
            "1.garbage" => file.write_all_at(b"garbage", 0).unwrap(),
            "2.short" => file.set_len(offset(1)).unwrap(),
            "3.torn" => file.write_all_at(b"inte", offset(1)).unwrap(),
            "4.begun" => file.set_len(0).unwrap(),
            _ => {}
        }
    }
    fs::create_dir(state.path().join("records/6.directory")).unwrap();
    fs::write(state.path().join("records/Notes"), "").unwrap();
    let left = sweep(state.path(), all_are_dead).unwrap();
    assert_eq!(left, ["1.garbage", "2.short", "3.torn", "6.directory"]);
    let mut there: Vec<_> = fs::read_dir(state.path().join("records"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, ["1.garbage", "2.short", "3.torn", "6.directory", "Notes"]);
}
