//! The temporary root: four boards, their tasks, and a configuration.

use std::fs;
use std::path::{Path, PathBuf};

use crate::board::card::{self, Created, NewTask};
use crate::config::Config;
use crate::root::{BoardPaths, Environment, Slug};
use crate::runtime::clock;

use super::cannot;
use super::playbill::{ACTS, AT_THE_FALL, Act, FALLING, HEALTHY, TORN};
use super::saboteur::{self, digest};
use crate::cli::failure::Failure;

/// A task of the playbill as it was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it is to do.
    pub act: Act,
    /// Its id.
    pub id: String,
}

/// Everything that the demo needs; gone when dropped.
#[derive(Debug)]
pub struct Stage {
    folder: tempfile::TempDir,
    /// Where workers and demo leave signs for each other.
    pub cues: PathBuf,
    /// What sexton is told.
    pub config: Config,
    /// The tasks.
    pub tasks: Vec<Made>,
    falling: BoardPaths,
    torn: BoardPaths,
}

impl Stage {
    /// Makes it. One board is damaged at once, while nobody has it open.
    pub fn build() -> Result<Stage, Failure> {
        let folder = tempfile::Builder::new().prefix("sexton-demo-").tempdir();
        let folder = folder.map_err(cannot("make a temporary folder"))?;
        let cues = folder.path().join("cues");
        fs::create_dir(&cues).map_err(cannot("make a temporary folder"))?;
        let root = folder.path().join("root");
        let mut tasks = Vec::new();
        for name in [HEALTHY[0], HEALTHY[1], FALLING, TORN] {
            tasks.extend(make_board(&paths(&root, name)?, name)?);
        }
        let (falling, torn) = (paths(&root, FALLING)?, paths(&root, TORN)?);
        saboteur::tear(&torn.db).map_err(cannot("damage a board"))?;
        let config = config(&cues)?;
        Ok(Stage { folder, cues, config, tasks, falling, torn })
    }

    /// The folder that holds the boards.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// The files of a board.
    pub fn board(&self, name: &str) -> Result<BoardPaths, Failure> {
        paths(&self.root(), name)
    }

    /// The board that is damaged while its workers run.
    #[must_use]
    pub fn falling(&self) -> &BoardPaths {
        &self.falling
    }

    /// The digest of the board that was damaged first. Only while nobody here has it open.
    pub fn digest_of_torn(&self) -> Result<String, Failure> {
        digest(&self.torn.db).map_err(cannot("read a board"))
    }

    /// The digest of the other. Only while nobody here has it open.
    pub fn digest_of_falling(&self) -> Result<String, Failure> {
        digest(&self.falling.db).map_err(cannot("read a board"))
    }
}

fn paths(root: &Path, name: &str) -> Result<BoardPaths, Failure> {
    let slug: Slug = name.parse()?;
    Ok(BoardPaths::new(root, slug, &Environment::default()))
}

fn make_board(paths: &BoardPaths, name: &str) -> Result<Vec<Made>, Failure> {
    let folder = paths.db.parent().unwrap_or(&paths.db);
    fs::create_dir_all(folder).map_err(cannot("make a temporary folder"))?;
    crate::board::create(&paths.db)?;
    let opened = card::open(&paths.db)?;
    let now = clock::unix();
    let made = card::write(&opened, |conn, columns| {
        let mut made: Vec<Made> = Vec::new();
        for act in ACTS.into_iter().filter(|act| act.board == name) {
            let parents = made.iter().filter(|m| act.after == Some(m.act.title));
            let parents = parents.map(|m| m.id.clone()).collect();
            let (Created::New(id) | Created::Existing(id)) =
                card::create(conn, columns, now, &new_task(act, parents))?;
            made.push(Made { act, id });
        }
        Ok(made)
    });
    Ok(made?)
}

fn new_task(act: Act, parents: Vec<String>) -> NewTask {
    NewTask {
        title: act.title.to_owned(),
        body: Some(act.body.to_owned()),
        assignee: Some("shell".to_owned()),
        parents,
        max_runtime_seconds: act.limit_s,
        created_by: "demo".to_owned(),
        ..NewTask::default()
    }
}

fn config(cues: &Path) -> Result<Config, Failure> {
    let cues = toml::Value::String(cues.to_string_lossy().into_owned());
    let text = format!(
        "[dispatch]\n\
         interval = \"1s\"\n\
         max_workers = 12\n\
         max_in_progress = {AT_THE_FALL}\n\
         failure_limit = 2\n\
         cooldown = \"5m\"\n\
         [worker.shell]\n\
         command = [\"sh\", \"-c\", \"{{body}}\"]\n\
         kill_after = \"500ms\"\n\
         env = {{ CUES = {cues} }}\n"
    );
    Ok(Config::parse(&text, Path::new("the demo's configuration"))?)
}
