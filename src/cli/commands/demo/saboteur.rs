//! Harm to a board, done by a child process: opening and closing the file here would drop the locks
//! that SQLite has on it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread::{self, JoinHandle};

use nix::poll::{PollTimeout, poll};
use sha2::{Digest, Sha256};

use super::playbill::AT_THE_FALL;
use crate::cli::failure::Failure;
use crate::cli::out::Out;
use crate::runtime::clock;

/// The worker's sign that the damage is done.
const FALLEN: &str = "fallen";
/// The demo's sign that no damage is wanted any more.
const DISMISSED: &str = "dismissed";
/// Milliseconds for which the child waits for its moment.
const PATIENCE_MS: u64 = 20_000;
/// What takes the place of a database's first bytes.
const RUBBISH: [u8; 100] = [0xA5; 100];

/// The demo's side: a thread that starts the child and waits for it. A child of the main thread
/// would be taken for an orphan and reaped there.
#[derive(Debug)]
pub struct Saboteur {
    digest: Receiver<String>,
    thread: JoinHandle<()>,
}

impl Saboteur {
    /// Starts the child, which waits for the workers of `board`.
    pub fn hire(board: &Path, cues: &Path) -> io::Result<Saboteur> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("demo").arg("--damage").arg(board).arg("--cues").arg(cues);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let (tell, digest) = channel();
        let thread = thread::Builder::new().name("saboteur".to_owned()).spawn(move || {
            let said = command.output().map(|output| output.stdout).unwrap_or_default();
            let _demo_is_over = tell.send(String::from_utf8_lossy(&said).trim().to_owned());
        })?;
        Ok(Saboteur { digest, thread })
    }

    /// Ends it, and gives the digest of the damaged file; `None` if no damage was done.
    pub fn dismiss(self, cues: &Path) -> Option<String> {
        let _ends_by_itself = File::create(cues.join(DISMISSED));
        let _never_panics = self.thread.join();
        match self.digest.try_recv() {
            Ok(digest) if !digest.is_empty() => Some(digest),
            Ok(_) | Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }
}

/// The child's side: waits until the board's workers run, damages it, says what it is like now, and
/// lets the workers go on.
pub fn act(board: &Path, cues: &Path) -> Result<(), Failure> {
    let deadline = clock::now().mono.after(PATIENCE_MS);
    while started(cues) < AT_THE_FALL {
        if cues.join(DISMISSED).exists() || !cues.exists() || clock::now().mono >= deadline {
            return Ok(());
        }
        pause(10);
    }
    // A moment in which the board is seen with its workers.
    pause(500);
    tear(board).map_err(Failure::Output)?;
    let digest = digest(board).map_err(Failure::Output)?;
    File::create(cues.join(FALLEN)).map_err(Failure::Output)?;
    let mut out = Out::new();
    out.line(digest)?;
    out.flush()
}

/// Overwrites the first bytes of a database.
pub fn tear(board: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(board)?;
    file.write_all_at(&RUBBISH, 0)?;
    (&file).flush()?;
    file.sync_all()
}

/// SHA-256 of a file, in hexadecimal.
pub fn digest(path: &Path) -> io::Result<String> {
    let hash = Sha256::digest(fs::read(path)?);
    Ok(hash.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn started(cues: &Path) -> usize {
    let Ok(entries) = fs::read_dir(cues) else { return 0 };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().starts_with("started-")).count()
}

fn pause(millis: u16) {
    let _interrupted_or_over = poll(&mut [], PollTimeout::from(millis));
}
