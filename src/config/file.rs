//! The shape of the file, as it stands: spans for messages, nothing checked yet.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::durations::Millis;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub dispatch: Dispatch,
    #[serde(default)]
    pub worker: BTreeMap<Spanned<String>, Worker>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Dispatch {
    pub interval: Option<Spanned<Millis>>,
    pub max_workers: Option<Spanned<i64>>,
    pub max_in_progress: Option<Spanned<i64>>,
    pub failure_limit: Option<Spanned<i64>>,
    pub default_assignee: Option<Spanned<String>>,
    pub claim_ttl: Option<Spanned<Millis>>,
    pub cooldown: Option<Spanned<Millis>>,
    pub keeper: Option<bool>,
    pub log_rotate_bytes: Option<Spanned<i64>>,
    pub log_backups: Option<Spanned<i64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Worker {
    pub command: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    pub completion: Completion,
    pub max_runtime: Option<Spanned<Millis>>,
    pub kill_after: Option<Spanned<Millis>>,
    #[serde(default)]
    pub leftovers: Leftovers,
    #[serde(default)]
    pub env: BTreeMap<Spanned<String>, Spanned<String>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Completion {
    #[default]
    ExitStatus,
    Board,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Leftovers {
    #[default]
    End,
    Keep,
}
