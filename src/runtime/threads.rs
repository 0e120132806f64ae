//! A queue of jobs, and threads that do them. A job may hang, with its disk; a thread that hangs
//! can be counted as stuck, and is then replaced by another.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Threads for jobs of one kind, each with a key. Two jobs with one key must not be at work at the
/// same time. The threads end when this is dropped and nothing waits.
pub struct Threads<K: Clone + Ord, J> {
    shared: Arc<Shared<K, J>>,
}

struct Shared<K: Clone + Ord, J> {
    name: String,
    /// How many threads there are at most while none is stuck.
    limit: usize,
    work: Box<Work<K, J>>,
    state: Mutex<State<K, J>>,
    /// A job waits, or the end has come.
    more: Condvar,
    /// A thread has returned from its job.
    returned: Condvar,
}

struct State<K, J> {
    waiting: VecDeque<(K, J)>,
    /// The jobs that threads are at, and whether each of them is stuck.
    at_work: BTreeMap<K, bool>,
    threads: usize,
    idle: usize,
    ending: bool,
}

impl<K: Clone + Ord, J> State<K, J> {
    fn stuck(&self) -> usize {
        self.at_work.values().filter(|stuck| **stuck).count()
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.at_work.is_empty()
    }

    fn take(&mut self) -> Option<(K, J)> {
        let (key, job) = self.waiting.pop_front()?;
        self.at_work.insert(key.clone(), false);
        Some((key, job))
    }
}

/// Does a job that is under way.
type Work<K, J> = dyn for<'a> Fn(J, AtWork<'a, K, J>) + Send + Sync;

impl<K: Clone + Ord + Send + 'static, J: Send + 'static> Threads<K, J> {
    /// Returns a pool without threads: they are started when there is work. What `work` returns is
    /// handed to `answer` after the job has ended, so that the receiver finds the thread free.
    pub fn new<A>(
        name: String,
        limit: usize,
        work: impl Fn(J) -> A + Send + Sync + 'static,
        answer: impl Fn(A) + Send + Sync + 'static,
    ) -> Threads<K, J> {
        let work: Box<Work<K, J>> = Box::new(move |job, at_work| {
            let done = work(job);
            drop(at_work);
            answer(done);
        });
        let state = State {
            waiting: VecDeque::new(),
            at_work: BTreeMap::new(),
            threads: 0,
            idle: 0,
            ending: false,
        };
        let state = Mutex::new(state);
        let (more, returned) = Default::default();
        Threads { shared: Arc::new(Shared { name, limit, work, state, more, returned }) }
    }

    /// Starts the first thread, or another if what waits calls for one. Fails if there is none.
    pub fn start(&self) -> io::Result<()> {
        let mut state = self.shared.state();
        if state.threads == 0 {
            return self.shared.start_thread(&mut state);
        }
        let _those_that_there_are_will_do = self.shared.provide_for(&mut state, 0);
        Ok(())
    }

    /// Hands in a job. Fails if it would have no thread.
    pub fn ask(&self, key: K, job: J) -> io::Result<()> {
        let mut state = self.shared.state();
        self.shared.provide_for(&mut state, 1)?;
        state.waiting.push_back((key, job));
        drop(state);
        self.shared.more.notify_one();
        Ok(())
    }

    /// Hands in a job in place of all that wait. Fails as [`ask`](Threads::ask) does.
    pub fn ask_only(&self, key: K, job: J) -> io::Result<()> {
        self.shared.state().waiting.clear();
        self.ask(key, job)
    }

    /// Hands in a job that waits also without a thread. Then this fails, and the next job that is
    /// handed in tries again to start one.
    pub fn leave(&self, key: K, job: J) -> io::Result<()> {
        let mut state = self.shared.state();
        state.waiting.push_back((key, job));
        let provided = self.shared.provide_for(&mut state, 0);
        drop(state);
        self.shared.more.notify_one();
        provided
    }

    /// Takes back the jobs with this key that wait.
    pub fn withdraw(&self, key: &K) {
        self.shared.state().waiting.retain(|(waiting, _)| waiting != key);
    }

    /// Counts the thread that is at this job, if one is, as stuck until it returns, and provides
    /// another for what waits. Fails if the host refuses that one.
    pub fn replace(&self, key: &K) -> io::Result<()> {
        let mut state = self.shared.state();
        if let Some(stuck) = state.at_work.get_mut(key) {
            *stuck = true;
        }
        self.shared.provide_for(&mut state, 0)
    }

