//! A board's thread: the only one that talks to its SQLite file. It may hang with its disk; nothing
//! waits for it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::host::Host;
use super::post::{Message, Post};
use crate::board::{Board, Context, Stamps};
use crate::config::Config;
use crate::machine::exchange::Request;
use crate::machine::fault::{Commit, FaultClass};
use crate::machine::ids::{BoardId, SpawnId};

/// What a board thread is asked to do.
#[derive(Debug)]
pub enum Job {
    /// Check and open the board.
    Connect {
        /// Comes back in the answer.
        seq: u64,
        /// Only if it is not the file that was refused last time.
        if_changed: bool,
    },
    /// One exchange, with the texts that go with it.
    Exchange {
        /// Comes back in the answer.
        seq: u64,
        /// What to write and what to look for.
        request: Request,
        /// The configuration in force.
        config: Arc<Config>,
        /// What the machine does not carry.
        texts: Texts,
    },
    /// Let go of the file.
    Disconnect,
}

/// The texts that a request's changes need and the machine does not carry.
#[derive(Debug, Default)]
pub struct Texts {
    /// Why a worker could not be started.
    pub errors: BTreeMap<SpawnId, String>,
    /// What distinguishes a worker from other processes with its pid.
    pub fingerprints: BTreeMap<SpawnId, String>,
}

/// The loop's end of a board thread, which ends when this is dropped.
#[derive(Debug)]
pub struct BoardThread {
    jobs: Sender<Job>,
}

impl BoardThread {
    /// Starts the thread of a board.
    pub fn start(id: BoardId, path: &Path, host: &Arc<Host>, post: &Post) -> io::Result<Self> {
        let (jobs, inbox) = channel();
        let server = Server {
            id,
            path: path.to_owned(),
            host: Arc::clone(host),
            post: post.clone(),
            board: None,
            refused: None,
        };
        thread::Builder::new()
            .name(format!("board-{}", id.0))
            .spawn(move || server.serve(&inbox))?;
        Ok(BoardThread { jobs })
    }

    /// Hands it a job; the answer comes by post.
    pub fn ask(&self, job: Job) {
        // The thread ends only after its sender. If it panicked, the board's deadline passes.
        let _seen_at_the_deadline = self.jobs.send(job);
    }
}

/// What runs on the thread.
struct Server {
    id: BoardId,
    path: PathBuf,
    host: Arc<Host>,
    post: Post,
    board: Option<Board>,
    /// The file that was refused for its content.
    refused: Option<Stamps>,
}

impl Server {
    fn serve(mut self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Connect { seq, if_changed } => self.connect(seq, if_changed),
                Job::Exchange { seq, request, config, texts } => {
                    self.exchange(seq, &request, &config, &texts);
                }
                Job::Disconnect => self.board = None,
            }
        }
        self.board = None;
        self.post.send(Message::BoardThreadEnded(self.id));
    }

    fn connect(&mut self, seq: u64, if_changed: bool) {
        let before = Stamps::of(&self.path);
        if if_changed && self.refused.as_ref().is_some_and(|then| before.read_alike(then)) {
            return self.post.send(Message::ConnectFailed(self.id, seq, None));
        }
        self.board = None;
        self.refused = None;
        self.post.send(match Board::open(&self.path) {
            Ok(board) => {
                self.board = Some(board);
                Message::Connected(self.id, seq)
            }
            Err(error) => {
                if error.class == FaultClass::Content {
                    self.refused = Some(before);
                }
                Message::ConnectFailed(self.id, seq, Some(error))
            }
        });
    }

    fn exchange(&mut self, seq: u64, request: &Request, config: &Config, texts: &Texts) {
        let Some(board) = &mut self.board else {
            let error = crate::board::BoardError::not_open(&self.path);
            let commit = Commit::No;
            return self.post.send(Message::ExchangeFailed(self.id, seq, error, commit));
        };
        let context = Context {
            policy: &config.policy,
            workers: &config.workers,
            owner: self.host.owner(),
            spawn_error: &|spawn| texts.errors.get(&spawn).cloned(),
            fingerprint: &|spawn| texts.fingerprints.get(&spawn).cloned(),
            liveness: &*self.host,
        };
        self.post.send(match board.exchange(request, &context) {
            Ok(exchanged) => Message::Exchanged(self.id, seq, Box::new(exchanged)),
            Err(failed) => Message::ExchangeFailed(self.id, seq, failed.error, failed.commit),
        });
    }
}
