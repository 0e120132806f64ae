//! Where a command works: the root, the board, the configuration, and who is asking.

use rusqlite::{Connection, ErrorCode};

use crate::board::Columns;
use crate::board::card::{self, CardError, Opened};
use crate::config::Config;
use crate::root::{self, BoardPaths, Environment, Root, Slug};
use crate::runtime::clock;
use crate::runtime::status::{self, Told};

use super::describe::board_full;
use super::failure::Failure;
use super::globals::Globals;

/// The surroundings of one command.
#[derive(Debug)]
pub struct Place<'a> {
    /// The variables that were set.
    pub env: Environment,
    /// The directory that holds the boards.
    pub root: Root,
    globals: &'a Globals,
}

impl<'a> Place<'a> {
    /// Finds the root. It need not exist.
    pub fn find(globals: &'a Globals) -> Result<Place<'a>, Failure> {
        let env = Environment::of_this_process();
        let root = Root::choose(globals.root.as_deref(), &env)?;
        Ok(Place { env, root, globals })
    }

    /// Finds the root and insists that it exists.
    pub fn existing(globals: &'a Globals) -> Result<Place<'a>, Failure> {
        let place = Place::find(globals)?;
        if place.root.exists() {
            return Ok(place);
        }
        let path = place.root.path.display();
        Err(Failure::Refused(format!("the root {path} does not exist; `sexton init` makes it")))
    }

    /// The board that is meant.
    pub fn board(&self) -> Result<BoardPaths, Failure> {
        Ok(root::active_board(&self.root, self.globals.board.as_ref(), &self.env)?)
    }

    /// Its name, if it exists. Those that were `seen` do; the others are looked for.
    pub fn current(&self, seen: impl Fn(&Slug) -> bool) -> Option<Slug> {
        let exists = |slug: &Slug| seen(slug) || root::board_exists(&self.root.path, slug);
        root::active_slug(&self.root, self.globals.board.as_ref(), &self.env, exists).ok()
    }

    /// Reads the configuration of the root.
    pub fn config(&self) -> Result<Config, Failure> {
        Ok(Config::load(self.globals.config.as_deref(), &self.root.path, &self.env)?)
    }

    /// The failure limit in force. A verb on a card must not fail while the configuration is
    /// being edited; the client's own limit serves then.
    #[must_use]
    pub fn failure_limit(&self) -> u32 {
        self.config().map_or(2, |config| config.policy.failure_limit)
    }

    /// What running dispatchers say holds each board of this root.
    #[must_use]
    pub fn holds(&self) -> Vec<Told> {
        status::read(&self.root.path, &self.env)
    }

    /// What of it holds the board that is meant.
    pub fn board_holds(&self) -> Result<Vec<Told>, Failure> {
        let board = self.board()?;
        let mut holds = if self.is_in_root(&board) { self.holds() } else { Vec::new() };
        holds.retain(|told| is_about(told, &board));
        Ok(holds)
    }

    /// Whether the board's database is in this root. Dispatchers of this root do not serve a
    /// database from elsewhere, and the files beside it are not the board's own.
    #[must_use]
    pub fn is_in_root(&self, board: &BoardPaths) -> bool {
        BoardPaths::new(&self.root.path, board.slug.clone(), &self.env).db == board.db
    }

    /// Reads the board that is meant. Nothing can be written.
    pub fn read<T>(
        &self,
        query: impl FnOnce(&Connection, &Columns) -> Result<T, CardError>,
    ) -> Result<T, Failure> {
        let board = self.board()?;
        let read = card::open_for_reading(&board.db).map_err(Failure::from).and_then(|opened| {
            query(&opened.conn, &opened.columns).map_err(|error| explain(error, &board))
        });
        read.map_err(|failure| self.with_holds(failure))
    }

    /// Adds what dispatchers know of a board that cannot be read.
    fn with_holds(&self, failure: Failure) -> Failure {
        let Failure::Refused(mut message) = failure else { return failure };
        for told in self.board_holds().unwrap_or_default() {
            message.push_str(&format!("; held: {}", board_full(&told, clock::unix())));
        }
        Failure::Refused(message)
    }

    /// Runs a verb on the board that is meant, all or nothing, with the present second.
    pub fn write<T>(
        &self,
        verb: impl FnOnce(&Connection, &Columns, i64) -> Result<T, CardError>,
    ) -> Result<T, Failure> {
        let board = self.board()?;
        let opened: Opened = card::open(&board.db).map_err(|error| explain(error, &board))?;
        let now = clock::unix();
        card::write(&opened, |conn, columns| verb(conn, columns, now))
            .map_err(|error| explain(error, &board))
    }

    /// Who is asking: the profile of the calling agent, else a person.
    #[must_use]
    pub fn author(&self) -> String {
        self.env.text("HERMES_PROFILE").unwrap_or("user").to_owned()
    }

    /// The run that the caller belongs to, if it is the worker of this task. What it writes then
    /// counts only while that run is the task's current one.
    #[must_use]
    pub fn own_run(&self, task: &str) -> Option<i64> {
        let run_in = |task_name, run_name| {
            let is_own = self.env.text(task_name) == Some(task);
            is_own.then(|| self.env.text(run_name)?.parse().ok()).flatten()
        };
        run_in("SEXTON_TASK_ID", "SEXTON_RUN_ID")
            .or_else(|| run_in("HERMES_KANBAN_TASK", "HERMES_KANBAN_RUN_ID"))
    }
}

/// Whether a hold is one of this board's, or of all.
#[must_use]
pub fn is_about(told: &Told, board: &BoardPaths) -> bool {
    told.board.as_deref().is_none_or(|name| name == board.slug.as_str())
}

/// Adds which board refused, and what a busy one means.
fn explain(error: CardError, board: &BoardPaths) -> Failure {
    let CardError::Sqlite(sqlite) = &error else { return error.into() };
    let db = board.db.display();
    Failure::Refused(match sqlite.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            format!("another process keeps the board {db} busy; nothing was changed, try again")
        }
        _ => format!("the board {db} cannot be used: {sqlite}"),
    })
}
