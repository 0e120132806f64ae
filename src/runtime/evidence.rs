//! What this dispatcher writes down for the one that comes next, and the search for what an earlier one
//! left. Notes and searches have threads of their own: a state directory that hangs stops nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SendError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::host::Host;
use super::keeper::KeeperLink;
use super::post::{Message, Post};
use super::spawn_thread::Fingerprints;
use super::threads::Threads;
use crate::board::{Dispatcher, Inherited, Liveness, signer};
use crate::evidence::keeper::tag::Tag;
use crate::evidence::records::{self, Foreign, Intent, Records, RecordsError, Slot};
use crate::evidence::search::{self, Claim, Found, Search};
use crate::machine::adoption::{Evidence, Process, Record};
use crate::machine::ids::SpawnId;
use crate::machine::verdict::Verdict;
use crate::process::children::Children;
use crate::process::identity;

/// Looks for a worker while a keeper does not answer: about half a minute.
const PATIENCE: u32 = 30;

/// Threads that look for workers.
const SEARCHES: usize = 2;

/// The records of this dispatcher, and its way to those of others.
#[derive(Clone, Debug)]
pub struct EvidenceThreads {
    shared: Arc<Shared>,
    notes: Arc<Threads<(), Note>>,
    searches: Arc<Threads<SpawnId, (SpawnId, Inherited)>>,
}

/// What the threads work with.
#[derive(Debug)]
struct Shared {
    host: Arc<Host>,
    /// `None` if none can be kept.
    records: Option<Records>,
    keeper: KeeperLink,
    children: Children,
    fingerprints: Fingerprints,
    /// The claims that were adopted, by our number.
    adopted: Mutex<BTreeMap<SpawnId, Inherited>>,
    /// How often the worker of each of them was looked for.
    looks: Mutex<BTreeMap<SpawnId, u32>>,
    /// The attempts whose end was noted. One that is over without was left to the next dispatcher.
    noted: Mutex<BTreeSet<SpawnId>>,
}

/// Something to be written down.
#[derive(Debug)]
enum Note {
    /// An attempt has ended.
    Ended(SpawnId, Verdict),
    /// What was written down must survive the host.
    Sync,
    /// An attempt is over, and recorded.
    Over(SpawnId),
    /// No worker was started after all.
    Withdrawn(SpawnId),
    /// What earlier dispatchers left and nothing needs any more is to be removed.
    Sweep,
    /// This dispatcher ends.
    Finish,
}

impl EvidenceThreads {
    /// Opens the records of this dispatcher. Without them the work goes on, and only the end of a lease
    /// shows what became of an attempt if this process is killed while it starts one.
    pub fn new(
        host: Arc<Host>,
        records: Option<Records>,
        keeper: KeeperLink,
        children: Children,
        post: Post,
    ) -> EvidenceThreads {
        let (adopted, looks, noted, fingerprints) = Default::default();
        let shared =
            Shared { host, records, keeper, children, fingerprints, adopted, looks, noted };
        let shared = Arc::new(shared);
        let (noting, looking) = (Arc::clone(&shared), Arc::clone(&shared));
        let write = move |note| noting.write(note);
        let look = move |(spawn, inherited)| (spawn, looking.look(spawn, &inherited));
        let answer = move |(spawn, evidence)| post.send(Message::Found(spawn, evidence));
        EvidenceThreads {
            shared,
            notes: Arc::new(Threads::new("notes".to_owned(), 1, write, |()| ())),
            searches: Arc::new(Threads::new("search".to_owned(), SEARCHES, look, answer)),
        }
    }

    /// Writes down that a worker is about to be started. `None`: no records are kept, or this one could
    /// not be, and then the file says that it has gaps.
    ///
    /// # Errors
    /// If not even that could be written: then no worker may be started.
    pub fn intend(&self, spawn: SpawnId, intent: &Intent) -> Result<Option<Slot>, RecordsError> {
        let Some(records) = &self.shared.records else { return Ok(None) };
        match records.intend(spawn, intent) {
            Ok(slot) => Ok(Some(slot)),
            Err(error) => {
                records.note_gap()?;
                tracing::warn!("{error}; {GAP}");
                Ok(None)
            }
        }
    }

    /// Drops the record of a worker that was called off.
    pub fn withdraw(&self, spawn: SpawnId) {
        self.ask(Note::Withdrawn(spawn));
    }

    /// The records, for the worker that writes its own pid.
    pub fn records(&self) -> Option<&Records> {
        self.shared.records.as_ref()
    }

    /// The fingerprints of the workers that exist.
    pub fn fingerprints(&self) -> Fingerprints {
        self.shared.fingerprints.clone()
    }

    /// The keeper of the workers' pidfds.
    pub fn keeper(&self) -> &KeeperLink {
        &self.shared.keeper
    }

    /// What the keeper knows a worker of ours by.
    pub fn tag(&self, spawn: SpawnId, intent: &Intent) -> Option<Tag> {
        let lock = self.shared.host.owner().lock(spawn);
        Tag::new(&intent.board, intent.run.0, &lock).ok()
    }

