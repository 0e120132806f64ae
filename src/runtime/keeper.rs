//! The connection to the keeper. A thread that lives as long as the program starts one if there is none,
//! and another when it is gone: its child must not be one of the main thread, which takes all of its own
//! for orphans.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::evidence::keeper::client::Keeper;
use crate::evidence::keeper::tag::Tag;
use crate::machine::ids::{Pid, SpawnId};
use crate::process::children::Children;
use crate::process::pidfd;

/// Milliseconds after which a keeper that cannot be reached is tried again.
const AGAIN_MS: u16 = 1_000;

/// This program, even if its file was replaced.
const PROGRAM: &str = "/proc/self/exe";

/// The keeper, while one is there.
#[derive(Clone, Debug, Default)]
pub struct KeeperLink {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    keeper: Option<Arc<Keeper>>,
    /// What a new keeper must be given: the workers that live, by their tags.
    tags: BTreeMap<SpawnId, Tag>,
}

impl KeeperLink {
    /// Starts the thread, and waits for this long until a keeper is there. Without one the work goes on.
    pub fn start(state: &Path, children: Children, patience_ms: u64) -> KeeperLink {
        let (link, (ready, is_ready)) = (KeeperLink::default(), channel());
        let (there, state) = (link.clone(), state.to_owned());
        let serve = move || there.serve(&state, &children, &ready);
        match thread::Builder::new().name("keeper".to_owned()).spawn(serve) {
            Ok(_) => {
                let patience = Duration::from_millis(patience_ms);
                let _there_or_late = is_ready.recv_timeout(patience);
            }
            Err(error) => {
                tracing::warn!("cannot start the thread of the keeper: {error}; {WITHOUT}");
            }
        }
        link
    }

    /// The keeper, if one is there now.
    pub fn get(&self) -> Option<Arc<Keeper>> {
        self.shared().keeper.clone()
    }

    /// A worker is about to be started, and will hand its pidfd over by itself.
    pub fn expect(&self, spawn: SpawnId, tag: Tag) {
        self.shared().tags.insert(spawn, tag);
    }

    /// Hands over the pidfd of a worker that could not do so itself.
    pub fn hand_over(&self, spawn: SpawnId, children: &Children) {
        let shared = self.shared();
        if let (Some(keeper), Some(tag)) = (&shared.keeper, shared.tags.get(&spawn)) {
            hand_over(keeper, spawn, tag, children);
        }
    }

    /// Has the keeper drop a worker: its run is recorded.
    pub fn forget(&self, lock: &str) {
        let mut shared = self.shared();
        shared.tags.retain(|_, tag| tag.lock() != lock);
        if let Some(keeper) = &shared.keeper {
            let _kept_in_vain = keeper.forget(lock);
        }
    }

    fn serve(&self, state: &Path, children: &Children, ready: &Sender<()>) {
        let (mut said, mut started) = (false, Started::default());
        loop {
            match Keeper::connect_or_start(Path::new(PROGRAM), state) {
                Ok((keeper, child)) => {
                    said = false;
                    started.0.extend(child);
                    let keeper = Arc::new(keeper);
                    self.publish(&keeper, children);
                    let _only_the_first_is_waited_for = ready.send(());
                    started.wait(Some(keeper.socket()), PollTimeout::NONE);
                    self.shared().keeper = None;
                    tracing::warn!("the connection to the keeper has ended; it is made again");
                }
                Err(error) if !said => {
                    said = true;
                    tracing::warn!("{error}; {WITHOUT}");
                }
                Err(_) => {}
            }
            started.wait(None, PollTimeout::from(AGAIN_MS));
        }
    }

    fn publish(&self, keeper: &Arc<Keeper>, children: &Children) {
        let mut shared = self.shared();
        for (spawn, tag) in &shared.tags {
            hand_over(keeper, *spawn, tag, children);
        }
        shared.keeper = Some(Arc::clone(keeper));
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What it means that there is none.
pub const WITHOUT: &str =
    "if this dispatcher is killed, how workers end before the next one comes is unknown";

fn hand_over(keeper: &Keeper, spawn: SpawnId, tag: &Tag, children: &Children) {
    if let Some(pidfd) = children.pidfd(spawn) {
        let _not_kept = keeper.keep(tag, pidfd.as_fd());
    }
}

/// The keepers that this thread has started and not reaped. One may outlive the connection to it.
#[derive(Default)]
struct Started(Vec<Child>);

impl Started {
    /// Waits for the end of the connection or of the time, and reaps the keepers that end meanwhile.
    fn wait(&mut self, connection: Option<BorrowedFd<'_>>, timeout: PollTimeout) {
        loop {
            self.0.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            let pids = self.0.iter().map(|child| Pid(child.id().cast_signed()));
            let keepers: Vec<OwnedFd> = pids.filter_map(|pid| pidfd::open(pid).ok()).collect();
            let mut fds: Vec<PollFd<'_>> = keepers
                .iter()
                .map(|keeper| PollFd::new(keeper.as_fd(), PollFlags::POLLIN))
                .collect();
            fds.extend(connection.map(|socket| PollFd::new(socket, PollFlags::empty())));
            let ready = poll(&mut fds, timeout);
            let has_ended = connection.is_some() && fds.last().is_some_and(is_ready);
            if has_ended || !(ready.is_ok_and(|count| count > 0) || ready == Err(Errno::EINTR)) {
                return;
            }
        }
    }
}

fn is_ready(fd: &PollFd<'_>) -> bool {
    fd.revents().is_some_and(|flags| !flags.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::pidfd::Stage;
    use std::os::unix::net::UnixStream;
    use std::process::{Command, Stdio};

    #[test]
    fn a_keeper_that_outlives_its_connection_is_reaped_during_the_next() {
        let command = &mut Command::new("cat");
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let input = keeper.stdin.take();
        let pid = Pid(keeper.id().cast_signed());
        let pidfd = pidfd::open(pid).unwrap();
        let mut started = Started(vec![keeper]);
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        started.wait(Some(ours.as_fd()), PollTimeout::NONE);
        assert_eq!(started.0.len(), 1);

        let (ours, theirs) = UnixStream::pair().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| started.wait(Some(ours.as_fd()), PollTimeout::NONE));
            drop(input);
            while pidfd::stage(pidfd.as_fd()) != Ok(Stage::Reaped) {
                thread::yield_now();
            }
            drop(theirs);
            waiting.join().unwrap();
        });
        assert!(started.0.is_empty());
    }
}
