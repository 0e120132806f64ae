//! This host, as boards are judged by it: who we are, and which of the processes that sign their rows
//! live.

use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::gethostname;

use crate::board::{Dispatcher, Liveness, Owner, Worker};
use crate::evidence::lifeline::Lifelines;
use crate::evidence::records::{Foreign, Found as Recorded};
use crate::evidence::search;
use crate::machine::ids::{Pid, SpawnId};
use crate::process::identity::{self, Alive, Domain, Instance};

/// This dispatcher on this host.
#[derive(Debug)]
pub struct Host {
    owner: Owner,
    instance: Instance,
    /// Where dispatchers keep their records.
    state: Option<PathBuf>,
    /// Holds our own lock, and shows those of others.
    lifelines: Option<Lifelines>,
}

impl Host {
    /// This process, as a dispatcher of a root.
    pub fn of_this_process(root: &Path, state: Option<&Path>) -> io::Result<Host> {
        let host = gethostname()?;
        let own = Instance::own()?;
        let lifelines = Lifelines::open(root).ok();
        let holds = lifelines.as_ref().is_some_and(|lifelines| lifelines.hold(&own).is_ok());
        let instance = Instance { lifeline: holds, ..own };
        let owner = Owner::new(&host.to_string_lossy(), own_pid(), &instance.to_string());
        Ok(Host { owner, instance, state: state.map(Path::to_owned), lifelines })
    }

    /// One that only looks: it signs nothing.
    pub fn observer(root: &Path, state: Option<&Path>) -> io::Result<Host> {
        let instance = Instance::own()?;
        let owner = Owner::new("", own_pid(), &instance.to_string());
        let lifelines = Lifelines::open_to_look(root).ok();
        Ok(Host { owner, instance, state: state.map(Path::to_owned), lifelines })
    }

    /// Who signs its claims.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Where records are kept; `None` for nowhere.
    pub fn state(&self) -> Option<&Path> {
        self.state.as_deref()
    }

    /// The name of this dispatcher's records.
    pub fn record_name(&self) -> String {
        search::record_name(own_pid(), &self.instance.to_string())
    }

    /// Whether the dispatcher whose records have this name may live. One of another boot does not, if its
    /// records are not locked.
    pub fn may_live(&self, name: &str) -> bool {
        let parsed = name.split_once('.').and_then(|(pid, instance)| {
            Some((Pid(pid.parse().ok()?), instance, Instance::parse(instance)?.domain))
        });
        let Some((pid, instance, there)) = parsed else { return true };
        there.boot_id == self.here().boot_id
            && !matches!(self.dispatcher(pid, instance), Dispatcher::Dead { .. })
    }

    /// Where pids have the meaning that they have for this process.
    pub fn here(&self) -> &Domain {
        &self.instance.domain
    }

    fn has_records(&self, pid: Pid, instance: &str) -> bool {
        let name = search::record_name(pid, instance);
        self.state()
            .is_some_and(|state| Foreign::open(state, &name).is_ok_and(|foreign| foreign.is_some()))
    }

    /// A dispatcher whose pid means nothing here. What it holds on a file beside the boards shows
    /// whether it lives; and if it does not, its workers cannot either if they ended with it.
    fn elsewhere(&self, pid: Pid, there: &Instance) -> Dispatcher {
        let ended_with_it = pid == Pid(1) || there.domain.boot_id != self.here().boot_id;
        match self.lifelines.as_ref().and_then(|lifelines| lifelines.is_held(there)) {
            Some(true) => Dispatcher::Lives,
            Some(false) if ended_with_it => Dispatcher::Dead { recorded: true },
            Some(false) | None => Dispatcher::CannotTell,
        }
    }
}

/// The pid of this process.
pub fn own_pid() -> Pid {
    Pid(std::process::id().cast_signed())
}

impl Liveness for Host {
    fn worker(&self, pid: Pid, fingerprint: Option<&str>) -> Worker {
        if fingerprint.is_some_and(identity::is_of_another_namespace) {
            return Worker::Elsewhere;
        }
        // "Cannot tell" is not "dead".
        let may_live = match identity::alive(pid, fingerprint) {
            Alive::Yes | Alive::CannotTell => true,
            Alive::No if fingerprint.is_some() && identity::alive(pid, None) == Alive::Yes => false,
            Alive::No => identity::group_alive(pid) != Alive::No,
        };
        if may_live { Worker::MayLive } else { Worker::Gone }
    }

    fn attempt(&self, pid: Pid, instance: &str, attempt: SpawnId) -> Worker {
        let name = search::record_name(pid, instance);
        let foreign = self.state().and_then(|state| Foreign::open(state, &name).ok().flatten());
        match foreign.map(|foreign| foreign.read(attempt)) {
            Some(Ok(Recorded::Started { pid, start: Some(start), .. })) => {
                self.worker(pid, Some(&start.to_string()))
            }
            // It may be about to exist: its dispatcher lives. Of a claim that was adopted, the records
            // are those of the dispatcher that made it.
            Some(_) => Worker::MayLive,
            None => Worker::Elsewhere,
        }
    }

    fn dispatcher(&self, pid: Pid, instance: &str) -> Dispatcher {
        let Some(there) = Instance::parse(instance) else { return Dispatcher::CannotTell };
        if there.domain != *self.here() {
            return self.elsewhere(pid, &there);
        }
        match identity::alive(pid, Some(&there.start.to_string())) {
            Alive::Yes => Dispatcher::Lives,
            Alive::No => Dispatcher::Dead { recorded: self.has_records(pid, instance) },
            // It may live, and then it renews its claims.
            Alive::CannotTell => Dispatcher::Lives,
        }
    }
}