    /// Writes down when a worker started. Its pid it wrote itself.
    pub fn started(&self, spawn: SpawnId, start: u64) {
        if let Some(records) = &self.shared.records {
            let _told_by_the_pid_alone = records.started(spawn, start);
        }
    }

    /// Writes down how an attempt ended.
    pub fn ended(&self, spawn: SpawnId, verdict: Verdict) {
        self.ask(Note::Ended(spawn, verdict));
    }

    /// Makes what was written down survive the host.
    pub fn sync(&self) {
        self.ask(Note::Sync);
    }

    /// Drops what is kept for an attempt: its board has it.
    pub fn over(&self, spawn: SpawnId) {
        self.ask(Note::Over(spawn));
    }

    /// Keeps what was read with a claim that was adopted.
    pub fn inherit(&self, spawn: SpawnId, inherited: Inherited) {
        self.shared.adopted().insert(spawn, inherited);
    }

    /// Looks for the worker of an adopted claim; the answer comes by post. Returns it if there is no
    /// thread to look.
    pub fn find(&self, spawn: SpawnId) -> Option<Evidence> {
        let inherited = self.shared.adopted().get(&spawn).cloned();
        let Some(inherited) = inherited else { return Some(NOTHING) };
        let asked = self.searches.ask(spawn, (spawn, inherited));
        asked.is_err().then_some(NOTHING)
    }

    /// Removes what earlier dispatchers left and nothing needs any more.
    pub fn sweep(&self) {
        self.ask(Note::Sweep);
    }

    /// Writes what is left to be written, for as long as this many milliseconds, and lets the records go
    /// if nothing in them is needed.
    pub fn finish(&self, patience_ms: u64) {
        self.ask(Note::Finish);
        self.notes.finish(std::time::Duration::from_millis(patience_ms));
    }

    fn ask(&self, note: Note) {
        // Without a thread it waits for one: the next note tries again to start it.
        let _later = self.notes.leave((), note);
    }
}

/// Nothing is known: the machine asks again.
const NOTHING: Evidence = Evidence { record: Record::Lost, process: Process::Hidden, noted: None };

/// What it means that an attempt has no record.
const GAP: &str = "if this dispatcher is killed now, the next one waits for a lease to end";

