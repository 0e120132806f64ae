use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use super::reader::merge;
use super::writer::{remove_dead, told, write};
use super::*;
use crate::machine::fault::FaultClass;
use crate::machine::hold::BoardHold;
use crate::machine::ids::BoardId;
use crate::machine::time::{Mono, Now};
use crate::root::{Environment, state_directory};
use crate::runtime::report::Names;

/// Long enough for anything on a busy machine.
const PATIENCE: Duration = Duration::from_secs(45);

fn names() -> Names {
    let mut names = Names::default();
    names.boards.insert(BoardId(0), "beta".to_owned());
    names.faults.insert(BoardId(0), "cannot open".to_owned());
    names
}

fn quarantined(until: u64) -> BoardHold {
    BoardHold::Quarantined { class: FaultClass::Access, until: Mono(until) }
}

fn now() -> Now {
    Now { mono: Mono(500), unix: 1_000 }
}

#[test]
fn every_hold_is_reported_with_its_end_or_with_who_ends_it() {
    let until = Mono(3_501);
    for (board, hold, kind, end) in [
        (true, quarantined(3_501), Kind::Quarantined, Some(1_004)),
        (true, BoardHold::Hung, Kind::Hung, None),
        (true, BoardHold::SpawnThreadsStuck, Kind::SpawnThreadsStuck, None),
        (true, BoardHold::DirectoriesFail { until }, Kind::DirectoriesFail, Some(1_004)),
        (false, BoardHold::HostRefuses { errno: 11, until }, Kind::HostRefuses, Some(1_004)),
    ] {
        let told = told(board.then_some(BoardId(0)), hold, &names(), now());
        assert_eq!((told.kind, told.until), (kind, end));
        assert_eq!(told.ends_by, if end.is_some() { "itself" } else { "operator" });
        assert_eq!(told.board.as_deref(), board.then_some("beta"));
    }
    let told = told(Some(BoardId(0)), quarantined(0), &names(), now());
    assert_eq!((told.class, told.reason.as_deref()), (Some(Class::Access), Some("cannot open")));
}

#[test]
fn holds_of_several_writers_are_merged_and_the_longest_of_a_kind_stays() {
    let tell = |hold| vec![told(Some(BoardId(0)), hold, &names(), now())];
    let all = [tell(quarantined(1_500)), tell(BoardHold::Hung), tell(quarantined(9_500))];
    let merged = merge(all.into_iter());
    let short: Vec<_> = merged.iter().map(|told| (told.kind, told.until)).collect();
    assert_eq!(short, [(Kind::Quarantined, Some(1_009)), (Kind::Hung, None)]);
}

/// A root and its environment with a state directory, all in one directory.
fn place() -> (tempfile::TempDir, PathBuf, Environment) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    let state = dir.path().join("state");
    let env = Environment::of(&[("XDG_STATE_HOME", state.to_str().unwrap())]);
    (dir, root, env)
}

fn some() -> Vec<Told> {
    vec![told(Some(BoardId(0)), quarantined(9_500), &names(), now())]
}

#[test]
fn the_file_exists_only_while_there_is_a_hold() {
    let (_dir, root, env) = place();
    let directory = state_directory(&root, &env).unwrap();
    write(&root, &env, Vec::new()).unwrap();
    assert!(!directory.exists(), "nothing is made for nothing");
    write(&root, &env, some()).unwrap();
    assert_eq!(read(&root, &env), some());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
    write(&root, &env, Vec::new()).unwrap();
    assert_eq!(read(&root, &env), []);
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn the_dead_are_neither_believed_nor_kept_and_strangers_are_only_not_believed() {
    let (_dir, root, env) = place();
    let directory = state_directory(&root, &env).unwrap();
    fs::create_dir_all(&directory).unwrap();
    let me = Writer::this_process().unwrap();
    let dead = Writer { start: me.start + 1, ..me.clone() };
    let other_boot = Writer { boot: "another".to_owned(), ..me.clone() };
    for (name, writer) in [("1", dead), ("2", other_boot)] {
        let status = Status { writer, written_at: 0, holds: some() };
        let text = serde_json::to_vec(&status).unwrap();
        fs::write(directory.join(format!("status.{name}.json")), text).unwrap();
    }
    fs::write(directory.join("status.3.json"), "{").unwrap();
    assert_eq!(read(&root, &env), []);
    remove_dead(&directory);
    assert!(!directory.join("status.1.json").exists());
    assert!(directory.join("status.2.json").exists() && directory.join("status.3.json").exists());
}

#[test]
fn what_has_not_changed_is_not_written_and_the_end_removes_it() {
    let (_dir, root, env) = place();
    let file = state_directory(&root, &env).unwrap();
    let file = file.join(format!("status.{}.json", std::process::id()));
    let mut writer = StatusWriter::start(root, env).unwrap();
    let standing = vec![(Some(BoardId(0)), quarantined(9_500))];
    writer.tell(standing.clone(), |_| some());
    writer.threads.finish(PATIENCE);
    assert!(file.exists());
    writer.tell(standing, |_| panic!("the same again"));
    drop(writer);
    assert!(!file.exists());
}

#[test]
fn a_wait_is_over_at_its_end_and_a_quarantine_when_its_writer_removes_it() {
    let until = Mono(500);
    let over = |hold| told(Some(BoardId(0)), hold, &names(), now()).is_over(1_001);
    assert!(over(BoardHold::DirectoriesFail { until }));
    assert!(over(BoardHold::HostRefuses { errno: 11, until }));
    assert!(!over(BoardHold::DirectoriesFail { until: Mono(1_500) }));
    assert!(!over(quarantined(500)) && !over(BoardHold::Hung));
}

#[test]
fn a_state_directory_that_hangs_delays_nothing() {
    let (_dir, root, env) = place();
    let directory = state_directory(&root, &env).unwrap();
    fs::create_dir_all(&directory).unwrap();
    let new = directory.join(format!("status.{}.new", std::process::id()));
    // It has no reader, so that opening it to write waits.
    nix::unistd::mkfifo(&new, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut writer = StatusWriter::start(root, env).unwrap();
    for n in 0..3 {
        writer.tell(vec![(Some(BoardId(0)), quarantined(n))], |_| some());
        while n == 0 && writer.threads.waiting() > 0 {
            thread::yield_now();
        }
    }
    assert_eq!(writer.threads.waiting(), 1, "the thread hangs over the first");
    drop(writer);
    assert!(new.exists());
}

#[test]
fn a_state_directory_that_fails_delays_nothing() {
    let (dir, root, env) = place();
    fs::write(dir.path().join("state"), "a file").unwrap();
    let mut writer = StatusWriter::start(root, env).unwrap();
    writer.tell(vec![(None, BoardHold::Hung)], |_| some());
    drop(writer);
}
