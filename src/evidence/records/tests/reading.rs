//! What another dispatcher reads from whole, damaged and foreign files.

use std::fs::{self, File};
use std::os::unix::fs::symlink;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::machine::verdict::{ExitStatus, Release};

const VERDICT: Verdict = Verdict::TimedOut { elapsed_s: 90, limit_s: 60, killed: true };

/// A record with all its parts.
fn whole(number: u64) -> Found {
    let (intent, pid) = (intent(number), Pid(number as i32 + 1));
    Found::Started { intent, pid, start: Some(number + 5_000_000), end: Some(VERDICT) }
}

fn write_whole(records: &Records, number: u64) {
    let spawn = SpawnId(number);
    records.intend(spawn, &intent(number)).unwrap();
    records.pid_known(spawn, Pid(number as i32 + 1)).unwrap();
    records.started(spawn, number + 5_000_000).unwrap();
    records.ended(spawn, VERDICT).unwrap();
}

fn foreign(directory: &Path) -> Foreign {
    Foreign::open(directory, NAME).unwrap().unwrap()
}

fn problem(directory: &Path) -> &'static str {
    let error = Foreign::open(directory, NAME).unwrap_err();
    let RecordsError::Damaged { problem, .. } = error else { panic!("{error}") };
    problem
}

#[test]
fn a_record_is_read_part_by_part() {
    let state = tempfile::tempdir().unwrap();
    let records = Records::create(state.path(), NAME).unwrap();
    let foreign = foreign(state.path());
    let read = || foreign.read(SpawnId(1)).unwrap();
    let (spawn, intent) = (SpawnId(1), intent(1));
    assert_eq!(read(), Found::NoIntent);
    records.intend(spawn, &intent).unwrap();
    assert_eq!(read(), Found::Intent { intent: intent.clone(), end: None });
    records.pid_known(spawn, Pid(2)).unwrap();
    let started = |start, end| Found::Started { intent: intent.clone(), pid: Pid(2), start, end };
    assert_eq!(read(), started(None, None));
    records.started(spawn, 5_000_001).unwrap();
    assert_eq!(read(), started(Some(5_000_001), None));
    records.ended(spawn, VERDICT).unwrap();
    assert_eq!(read(), started(Some(5_000_001), Some(VERDICT)));
    assert_eq!(foreign.spawns().unwrap(), [spawn]);
    records.clear(spawn).unwrap();
    assert_eq!((read(), foreign.spawns().unwrap()), (Found::NoIntent, vec![]));
}

#[test]
fn every_verdict_is_read_as_it_was_written() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    records.intend(SpawnId(1), &intent(1)).unwrap();
    let released =
        [Release::Shutdown, Release::HostRefused, Release::NotStarted, Release::Superseded];
    let statuses = [0, 1, 255, -1, i32::MAX].map(ExitStatus::Code);
    let statuses = statuses.into_iter().chain([9, 64].map(ExitStatus::Signal));
    let timed_out =
        [false, true].map(|killed| Verdict::TimedOut { elapsed_s: u32::MAX, limit_s: 0, killed });
    let verdicts = [
        Verdict::Completed,
        Verdict::Crashed(ExitStatus::Unknown),
        Verdict::ProtocolViolation,
        Verdict::RateLimited,
        Verdict::CredentialsRefused,
        Verdict::SpawnFailed,
    ];
    let verdicts = verdicts.into_iter().chain(statuses.map(Verdict::Crashed)).chain(timed_out);
    for verdict in verdicts.chain(released.map(Verdict::Released)) {
        records.ended(SpawnId(1), verdict).unwrap();
        let found = foreign(state.path()).read(SpawnId(1)).unwrap();
        assert_eq!(found, Found::Intent { intent: intent(1), end: Some(verdict) });
    }
}

