//! The faults stop. From here on everything must come to its end within a bound, and at the end the
//! books are closed.

use sexton::machine::hold::{self, End};
use sexton::machine::ids::{BoardId, TaskId};
use sexton::machine::verdict::ExitStatus;

use super::{CALM_MS, FINE, Item, World};
use crate::board::{ModelBoard, Status, Task};
use crate::kernel::Uid;
use crate::ledger::Remains;
use crate::promise;
use crate::trace::{What, Who};

impl World {
    /// No more faults: disks heal, what hangs answers, what is stuck goes on, the dead come back.
    pub(super) fn calm_down(&mut self) {
        self.calm_since = Some(self.moment);
        self.faults.stop();
        // A clock that went back is set right: rows may carry times up to the latest it ever showed.
        self.ahead = self.most_ahead;
        self.tell(Who::World, || What::Calm);
        for item in std::mem::take(&mut self.hung) {
            self.after(0, item);
        }
        for n in 0..self.boards.len() {
            let board = &mut self.boards[n];
            board.listed = true;
            (board.busy_until, board.full_until, board.read_only_until) = (0, 0, 0);
            let tasks: Vec<TaskId> = board.model.tasks().iter().map(|task| task.id).collect();
            for task in tasks {
                self.boards[n].model.refuse(task, false);
            }
            self.restore(n);
            self.repair(n);
        }
        let alive: Vec<Uid> = self.kernel.processes().iter().map(|p| p.uid).collect();
        for uid in alive {
            self.after(1_000, Item::Release(uid));
            // Who was asked to end and is deaf only ends when it is killed.
            if !self.is_asked_to_end(uid) {
                self.after(60_000, Item::End(uid, ExitStatus::Code(0)));
            }
        }
        for seat in 0..self.seats.len() {
            self.seats[seat].dies_after = None;
            self.seats[seat].ticks_from = 0;
            if *self.seats[seat].policy != self.policy {
                self.reload(seat, self.policy.clone());
            }
            if self.seats[seat].machine.is_none() {
                self.after(1_000, Item::Restart(seat));
            }
        }
    }

    /// Whether nothing can happen any more that matters.
    pub(super) fn is_over(&mut self) -> bool {
        let Some(since) = self.calm_since else { return false };
        if self.moment.saturating_sub(since) > CALM_MS * FINE {
            return true;
        }
        // Looked at now and then: it means to look at everything.
        if self.moment < self.look_again {
            return false;
        }
        self.look_again = self.moment + 500 * FINE;
        let remains = self.remains();
        let seats = &self.seats;
        remains == Remains::default()
            && seats.iter().all(|seat| seat.machine.is_some() && seat.under_way.is_empty())
            && self.ledger.reap_failing.is_empty()
            && self
                .boards
                .iter()
                .all(|board| seats.iter().all(|seat| seat.conns.contains_key(&board.id)))
    }

    /// Whether a living dispatcher has signalled this worker, or the worker of its group.
    fn is_asked_to_end(&self, uid: Uid) -> bool {
        let leader = self.kernel.get(uid).map(|process| process.leader);
        let Some(life) = leader.and_then(|leader| self.ledger.life(leader)) else { return false };
        let attempt = self.ledger.get(life.of, life.spawn);
        let signaller = attempt.and_then(|attempt| attempt.signaller);
        self.seats.iter().any(|seat| seat.machine.is_some() && Some(seat.instance) == signaller)
    }

    /// Judges what is left when the calm is over.
    pub(super) fn judge_the_end(&mut self) {
        self.ledger.news.clear();
        self.ledger.remains = self.remains();
        let alive = self.ledger.remains.alive.iter().copied();
        self.ledger.deaf_left = alive.filter(|uid| self.is_asked_to_end(*uid)).collect();
        self.judge_by(promise::EVENTUALLY);
    }

    pub(super) fn remains(&self) -> Remains {
        let mut remains = Remains::default();
        for board in &self.boards {
            for task in board.model.tasks() {
                self.look_at(board.id, &board.model, task, &mut remains);
            }
        }
        for seat in &self.seats {
            let machine = seat.machine.iter();
            let attempts = machine.flat_map(|machine| machine.attempts());
            remains.kept.extend(attempts.map(|(_, attempt)| (seat.instance, attempt.id())));
            remains.zombies.extend(self.kernel.zombies(seat.instance).map(|z| z.uid));
            for (spawn, attempt) in self.ledger.of(seat.instance) {
                let holder = crate::board::Holder::Sexton(seat.instance, spawn);
                let model = &self.boards[attempt.board.0 as usize].model;
                let open = model.task(attempt.task).is_some_and(|task| {
                    task.status == Status::Running && task.claim.owner() == Some(holder)
                });
                if attempt.reaped && open {
                    remains.open.push((attempt.board, attempt.task));
                }
            }
        }
        let alive = self.kernel.processes().iter().filter(|p| p.is_alive());
        remains.alive = alive.map(|process| process.uid).collect();
        remains
    }

    fn look_at(&self, board: BoardId, model: &ModelBoard, task: &Task, remains: &mut Remains) {
        let limit = self.policy.failure_limit;
        match task.status {
            Status::Running => remains.tasks.push((board, task.id, "still runs".to_owned())),
            Status::Todo | Status::Blocked if model.may_promote(task, limit) => {
                remains.tasks.push((board, task.id, "could be promoted".to_owned()));
            }
            Status::Ready => {
                let unix = self.now().unix;
                let candidate = model.candidate(task, &self.policy, unix);
                let hold = hold::on(&candidate, &self.policy, unix);
                match hold.map(hold::Hold::end) {
                    Some(End::Owner(_)) => {}
                    Some(End::At(_)) => {
                        remains.tasks.push((board, task.id, "rests still".to_owned()));
                    }
                    None => remains.held.push((board, task.id)),
                }
            }
            Status::Todo
            | Status::Blocked
            | Status::Triage
            | Status::Scheduled
            | Status::Done
            | Status::Archived => {}
        }
    }
}