    /// Waits until no thread is at this job.
    pub fn wait_for(&self, key: &K) {
        let is_at_work = |state: &mut State<K, J>| state.at_work.contains_key(key);
        let state = self.shared.returned.wait_while(self.shared.state(), is_at_work);
        drop(state.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until all jobs are done, but not longer than this, nor without a thread.
    pub fn finish(&self, patience: Duration) {
        let is_busy = |state: &mut State<K, J>| state.threads > 0 && !state.is_done();
        let state = self.shared.state();
        let _done_or_not = self.shared.returned.wait_timeout_while(state, patience, is_busy);
    }

    /// How many jobs wait.
    pub fn waiting(&self) -> usize {
        self.shared.state().waiting.len()
    }

    /// How many threads are stuck.
    pub fn stuck(&self) -> usize {
        self.shared.state().stuck()
    }
}

impl<K: Clone + Ord, J> Drop for Threads<K, J> {
    fn drop(&mut self) {
        self.shared.state().ending = true;
        self.shared.more.notify_all();
    }
}

impl<K: Clone + Ord, J> fmt::Debug for Threads<K, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl<K: Clone + Ord, J> Shared<K, J> {
    fn state(&self) -> MutexGuard<'_, State<K, J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Ord + Send + 'static, J: Send + 'static> Shared<K, J> {
    /// Starts another thread if the waiting jobs and `more` new ones need it.
    fn provide_for(self: &Arc<Self>, state: &mut State<K, J>, more: usize) -> io::Result<()> {
        let is_lacking = state.idle < state.waiting.len() + more;
        if !is_lacking || state.threads >= self.limit + state.stuck() {
            return Ok(());
        }
        match self.start_thread(state) {
            // The threads that there are will do, one job after the other.
            Err(_) if state.threads > state.stuck() => Ok(()),
            started => started,
        }
    }

    fn start_thread(self: &Arc<Self>, state: &mut State<K, J>) -> io::Result<()> {
        let shared = Arc::clone(self);
        thread::Builder::new().name(self.name.clone()).spawn(move || shared.serve())?;
        state.threads += 1;
        Ok(())
    }

    fn serve(&self) {
        while let Some((key, job)) = self.next() {
            let at_work = AtWork { shared: self, key };
            // A job that panics has ended as well, and the thread takes the next one. The panic itself
            // is printed where it happens.
            let _printed = panic::catch_unwind(AssertUnwindSafe(|| (self.work)(job, at_work)));
        }
    }

    /// The next job; `None` when the thread is to end.
    fn next(&self) -> Option<(K, J)> {
        let mut state = self.state();
        loop {
            let job = state.take();
            if job.is_some() || state.ending {
                return job;
            }
            state.idle += 1;
            state = self.more.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

/// Marks a job as under way until it is dropped.
struct AtWork<'a, K: Clone + Ord, J> {
    shared: &'a Shared<K, J>,
    key: K,
}

impl<K: Clone + Ord, J> Drop for AtWork<'_, K, J> {
    fn drop(&mut self) {
        self.shared.state().at_work.remove(&self.key);
        self.shared.returned.notify_all();
    }
}

#[cfg(test)]
impl<K: Clone + Ord, J> Threads<K, J> {
    /// As if a thread had taken a job with this key and did not come back.
    pub fn hang(&self, key: K) {
        let mut state = self.shared.state();
        state.threads += 1;
        state.at_work.insert(key, false);
    }

    /// As if that thread had returned, and ended.
    pub fn return_from(&self, key: &K) {
        let mut state = self.shared.state();
        state.threads -= 1;
        state.at_work.remove(key);
        self.shared.returned.notify_all();
    }

    /// The keys of the jobs that wait.
    pub fn keys(&self) -> Vec<K> {
        self.shared.state().waiting.iter().map(|(key, _)| key.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    /// Long enough for anything on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(45);

    #[test]
    fn a_stuck_thread_is_replaced_for_what_waits_and_counts_until_it_returns() {
        let (tell, told) = channel();
        let (release, gate) = channel::<()>();
        let gate = Mutex::new(gate);
        let work = move |job: u32| {
            if job == 1 {
                gate.lock().unwrap().recv().unwrap();
            }
            job
        };
        let threads = Threads::new("test".to_owned(), 1, work, move |job| tell.send(job).unwrap());
        threads.finish(PATIENCE);
        threads.ask(1, 1).unwrap();
        threads.ask(2, 2).unwrap();
        assert!(told.recv_timeout(Duration::from_millis(20)).is_err(), "one thread, and it hangs");
        threads.replace(&3).unwrap();
        assert_eq!(threads.stuck(), 0, "no thread is at that");
        threads.replace(&1).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(2));
        assert_eq!(threads.stuck(), 1);
        release.send(()).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(1));
        assert_eq!(threads.stuck(), 0, "its answer comes when it is no longer at work");
    }

    #[test]
    fn a_job_that_panics_is_over_and_its_thread_goes_on() {
        let (tell, told) = channel();
        let work = |job: u32| {
            assert!(job != 1, "a planted panic");
            job
        };
        let threads = Threads::new("test".to_owned(), 1, work, move |job| tell.send(job).unwrap());
        threads.ask(1, 1).unwrap();
        threads.ask(2, 2).unwrap();
        assert_eq!(told.recv_timeout(PATIENCE), Ok(2));
        threads.wait_for(&1);
    }

    #[test]
    fn what_waits_can_be_taken_back_or_left_for_later_and_is_done_before_the_end() {
        let (tell, told) = channel();
        let answer = move |job| tell.send(job).unwrap();
        let threads = Threads::new("test".to_owned(), 1, |job| job, answer);
        threads.hang(1);
        for job in [2, 3, 4] {
            threads.ask(job, job).unwrap();
        }
        threads.withdraw(&3);
        assert_eq!(threads.keys(), [2, 4]);
        threads.ask_only(5, 5).unwrap();
        threads.leave(6, 6).unwrap();
        assert_eq!((threads.keys(), threads.waiting()), (vec![5, 6], 2));
        threads.return_from(&1);
        threads.start().unwrap();
        drop(threads);
        let done: Vec<u32> = told.iter().collect();
        assert_eq!(done, [5, 6], "and the thread has ended");
    }
}