#[test]
fn the_longest_texts_fit_and_a_longer_slug_is_cut_between_characters() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    let longest = Intent {
        board: "b".repeat(64),
        task: TaskId::new(&"t".repeat(TaskId::MAX)).unwrap(),
        run: RunId(i64::MIN),
    };
    records.intend(SpawnId(u64::MAX), &longest).unwrap();
    let cut = Intent { board: format!("{}ü", "b".repeat(63)), ..longest.clone() };
    records.intend(SpawnId(0), &cut).unwrap();
    let foreign = foreign(state.path());
    let found = |intent| Found::Intent { intent, end: None };
    assert_eq!(foreign.read(SpawnId(u64::MAX)).unwrap(), found(longest.clone()));
    let cut = Intent { board: "b".repeat(63), ..longest };
    assert_eq!(foreign.read(SpawnId(0)).unwrap(), found(cut));
}

#[test]
fn the_lock_is_held_until_the_last_child_has_executed() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    let path = records.file.path().to_owned();
    let foreign = foreign(state.path());
    assert!(foreign.is_executing().unwrap());
    // A child has a copy of the descriptor until it executes its program.
    let of_a_child = records.file().try_clone_to_owned().unwrap();
    drop(records);
    assert!(foreign.is_executing().unwrap());
    drop(of_a_child);
    assert!(!foreign.is_executing().unwrap());
    assert!(!foreign.is_executing().unwrap(), "asking holds no lock");
    File::open(path).unwrap().try_lock().unwrap();
}

#[test]
fn the_dispatcher_that_takes_a_claim_over_writes_its_end_and_clears_it() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    for number in 0..3 {
        records.intend(SpawnId(number), &intent(number)).unwrap();
    }
    drop(records);
    let foreign = foreign(state.path());
    foreign.ended(SpawnId(1), VERDICT).unwrap();
    let ended = Found::Intent { intent: intent(1), end: Some(VERDICT) };
    assert_eq!(foreign.read(SpawnId(1)).unwrap(), ended);
    foreign.clear(SpawnId(0)).unwrap();
    foreign.clear(SpawnId(1)).unwrap();
    assert_eq!(foreign.spawns().unwrap(), [SpawnId(2)]);
    for refused in [foreign.ended(SpawnId(1), VERDICT), foreign.clear(SpawnId(1))] {
        let error = refused.unwrap_err();
        assert!(matches!(error, RecordsError::NoRecord { spawn: SpawnId(1), .. }), "{error}");
    }
}

#[test]
fn a_file_that_is_missing_is_told_from_one_that_is_no_evidence() {
    let state = tempfile::tempdir().unwrap();
    assert!(Foreign::open(state.path(), NAME).unwrap().is_none());
    let name = Foreign::open(state.path(), "../1").unwrap_err();
    assert!(matches!(name, RecordsError::Name(_)), "{name}");

    let path = small(state.path()).file.path().to_owned();
    let whole = fs::read(&path).unwrap();
    let changed = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for (bytes, expected) in [
        (vec![], "it ends within its header"),
        (whole[..header::LEN - 1].to_vec(), "it ends within its header"),
        (changed(0), "it is not a file of records"),
        (changed(8), "another version of sexton wrote it"),
        (changed(12), "its header is damaged, or another dispatcher's"),
        (changed(40), "its header is damaged, or another dispatcher's"),
        (changed(header::SLOTS as usize), "the number of its slots is damaged"),
        (header::encode("1.another").to_vec(), "its header is damaged, or another dispatcher's"),
    ] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(problem(state.path()), expected);
    }

    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_eq!(problem(state.path()), "it is not a regular file");
    fs::remove_file(&path).unwrap();
    symlink("/dev/null", &path).unwrap();
    let link = Foreign::open(state.path(), NAME).unwrap_err();
    assert!(matches!(link, RecordsError::System { what: "open", .. }), "{link}");
}

