//! How a world begins: its boards, its dispatchers, and what their owner wants.

use std::sync::Arc;

use sexton::machine::Dispatcher;
use sexton::machine::hold::Lane;
use sexton::machine::ids::{BoardId, TaskId, WorkerId};
use sexton::machine::policy::{Completion, Policy, WorkerPolicy};

use super::domain::{Domain, Place};
use super::{EPOCH, FINE, Item, Seat, Seen, World};
use crate::board::{Instance, ModelBoard, NewTask};
use crate::entropy::Entropy;
use crate::fault::Fault;
use crate::trace::{What, Who};

impl World {
    pub(super) fn found_boards(&mut self) {
        for n in 0..self.entropy.one_of(&[1_usize, 2, 2, 3]) {
            let mut model = ModelBoard::new();
            for task in 0..1 + self.entropy.below(8) {
                let new = self.new_task(&model, n, task);
                model.create(&new, EPOCH);
            }
            self.boards.push(Seen { model, ..Seen::sound(BoardId(n as u32)) });
            if n > 0 && self.fires(Fault::BoardAdded, Who::Board(BoardId(n as u32))) {
                self.boards[n].listed = false;
                let wait = 20 * self.millis();
                self.after(wait, Item::Add(n));
            }
            if self.faults.weight(Fault::Meddling) > 0 {
                let wait = self.millis();
                self.after(wait, Item::Meddle(n));
            }
        }
    }

    pub(super) fn new_task(&mut self, model: &ModelBoard, board: usize, number: usize) -> NewTask {
        let id = TaskId::new(&format!("b{board}t{number}")).unwrap_or_else(|| unreachable!());
        let worker = Lane::Worker(WorkerId(self.entropy.below(2) as u16));
        let lane = match self.entropy.below(16) {
            14 => Lane::Unassigned,
            15 => Lane::Foreign,
            _ => worker,
        };
        let parents = match self.entropy.below(4) {
            3 => model.tasks().iter().map(|task| task.id).rev().take(1 + number % 2).collect(),
            _ => Vec::new(),
        };
        NewTask {
            parents,
            priority: self.entropy.below(3) as i64,
            has_body: self.entropy.below(8) < 7,
            max_retries: [None, None, None, Some(1), Some(3)][self.entropy.below(5)],
            max_runtime_s: [None, None, Some(1), Some(3)][self.entropy.below(4)],
            ..NewTask::new(id, lane)
        }
    }

    pub(super) fn found_seat(&mut self) {
        let seat = self.seats.len();
        let policy = Arc::new(self.policy.clone());
        self.seats.push(Seat::new(Instance(0), None, policy));
        if seat == 1 && self.fires(Fault::Namespaces, Who::Dispatcher(seat)) {
            self.seats[seat].domain = self.new_domain();
            self.seats[seat].first = self.entropy.below(2) == 1;
        }
        self.begin(seat);
    }

    /// Starts a dispatcher in this seat.
    pub(super) fn begin(&mut self, seat: usize) {
        let instance = Instance(self.places.len() as u32);
        let (wakes, policy) = (self.seats[seat].wakes + 1, Arc::clone(&self.seats[seat].policy));
        let machine = Some(self.machine(&policy));
        let first = self.seats[seat].first;
        let domain = if first { self.new_domain() } else { self.seats[seat].domain };
        self.places.push(Place { domain, first, dead_since: None });
        let (new, began) = (Seat::new(instance, machine, policy), self.moment / FINE);
        self.seats[seat] = Seat { wakes, domain, first, began, ..new };
        self.tell(Who::Dispatcher(seat), || What::Begins(instance));
        let wait = self.entropy.below(8) as u64;
        self.after(wait, Item::Tick(seat, instance));
    }
}

impl World {
    fn new_domain(&mut self) -> Domain {
        self.domains += 1;
        Domain(self.domains - 1)
    }

    #[cfg(not(feature = "sabotage"))]
    #[expect(clippy::unused_self, reason = "knows which bugs to plant, where bugs are planted")]
    fn machine(&self, policy: &Policy) -> Dispatcher {
        Dispatcher::new(policy.clone())
    }

    #[cfg(feature = "sabotage")]
    fn machine(&self, policy: &Policy) -> Dispatcher {
        let mut machine = Dispatcher::new(policy.clone());
        machine.sabotage = self.planted;
        machine
    }
}

/// What the owner wants, of all that he may want.
pub(super) fn policy(entropy: &mut Entropy) -> Policy {
    let completion = [Completion::ExitStatus, Completion::Board];
    let workers = completion
        .into_iter()
        .map(|completion| WorkerPolicy {
            completion,
            needs_body: entropy.below(4) == 3,
            max_runtime_s: entropy.one_of(&[None, None, Some(2), Some(20)]),
            kill_after_ms: entropy.one_of(&[5_000, 1_000, 50, 0]),
            keep_leftovers: entropy.below(4) == 3,
            ..WorkerPolicy::default()
        })
        .collect();
    Policy {
        max_workers: entropy.one_of(&[8, 4, 2, 1]),
        max_in_progress: entropy.one_of(&[8, 4, 2, 1]),
        failure_limit: entropy.one_of(&[2, 1, 3]),
        interval_ms: entropy.one_of(&[1_000, 5_000, 60_000, 200]),
        claim_ttl_s: entropy.one_of(&[900, 60, 6]),
        cooldown_s: entropy.one_of(&[5, 30, 300]),
        ended_grace_ms: entropy.one_of(&[1_000, 10_000, 0]),
        board_deadline_ms: entropy.one_of(&[10_000, 1_000, 100]),
        spawn_deadline_ms: entropy.one_of(&[10_000, 1_000, 100]),
        lookahead: entropy.one_of(&[64, 4, 0]),
        default_worker: [None, Some(WorkerId(0))][entropy.below(2)],
        workers,
    }
}

/// What he may want for a while instead: other limits and deadlines, and fewer workers. What tasks and
/// their ends are judged by stays.
pub(super) fn changed(policy: &Policy, entropy: &mut Entropy) -> Policy {
    let mut workers = policy.workers.clone();
    for worker in &mut workers {
        worker.enabled = entropy.below(4) < 3;
        worker.kill_after_ms = entropy.one_of(&[1_000, 50, 0]);
    }
    Policy {
        max_workers: entropy.one_of(&[1, 2, 8]),
        max_in_progress: entropy.one_of(&[1, 2, 8]),
        interval_ms: entropy.one_of(&[1_000, 5_000, 200]),
        claim_ttl_s: entropy.one_of(&[60, 6, 900]),
        board_deadline_ms: entropy.one_of(&[1_000, 100]),
        spawn_deadline_ms: entropy.one_of(&[1_000, 100]),
        lookahead: entropy.one_of(&[4, 0]),
        workers,
        ..policy.clone()
    }
}
