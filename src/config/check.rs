//! From the file's shape to a configuration: every rule that the shape alone does not enforce.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;

use crate::machine::policy::{self, Policy, WorkerPolicy};
use crate::process::logfile::Rotation;

use super::command::WorkerCommand;
use super::durations::Millis;
use super::file::{Completion, Dispatch, File, Leftovers, Worker};
use super::workers::is_name;
use super::{Config, ConfigError};

/// Parses and checks a whole file.
pub(super) fn config(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let file: File = toml::from_str(text).map_err(|error| {
        // Some of the parser's messages have several lines.
        let problem = error.message().trim().replace('\n', ", ");
        ConfigError::at(path, text, error.span(), format!("{problem}; correct this place"))
    })?;
    let source = Source { text, path };
    let mut config = Config {
        policy: source.policy(&file.dispatch)?,
        keeper: file.dispatch.keeper.unwrap_or(true),
        logs: source.logs(&file.dispatch)?,
        ..Config::default()
    };
    for (name, worker) in &file.worker {
        source.name(name)?;
        let (policy, command) = source.worker(worker)?;
        if config.workers.id_or_new(name.get_ref()).is_none() {
            return Err(source.wrong(name.span(), "there are too many workers; remove some"));
        }
        config.policy.workers.push(policy);
        config.commands.push(command);
    }
    config.policy.default_worker =
        file.dispatch.default_assignee.as_ref().map(|n| source.default(n, &config)).transpose()?;
    Ok(config)
}

