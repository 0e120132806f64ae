//! The configuration as a file again.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::machine::policy::{Completion, WorkerPolicy};

use super::durations::Millis;
use super::{Config, WorkerCommand};

#[derive(Serialize)]
struct File<'a> {
    dispatch: Dispatch<'a>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    worker: BTreeMap<&'a str, Worker<'a>>,
}

#[derive(Serialize)]
struct Dispatch<'a> {
    interval: String,
    max_workers: u32,
    max_in_progress: u32,
    failure_limit: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_assignee: Option<&'a str>,
    claim_ttl: String,
    cooldown: String,
    keeper: bool,
    log_rotate_bytes: u64,
    log_backups: u32,
}

#[derive(Serialize)]
struct Worker<'a> {
    command: &'a [String],
    completion: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_runtime: Option<String>,
    kill_after: String,
    leftovers: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    env: &'a BTreeMap<String, String>,
}

pub(super) fn config(config: &Config) -> String {
    let policy = &config.policy;
    let named = config.workers.names().zip(&policy.workers).zip(&config.commands);
    let file = File {
        dispatch: Dispatch {
            interval: Millis(policy.interval_ms).to_string(),
            max_workers: policy.max_workers,
            max_in_progress: policy.max_in_progress,
            failure_limit: policy.failure_limit,
            default_assignee: policy.default_worker.and_then(|id| config.workers.name(id)),
            claim_ttl: seconds(policy.claim_ttl_s),
            cooldown: seconds(policy.cooldown_s),
            keeper: config.keeper,
            log_rotate_bytes: config.logs.rotate_bytes,
            log_backups: config.logs.backups,
        },
        worker: named
            .filter(|((_, policy), _)| policy.enabled)
            .map(|((name, policy), command)| (name, worker(policy, command)))
            .collect(),
    };
    // Only texts, numbers and lists: there is nothing in it that TOML could not hold.
    toml::to_string(&file).unwrap_or_default()
}

fn worker<'a>(policy: &WorkerPolicy, command: &'a WorkerCommand) -> Worker<'a> {
    Worker {
        command: command.source(),
        completion: match policy.completion {
            Completion::ExitStatus => "exit-status",
            Completion::Board => "board",
        },
        max_runtime: policy.max_runtime_s.map(seconds),
        kill_after: Millis(policy.kill_after_ms).to_string(),
        leftovers: if policy.keep_leftovers { "keep" } else { "end" },
        env: &command.env,
    }
}

fn seconds(seconds: u32) -> String {
    Millis(u64::from(seconds) * 1000).to_string()
}
