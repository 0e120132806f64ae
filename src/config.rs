//! `sexton.toml`: who runs tasks, how many at a time, and how patiently.
//!
//! Nothing here knows what runs: a configuration is read whole, checked whole, and handed on.
//! Every mistake is refused with the file, line and column at which it stands.

mod check;
mod command;
mod durations;
mod error;
mod file;
mod print;
mod text;
mod workers;

use std::io;
use std::path::{Path, PathBuf, absolute};

use crate::board::card::Judge;
use crate::machine::policy::{Policy, WorkerPolicy};
use crate::process::logfile::Rotation;
use crate::regular;

use crate::root::Environment;

pub use crate::board::Workers;
pub use command::{Facts, WorkerCommand};
pub use error::ConfigError;
pub use text::DEFAULT_TEXT;

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the machine decides by.
    pub policy: Policy,
    /// Which name belongs to which worker of the policy.
    pub workers: Workers,
    /// What each worker executes, in the order of the policy's workers.
    pub commands: Vec<WorkerCommand>,
    /// Whether a keeper holds the workers' pidfds while no dispatcher runs.
    pub keeper: bool,
    /// How log files are rotated.
    pub logs: Rotation,
    /// The file that it was read from; `None` if there is none, and all is default.
    pub path: Option<PathBuf>,
    search: Search,
}

/// Where the file is looked for, now and at each reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Search {
    /// There, and it must be there.
    Exactly(PathBuf),
    /// The first of these that exists.
    FirstOf(Vec<PathBuf>),
    /// Nowhere: it was parsed from a text.
    #[default]
    Nowhere,
}

impl Config {
    /// Reads the file that `flag` names, else `sexton.toml` in the root, else the one in the XDG
    /// config directory; without any of them everything is default, and no worker is configured.
    pub fn load(
        flag: Option<&Path>,
        root: &Path,
        env: &Environment,
    ) -> Result<Config, ConfigError> {
        let search = match flag {
            Some(path) => Search::Exactly(absolute(path).unwrap_or_else(|_| path.to_owned())),
            None => {
                let user = env.directory("XDG_CONFIG_HOME", ".config");
                let user = user.map(|directory| directory.join("sexton/sexton.toml"));
                let places = [Some(root.join("sexton.toml")), user];
                Search::FirstOf(places.into_iter().flatten().collect())
            }
        };
        Config::search(search)
    }

    fn search(search: Search) -> Result<Config, ConfigError> {
        let found = match &search {
            Search::Exactly(path) => Some((path.clone(), read(path)?)),
            Search::FirstOf(places) => first_that_exists(places)?,
            Search::Nowhere => None,
        };
        let mut config = match &found {
            Some((path, text)) => Config::parse(text, path)?,
            None => Config::default(),
        };
        config.path = found.map(|(path, _)| path);
        config.search = search;
        Ok(config)
    }

    /// Makes a configuration of a text; `path` is only for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        check::config(text, path)
    }

    /// By what tasks are judged at this second since 1970.
    #[must_use]
    pub fn judge(&self, now: i64) -> Judge<'_> {
        Judge { policy: &self.policy, workers: &self.workers, now }
    }

    /// Reads again. Workers keep their numbers; one that is no longer named is switched off, so that
    /// what still runs for it keeps its settings and nothing new is started.
    pub fn reload(&self) -> Result<Config, ConfigError> {
        Ok(Config::search(self.search.clone())?.renumbered_after(self))
    }

    fn renumbered_after(self, old: &Config) -> Config {
        let mut merged = Config {
            policy: Policy { workers: old.policy.workers.clone(), ..self.policy.clone() },
            workers: old.workers.clone(),
            commands: old.commands.clone(),
            keeper: self.keeper,
            logs: self.logs,
            path: self.path.clone(),
            search: self.search.clone(),
        };
        for worker in &mut merged.policy.workers {
            worker.enabled = false;
        }
        for ((name, policy), command) in
            self.workers.names().zip(&self.policy.workers).zip(&self.commands)
        {
            merged.put(name, *policy, command.clone());
        }
        let default = self.policy.default_worker.and_then(|id| self.workers.name(id));
        merged.policy.default_worker = default.and_then(|name| merged.workers.id(name));
        merged
    }

    /// Sets a worker's settings under its name, with the number that the name has or a new one.
    fn put(&mut self, name: &str, policy: WorkerPolicy, command: WorkerCommand) {
        let index = self.workers.id_or_new(name).map(|id| usize::from(id.0));
        match index {
            Some(index) if index < self.commands.len() => {
                if let Some(slot) = self.policy.workers.get_mut(index) {
                    *slot = policy;
                }
                if let Some(slot) = self.commands.get_mut(index) {
                    *slot = command;
                }
            }
            _ => {
                self.policy.workers.push(policy);
                self.commands.push(command);
            }
        }
    }

    /// The configuration as a file that parses to the same. Workers that a reload switched off are
    /// left out.
    #[must_use]
    pub fn to_toml(&self) -> String {
        print::config(self)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            policy: Policy::default(),
            workers: Workers::default(),
            commands: Vec::new(),
            keeper: true,
            logs: Rotation::default(),
            path: None,
            search: Search::Nowhere,
        }
    }
}

fn first_that_exists(places: &[PathBuf]) -> Result<Option<(PathBuf, String)>, ConfigError> {
    for path in places {
        match read(path) {
            Ok(text) => return Ok(Some((path.clone(), text))),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn read(path: &Path) -> Result<String, ConfigError> {
    regular::read_to_string(path).map_err(|source| {
        // A directory on the way that is a file is the same to the reader: nothing is there.
        let nothing = source.kind() == io::ErrorKind::NotADirectory;
        let source = if nothing { io::ErrorKind::NotFound.into() } else { source };
        ConfigError::Read { path: path.to_owned(), source }
    })
}

#[cfg(test)]
mod tests;