/// The text that is being checked, for the place of each mistake.
struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn wrong(&self, span: Range<usize>, problem: impl Into<String>) -> ConfigError {
        ConfigError::at(self.path, self.text, Some(span), problem)
    }

    fn policy(&self, dispatch: &Dispatch) -> Result<Policy, ConfigError> {
        let default = Policy::default();
        Ok(Policy {
            interval_ms: match &dispatch.interval {
                Some(given) if given.get_ref().0 == 0 => {
                    return Err(self.wrong(given.span(), "interval must be at least \"1ms\""));
                }
                Some(given) => given.get_ref().0,
                None => default.interval_ms,
            },
            max_workers: self.cap(
                "max_workers",
                dispatch.max_workers.as_ref(),
                default.max_workers,
            )?,
            max_in_progress: self.cap(
                "max_in_progress",
                dispatch.max_in_progress.as_ref(),
                default.max_in_progress,
            )?,
            failure_limit: self.cap(
                "failure_limit",
                dispatch.failure_limit.as_ref(),
                default.failure_limit,
            )?,
            claim_ttl_s: match &dispatch.claim_ttl {
                Some(given) => self.seconds("claim_ttl", given, 1)?,
                None => default.claim_ttl_s,
            },
            cooldown_s: match &dispatch.cooldown {
                Some(given) => self.seconds("cooldown", given, 0)?,
                None => default.cooldown_s,
            },
            ..default
        })
    }

    fn logs(&self, dispatch: &Dispatch) -> Result<Rotation, ConfigError> {
        let default = Rotation::default();
        let rotate_bytes = match &dispatch.log_rotate_bytes {
            Some(given) => self.number("log_rotate_bytes", given, 1)?,
            None => default.rotate_bytes,
        };
        let backups = match &dispatch.log_backups {
            Some(given) => self.number("log_backups", given, 0)?,
            None => default.backups,
        };
        Ok(Rotation { rotate_bytes, backups })
    }

    /// A limit: at least one.
    fn cap(
        &self,
        key: &str,
        given: Option<&Spanned<i64>>,
        default: u32,
    ) -> Result<u32, ConfigError> {
        given.map_or(Ok(default), |given| self.number(key, given, 1))
    }

    fn number<T: TryFrom<i64>>(
        &self,
        key: &str,
        given: &Spanned<i64>,
        least: i64,
    ) -> Result<T, ConfigError> {
        let value = *given.get_ref();
        if value < least {
            let problem = format!("{key} is {value}, but must be at least {least}");
            return Err(self.wrong(given.span(), problem));
        }
        T::try_from(value).map_err(|_| {
            self.wrong(given.span(), format!("{key} is {value}, which is too large; lower it"))
        })
    }

    /// A duration that rows carry in whole seconds.
    fn seconds(&self, key: &str, given: &Spanned<Millis>, least: u32) -> Result<u32, ConfigError> {
        match given.get_ref().seconds() {
            Some(seconds) if seconds >= least => Ok(seconds),
            Some(_) => {
                Err(self.wrong(given.span(), format!("{key} must be at least \"{least}s\"")))
            }
            None => {
                let problem = format!(
                    "{key} is {}, but is kept in whole seconds, up to 136 years; round it",
                    given.get_ref()
                );
                Err(self.wrong(given.span(), problem))
            }
        }
    }

    fn name(&self, name: &Spanned<String>) -> Result<(), ConfigError> {
        if is_name(name.get_ref()) {
            return Ok(());
        }
        let problem = format!(
            "`{}` cannot be an assignee; use up to 64 of a-z, 0-9, `_` and `-`, and begin with a \
             letter or digit",
            name.get_ref()
        );
        Err(self.wrong(name.span(), problem))
    }

    fn default(
        &self,
        name: &Spanned<String>,
        config: &Config,
    ) -> Result<crate::machine::ids::WorkerId, ConfigError> {
        config.workers.id(name.get_ref()).ok_or_else(|| {
            let problem = format!(
                "default_assignee is `{0}`, but no such worker is configured; add [worker.{0}] or \
                 name one that is there",
                name.get_ref()
            );
            self.wrong(name.span(), problem)
        })
    }

    fn worker(&self, worker: &Worker) -> Result<(WorkerPolicy, WorkerCommand), ConfigError> {
        let command = self.command(worker)?;
        let default = WorkerPolicy::default();
        let max_runtime_s =
            worker.max_runtime.as_ref().map(|given| self.seconds("max_runtime", given, 1));
        let policy = WorkerPolicy {
            enabled: true,
            completion: match worker.completion {
                Completion::ExitStatus => policy::Completion::ExitStatus,
                Completion::Board => policy::Completion::Board,
            },
            needs_body: command.needs_body,
            max_runtime_s: max_runtime_s.transpose()?,
            kill_after_ms: worker
                .kill_after
                .as_ref()
                .map_or(default.kill_after_ms, |given| given.get_ref().0),
            keep_leftovers: match worker.leftovers {
                Leftovers::End => false,
                Leftovers::Keep => true,
            },
        };
        Ok((policy, command))
    }

    fn command(&self, worker: &Worker) -> Result<WorkerCommand, ConfigError> {
        let given = worker.command.get_ref();
        if given.first().is_none_or(|program| program.get_ref().is_empty()) {
            let problem =
                "command names no program; write for example [\"sh\", \"-c\", \"{body}\"]";
            return Err(self.wrong(worker.command.span(), problem));
        }
        for element in given {
            WorkerCommand::check(element.get_ref())
                .map_err(|problem| self.wrong(element.span(), problem))?;
        }
        for (name, value) in &worker.env {
            if name.get_ref().is_empty() || name.get_ref().contains(['=', '\0']) {
                let problem = "this cannot be the name of a variable; use letters, digits and `_`";
                return Err(self.wrong(name.span(), problem));
            }
            if value.get_ref().contains('\0') {
                let problem = "a variable cannot hold a zero byte; remove it";
                return Err(self.wrong(value.span(), problem));
            }
        }
        let env = worker.env.iter().map(|(n, v)| (n.get_ref().clone(), v.get_ref().clone()));
        let elements: Vec<&str> = given.iter().map(|e| e.get_ref().as_str()).collect();
        Ok(WorkerCommand::new(&elements, env.collect()))
    }
}
