//! The demo's boards and tasks.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::board;
use crate::board::card::{self, Created, NewTask};
use crate::runtime::clock;
use crate::runtime::root::{BoardPaths, Environment, Slug};

use super::super::Failure;

/// The board that is damaged from the start, and the one that falls.
pub const TORN: &str = "torn";
/// See [`TORN`].
pub const FALLING: &str = "falling";
/// The boards that stay sound.
pub const SOUND: [&str; 2] = ["default", "second"];
/// How many tasks the falling board has.
pub const FALLING_TASKS: usize = 3;
/// How many tasks the sound boards have.
pub const TASKS: u64 = 30;

/// One worker that executes bodies, patient for half a second.
pub const CONFIG: &str = r#"
[dispatch]
max_workers = 12
max_in_progress = 5
default_assignee = "shell"

[worker.shell]
command = ["sh", "-c", "{body}"]
kill_after = "500ms"
"#;

/// What each kind of task is called, what it does, and how many there are on each sound board.
const KINDS: [(&str, &str, usize); 6] = [
    ("does its work", "echo working", 8),
    ("fails each time", "exit 3", 1),
    ("is killed", "kill -9 $$", 1),
    ("meets a rate limit", "exit 75", 1),
    ("leaves a process behind", "sleep 60 & echo gone", 1),
    ("is deaf and out of time", "trap '' TERM; while :; do sleep 1; done", 1),
];

/// The boards, as made.
pub struct Boards {
    root: PathBuf,
    /// The digest of the board that was damaged from the start.
    pub torn: Option<String>,
}

impl Boards {
    /// Makes them.
    pub fn make(root: &Path) -> Result<Boards, Failure> {
        let boards = Boards { root: root.to_owned(), torn: None };
        for slug in SOUND {
            boards.make_one(slug, |add| {
                for (title, body, count) in KINDS {
                    for _ in 0..count {
                        add(title, body, None)?;
                    }
                }
                let parent = add("is a parent", "echo parent", None)?;
                add("waits for its parent", "echo child", Some(parent))?;
                Ok(())
            })?;
        }
        let gate = boards.gate();
        let waiting = format!("until [ -e '{}' ]; do sleep 0.05; done", gate.display());
        boards.make_one(FALLING, |add| {
            let fall = "sees its board fall";
            (0..FALLING_TASKS).try_for_each(|_| add(fall, &waiting, None).map(drop))
        })?;
        boards.make_one(TORN, |add| add("is out of reach", "echo never", None).map(drop))?;
        damage(&boards.db(TORN)).map_err(|error| Failure::Refused(error.to_string()))?;
        let torn = digest(&boards.db(TORN));
        Ok(Boards { torn, ..boards })
    }

    /// The file that the falling board's workers wait for.
    pub fn gate(&self) -> PathBuf {
        self.root.join("gate")
    }

    /// Where a board's database is.
    pub fn db(&self, slug: &str) -> PathBuf {
        self.paths(slug).map(|paths| paths.db).unwrap_or_default()
    }

    fn paths(&self, slug: &str) -> Option<BoardPaths> {
        let slug: Slug = slug.parse().ok()?;
        Some(BoardPaths::new(&self.root, slug, &Environment::of(&[])))
    }

    fn make_one(
        &self,
        slug: &str,
        fill: impl FnOnce(&mut Adder<'_>) -> Result<(), card::CardError>,
    ) -> Result<(), Failure> {
        let db = self.db(slug);
        let folder = db.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|error| Failure::Refused(error.to_string()))?;
        board::create(&db)?;
        let opened = card::open(&db)?;
        let now = clock::unix();
        card::write(&opened, |conn, columns| {
            fill(&mut |title, body, parent| {
                let limited = title.contains("out of time");
                let task = NewTask {
                    title: title.to_owned(),
                    body: Some(body.to_owned()),
                    assignee: Some("shell".to_owned()),
                    created_by: "demo".to_owned(),
                    parents: parent.into_iter().collect(),
                    max_runtime_seconds: limited.then_some(1),
                    max_retries: limited.then_some(1),
                    ..NewTask::default()
                };
                match card::create(conn, columns, now, &task)? {
                    Created::New(id) | Created::Existing(id) => Ok(id),
                }
            })
        })?;
        Ok(())
    }
}

/// Adds a task: title, body, parent.
type Adder<'a> = dyn FnMut(&str, &str, Option<String>) -> Result<String, card::CardError> + 'a;

/// Overwrites the head of a file.
pub fn damage(file: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(file)?;
    file.write_all(b"this was a board")?;
    file.sync_all()
}

/// The digest of a file that nobody in this process has open.
pub fn digest(file: &Path) -> Option<String> {
    let bytes = fs::read(file).ok()?;
    Some(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The digest of a file that this process has open: read by another.
pub fn digest_by_child(file: &Path) -> Option<String> {
    let output = Command::new("sha256sum").arg(file).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.split_whitespace().next().map(str::to_owned)
}
