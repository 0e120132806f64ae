//! The temporary root: four boards, their tasks, and a configuration.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::{env, io};

use serde::Serialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::script::{BOARDS, CAUGHT, CHAINED, CONFIG, DEAF, FALLING, SCRIPT, State, TORN};
use super::{cannot, ends_within};
use crate::board::card::{self, Created, NewTask};
use crate::cli::failure::Failure;
use crate::root::{BoardPaths, Environment};
use crate::runtime::clock;

/// A task of the script as it was created.
#[derive(Debug, Serialize)]
pub struct Task {
    pub board: &'static str,
    pub id: String,
    pub title: String,
    pub does: &'static str,
    /// In which state, and after how many attempts.
    pub must_end: (State, usize),
}

/// Everything that the demo needs. Dropping it removes all of it.
#[derive(Debug)]
pub struct Stage {
    directory: TempDir,
    pub tasks: Vec<Task>,
}

impl Stage {
    /// Creates it, and damages one board before anything has it open.
    pub fn build() -> Result<Stage, Failure> {
        let failed = cannot("make a temporary directory");
        let directory = TempDir::with_prefix("sexton-demo-").map_err(&failed)?;
        let mut stage = Stage { directory, tasks: Vec::new() };
        fs::create_dir(stage.cue("")).map_err(&failed)?;
        for (index, board) in BOARDS.into_iter().enumerate() {
            let db = stage.db(board)?;
            fs::create_dir_all(db.parent().unwrap_or(&db)).map_err(&failed)?;
            crate::board::create(&db)?;
            stage.create_tasks(index, board)?;
        }
        fs::write(stage.directory.path().join("sexton.toml"), CONFIG).map_err(&failed)?;
        stage.damage(TORN)?;
        Ok(stage)
    }

    fn create_tasks(&mut self, index: usize, board: &'static str) -> Result<(), Failure> {
        Ok(card::write(&card::open(&self.db(board)?)?, |conn, columns| {
            for (name, counts, does, body, end, attempts) in SCRIPT {
                for number in 1..=counts.get(index).copied().unwrap_or_default() {
                    let parent = self.tasks.last().filter(|_| body == CHAINED && number > 1);
                    let new = NewTask {
                        title: format!("{name}-{number}"),
                        body: Some(body.to_owned()),
                        assignee: Some("shell".to_owned()),
                        parents: parent.map(|task| task.id.clone()).into_iter().collect(),
                        max_runtime_seconds: (body == DEAF).then_some(1),
                        ..NewTask::default()
                    };
                    let (Created::New(id) | Created::Existing(id)) =
                        card::create(conn, columns, clock::unix(), &new)?;
                    let (title, must_end) = (new.title, (end, attempts));
                    self.tasks.push(Task { board, id, title, does, must_end });
                }
            }
            Ok(())
        })?)
    }

    /// A file by which the workers and the demo give each other signs.
    pub fn cue(&self, name: &str) -> PathBuf {
        self.directory.path().join("cues").join(name)
    }

    pub fn db(&self, board: &str) -> Result<PathBuf, Failure> {
        Ok(BoardPaths::new(self.directory.path(), board.parse()?, &Environment::default()).db)
    }

    /// SHA-256 of a board's file, in hexadecimal.
    pub fn digest(&self, board: &str) -> Result<String, Failure> {
        let bytes = fs::read(self.db(board)?).map_err(cannot("read a board"))?;
        Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Damages a board when its workers run, and lets them go on. Returns the digest of the damaged
    /// file; `None` if that failed or sexton ended before.
    pub fn damage_under_workers(&self, sexton: &OwnedFd) -> Option<String> {
        while !CAUGHT.iter().all(|title| self.cue(title).exists()) {
            if ends_within(sexton, 10) {
                return None;
            }
        }
        // A moment in which they are seen to run.
        let _goes_on = ends_within(sexton, 500);
        self.damage(FALLING).ok()?;
        let digest = self.digest(FALLING).ok()?;
        File::create(self.cue("fallen")).ok()?;
        Some(digest)
    }

    /// Overwrites the header of a database. Closing the file costs this process the locks that its
    /// own reading connection may have, and sexton none.
    fn damage(&self, board: &str) -> Result<(), Failure> {
        let file = File::options().write(true).open(self.db(board)?);
        let written = file.and_then(|file| file.write_all_at(&[0xa5; 100], 0));
        written.map_err(cannot("damage a board"))
    }

    /// Starts `sexton run` on these boards, regardless of variables that name others.
    pub fn start_sexton(&self) -> io::Result<Child> {
        let is_ours = |name: &str| ["SEXTON_", "HERMES_"].iter().any(|own| name.starts_with(own));
        let others = env::vars_os().filter(|(name, _)| !is_ours(&name.to_string_lossy()));
        let log = env::var("SEXTON_LOG").ok().filter(|filter| !filter.is_empty());
        let mut command = Command::new(env::current_exe()?);
        command.env_clear().envs(others).env("CUES", self.cue(""));
        command.env("XDG_STATE_HOME", self.directory.path().join("state"));
        command.env("SEXTON_LOG", log.as_deref().unwrap_or("off"));
        command.args(["run", "--until-idle", "--grace", "1500ms", "--json", "--root"]);
        command.arg(self.directory.path()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn()
    }
}
