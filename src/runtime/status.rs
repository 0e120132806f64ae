//! What only a dispatcher knows of its boards, for the commands of other processes to read: which
//! boards are out of use, until when, and why. It is a small file in the state directory.
//!
//! Each dispatcher writes a file of its own, `status.<pid>.json`, and readers merge those whose
//! writers live. With one file for all, the last writer would win: a healthy dispatcher, or one that
//! ends, would hide what another one knows.
//!
//! The file is there only while it has something to hold. Here is its format; `writer` is for the
//! dispatcher, `reader` for commands.

mod reader;
#[cfg(test)]
mod tests;
mod writer;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::reader::read;
pub use self::writer::StatusWriter;
use crate::machine::ids::Pid;
use crate::process::identity::{self, Alive, Domain, Instance};
use crate::regular;

/// A hold as other processes read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The board that it holds; `None`: all of them.
    pub board: Option<String>,
    /// The kind of hold.
    pub kind: Kind,
    /// Which sort of trouble, for a quarantine.
    pub class: Option<Class>,
    /// What happened, in words.
    pub reason: Option<String>,
    /// When it ends or is retried, in seconds since 1970.
    pub until: Option<i64>,
    /// Who can end it: `itself`, or who must act.
    pub ends_by: String,
}

/// A [`BoardHold`](crate::machine::hold::BoardHold) by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The file was refused, or fails.
    Quarantined,
    /// The board does not answer.
    Hung,
    /// Too many spawn threads hang.
    #[serde(rename = "spawn_lanes_stuck")]
    SpawnThreadsStuck,
    /// Workspaces or worker logs cannot be created.
    #[serde(rename = "folders_fail")]
    DirectoriesFail,
    /// It cannot be told whether the workers of adopted tasks are alive.
    WorkersUnclear,
    /// The host starts no processes.
    HostRefuses,
}

/// A [`FaultClass`](crate::machine::fault::FaultClass) by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Its bytes are wrong.
    Content,
    /// It cannot be read or written.
    Access,
    /// It is locked for too long.
    Busy,
    /// It is another file now.
    Replaced,
}

/// The content of a dispatcher's status file.
#[derive(Debug, Serialize, Deserialize)]
struct Status {
    writer: Writer,
    /// When it was written, in seconds since 1970.
    written_at: i64,
    holds: Vec<Told>,
}

/// Who wrote a file. Pids and start times mean something in one boot and one pid namespace only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Writer {
    pid: i32,
    /// In clock ticks since boot.
    start: u64,
    boot: String,
    pid_namespace: u64,
    time_namespace: u64,
}

impl Writer {
    fn this_process() -> io::Result<Writer> {
        let Instance { domain, start, .. } = Instance::own()?;
        Ok(Writer {
            pid: std::process::id().cast_signed(),
            start,
            boot: domain.boot_id,
            pid_namespace: domain.pid_namespace,
            time_namespace: domain.time_namespace,
        })
    }

    /// Whether it is alive; that is not known of one in another boot or namespace.
    fn alive(&self) -> Alive {
        let there = Domain {
            boot_id: self.boot.clone(),
            pid_namespace: self.pid_namespace,
            time_namespace: self.time_namespace,
        };
        if Domain::own().is_ok_and(|here| here == there) {
            identity::alive(Pid(self.pid), Some(&self.start.to_string()))
        } else {
            Alive::CannotTell
        }
    }
}

/// The files in a state directory that can be understood.
fn files(directory: &Path) -> Vec<(PathBuf, Status)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let named = entries.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("status.") && name.ends_with(".json")
    });
    named
        .filter_map(|path| {
            let status = serde_json::from_slice(&regular::read(&path).ok()?).ok()?;
            Some((path, status))
        })
        .collect()
}