#[test]
fn a_truncated_file_proves_nothing_about_what_is_not_found_in_it() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    write_whole(&records, 1);
    let bytes = fs::read(records.file.path()).unwrap();
    for len in header::LEN..bytes.len() {
        let image = Image::new(bytes[..len].to_vec(), NAME).unwrap();
        let expected = if len < header::LEN + SLOT { Found::Damaged } else { whole(1) };
        assert_eq!(image.find(SpawnId(1)), expected, "{len}");
        assert_eq!(image.find(SpawnId(2)), Found::Damaged, "{len}");
    }
    let image = Image::new(bytes, NAME).unwrap();
    assert_eq!(image.find(SpawnId(2)), Found::NoIntent);
}

/// Returns true if it says nothing false about the attempt, and does not deny that there is one.
fn is_true(found: &Found, truth: &Found) -> bool {
    let Found::Started { intent, pid, start, end } = truth else { return false };
    match found {
        Found::Damaged => true,
        Found::Started { intent: i, pid: p, start: s, end: e } => {
            i == intent && p == pid && (s.is_none() || s == start) && (e.is_none() || e == end)
        }
        Found::NoIntent | Found::Intent { .. } => false,
    }
}

#[test]
fn a_record_that_is_missing_proves_nothing_once_a_gap_was_noted() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    write_whole(&records, 1);
    let foreign = Foreign::open(state.path(), NAME).unwrap().unwrap();
    assert_eq!(foreign.read(SpawnId(2)).unwrap(), Found::NoIntent);
    records.note_gap().unwrap();
    assert_eq!(foreign.read(SpawnId(2)).unwrap(), Found::Damaged);
    assert_eq!(foreign.read(SpawnId(1)).unwrap(), whole(1));
}

#[test]
fn no_change_of_one_byte_is_misread() {
    let state = tempfile::tempdir().unwrap();
    let records = small(state.path());
    write_whole(&records, 1);
    write_whole(&records, 2);
    let bytes = fs::read(records.file.path()).unwrap();
    for at in 0..header::LEN + SLOT {
        for change in 1..=u8::MAX {
            let mut bytes = bytes.clone();
            bytes[at] ^= change;
            let Ok(image) = Image::new(bytes, NAME) else {
                assert!(at < header::LEN, "{at}");
                continue;
            };
            if (header::GAPS as usize..header::LEN).contains(&at) {
                // Any value there means that a record may be missing.
                assert_eq!(image.find(SpawnId(3)), Found::Damaged, "{at}");
                assert_eq!(image.find(SpawnId(1)), whole(1), "{at}");
                continue;
            }
            assert!(at >= header::LEN, "{at} is not checked");
            let found = image.find(SpawnId(1));
            assert!(is_true(&found, &whole(1)), "{at} ^ {change}: {found:?}");
            // Bytes after the last part are not read, and no change before that may go unnoticed.
            assert_eq!(found == whole(1), at >= header::LEN + 184, "{at} ^ {change}: {found:?}");
            assert_eq!(image.find(SpawnId(2)), whole(2));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_never_taken_for_a_record(
        begins in prop_oneof![Just(0), 0..=SLOT],
        random in vec(any::<u8>(), 2 * SLOT),
        spawn in any::<u64>(),
    ) {
        let mut bytes = header::encode(NAME).to_vec();
        bytes[header::SLOTS as usize..][..8].copy_from_slice(&header::slots(2));
        // What comes before them is a truncated record.
        bytes.extend(&slot::intended(SpawnId(spawn), &intent(1))[..begins]);
        bytes.extend(&random[..2 * SLOT - begins]);
        let image = Image::new(bytes, NAME).unwrap();
        let found = image.find(SpawnId(spawn));
        let is_intact = begins >= slot::PID as usize;
        match found {
            Found::Damaged => {}
            Found::Intent { intent: i, end: None } => prop_assert!(is_intact && i == intent(1)),
            Found::NoIntent | Found::Intent { .. } | Found::Started { .. } => {
                prop_assert!(false, "{begins}: {found:?}");
            }
        }
        let empty = Image::new(random, NAME);
        prop_assert!(empty.is_err());
    }
}