impl Shared {
    fn adopted(&self) -> MutexGuard<'_, BTreeMap<SpawnId, Inherited>> {
        self.adopted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn noted(&self) -> MutexGuard<'_, BTreeSet<SpawnId>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, note: Note) {
        let written = match note {
            Note::Ended(spawn, verdict) => {
                self.noted().insert(spawn);
                self.ended(spawn, verdict)
            }
            Note::Sync => self.records.as_ref().map_or(Ok(()), Records::sync),
            Note::Over(spawn) => self.over(spawn),
            Note::Withdrawn(spawn) => self.clear_own(spawn),
            Note::Sweep => self.sweep(),
            Note::Finish => self.records.as_ref().map_or(Ok(()), Records::finish),
        };
        if let Err(error) = written {
            tracing::warn!("{error}");
        }
    }

    /// The record of an adopted attempt stays that of the dispatcher that started it.
    fn ended(&self, spawn: SpawnId, verdict: Verdict) -> Result<(), RecordsError> {
        let inherited = self.adopted().get(&spawn).cloned();
        match (inherited, &self.records) {
            (Some(inherited), _) => {
                self.with_foreign(&inherited, |foreign, attempt| foreign.ended(attempt, verdict))
            }
            (None, Some(records)) if records.has(spawn) => records.ended(spawn, verdict),
            (None, _) => Ok(()),
        }
    }

    /// What was left to the next dispatcher is kept for it.
    fn over(&self, spawn: SpawnId) -> Result<(), RecordsError> {
        let inherited = self.adopted().remove(&spawn);
        self.looks.lock().unwrap_or_else(PoisonError::into_inner).remove(&spawn);
        if !self.noted().remove(&spawn) {
            return Ok(());
        }
        match (inherited, &self.records) {
            (Some(inherited), _) => {
                self.keeper.forget(&inherited.claim_lock);
                self.with_foreign(&inherited, Foreign::clear)
            }
            (None, _) => {
                self.keeper.forget(&self.host.owner().lock(spawn));
                self.clear_own(spawn)
            }
        }
    }

    fn clear_own(&self, spawn: SpawnId) -> Result<(), RecordsError> {
        let records = self.records.as_ref().filter(|records| records.has(spawn));
        records.map_or(Ok(()), |records| records.clear(spawn))
    }

    /// Removes the records of dead dispatchers that are all cleared, and has the keeper drop what no
    /// record is for: a dispatcher was killed between the two.
    fn sweep(&self) -> Result<(), RecordsError> {
        let Some(state) = self.host.state() else { return Ok(()) };
        let is_needed = |name: &str| self.host.may_live(name) || is_young(state, name);
        for name in records::sweep(state, is_needed)? {
            tracing::debug!("{name} left records of attempts that no board has taken");
        }
        let Some(keeper) = self.keeper.get() else { return Ok(()) };
        for tag in keeper.list().unwrap_or_default() {
            if self.is_needless(state, tag.lock()) {
                self.keeper.forget(tag.lock());
            }
        }
        Ok(())
    }

    /// Whether nothing will ask for the worker of this claim: its dispatcher is dead and has cleared its
    /// record.
    fn is_needless(&self, state: &Path, lock: &str) -> bool {
        let Some((pid, instance, attempt)) = signer(lock) else { return true };
        if !matches!(self.host.dispatcher(pid, instance), Dispatcher::Dead { .. }) {
            return false;
        }
        match Foreign::open(state, &search::record_name(pid, instance)) {
            Ok(Some(foreign)) => matches!(foreign.read(attempt), Ok(records::Found::NoIntent)),
            // Perhaps it could not keep any.
            Ok(None) | Err(_) => false,
        }
    }

    fn with_foreign(
        &self,
        inherited: &Inherited,
        act: impl FnOnce(&Foreign, SpawnId) -> Result<(), RecordsError>,
    ) -> Result<(), RecordsError> {
        let (Some(state), Some((pid, instance, attempt))) =
            (self.host.state(), inherited.dispatcher())
        else {
            return Ok(());
        };
        match Foreign::open(state, &search::record_name(pid, instance))? {
            Some(foreign) => act(&foreign, attempt),
            None => Ok(()),
        }
    }

    /// Looks for a worker, and has its exit watched from here on if it is held.
    fn look(&self, spawn: SpawnId, inherited: &Inherited) -> Evidence {
        let Some((dispatcher, instance, attempt)) = inherited.dispatcher() else { return NOTHING };
        let (state, here, keeper) = (self.host.state(), self.host.here(), self.keeper.get());
        let search = Search { state, here, keeper, is_patient: self.count_look(spawn) <= PATIENCE };
        let claim = Claim {
            lock: &inherited.claim_lock,
            dispatcher,
            instance,
            attempt,
            pid: inherited.pid,
            start: inherited.fingerprint.as_deref().and_then(identity::start_of_fingerprint),
            since: self.since(inherited),
        };
        let Found { evidence, held } = search.look(&claim);
        if let Some(held) = held {
            let fingerprint = inherited.fingerprint.clone();
            let seen = || identity::fingerprint_of_start(held.start?);
            let fingerprint = fingerprint.or_else(seen);
            fingerprint.into_iter().for_each(|text| self.fingerprints.note(spawn, text));
            self.children.adopt(spawn, held);
        }
        evidence
    }

    fn count_look(&self, spawn: SpawnId) -> u32 {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let count = looks.entry(spawn).or_default();
        *count += 1;
        *count
    }

    /// A worker is no older than its claim. A second more, since seconds are cut off.
    fn since(&self, inherited: &Inherited) -> u64 {
        let age_s = inherited.claimed_at.map(|at| super::clock::unix().saturating_sub(at));
        let age_s = age_s.and_then(|age| u64::try_from(age.saturating_add(2)).ok());
        match (age_s, identity::ticks_now(), identity::ticks_per_second()) {
            (Some(age_s), Some(now), Some(second)) => {
                now.saturating_sub(age_s.saturating_mul(second))
            }
            (_, _, _) => 0,
        }
    }
}

/// Whether the lease of a claim may run on that was made while these records were kept. That they have
/// no intent for it shows that no process came of it.
fn is_young(state: &Path, name: &str) -> bool {
    const YOUNG_S: u64 = 3_600;
    let written = records::written_at(state, name);
    let age = written.and_then(super::clock::age_of);
    age.is_none_or(|age| age.as_secs() < YOUNG_S)
}

/// Opens the records of this dispatcher in a state directory, but does not wait for one that hangs.
pub fn open_records(state: PathBuf, name: String, patience_ms: u64) -> Option<Records> {
    let (send, opened) = channel();
    let create = move || {
        if let Err(SendError(Ok(late))) = send.send(Records::create(&state, &name)) {
            // Nothing will be written there, and a sound file without an intent would be a proof.
            let _as_good_as_it_gets = late.finish();
        }
    };
    let thread = std::thread::Builder::new().name("records".to_owned()).spawn(create);
    let patience = std::time::Duration::from_millis(patience_ms);
    let opened = thread.ok().and_then(|_| opened.recv_timeout(patience).ok());
    match opened {
        Some(Ok(records)) => return Some(records),
        Some(Err(error)) => tracing::warn!("{error}; {NO_RECORDS}"),
        None => tracing::warn!("the state directory does not answer; {NO_RECORDS}"),
    }
    None
}

const NO_RECORDS: &str = "no records are kept of what is started: if this dispatcher is killed, the \
    next one waits for leases to end";

#[cfg(test)]
pub(super) mod tests {
    use std::path::Path;

    use super::*;

    /// A dispatcher that keeps no records and has no keeper.
    pub fn no_evidence(root: &Path, post: &Post) -> (Arc<Host>, EvidenceThreads) {
        let host = Arc::new(Host::of_this_process(root, None).unwrap());
        let children = Children::new().unwrap();
        let link = KeeperLink::default();
        let evidence = EvidenceThreads::new(Arc::clone(&host), None, link, children, post.clone());
        (host, evidence)
    }
}
