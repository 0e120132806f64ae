//! People, and dispatchers of another kind, change boards while dispatchers use them.

use sexton::machine::hold::Lane;
use sexton::machine::ids::{TaskId, WorkerId};

use super::{Item, World};
use crate::board::{Block, Complete, Holder, NewTask, Status};
use crate::fault::Fault;
use crate::trace::{What, Who};

impl World {
    /// Somebody does something with a board, and will again.
    pub(super) fn meddle(&mut self, n: usize) {
        if self.calm_since.is_some() {
            return;
        }
        let wait = 4 * self.millis() + 20;
        self.after(wait, Item::Meddle(n));
        let id = self.boards[n].id;
        let among = [Fault::Meddling, Fault::Neighbour];
        let Some(fault) = self.strike(&among, Who::Board(id)) else { return };
        if !self.boards[n].present {
            return;
        }
        // The notice is sent now, the change becomes visible a moment later, and no second notice
        // follows.
        let early = self.fires(Fault::WokenBeforeVisible, Who::Board(id));
        if early {
            self.notice(n, None);
            self.moment += super::FINE / 2;
        }
        let changed = match fault {
            Fault::Neighbour => self.neighbour(n),
            _ => self.person(n),
        };
        if changed && !early {
            self.notice(n, None);
        }
    }

    fn some_task(&mut self, n: usize) -> Option<TaskId> {
        let ids: Vec<TaskId> = self.boards[n].model.tasks().iter().map(|task| task.id).collect();
        (!ids.is_empty()).then(|| self.entropy.one_of(&ids))
    }

    /// A client that knows no tokens claims a task, or lets go of one.
    fn neighbour(&mut self, n: usize) -> bool {
        let Some(task) = self.some_task(n) else { return false };
        let now = self.now().unix;
        let model = &mut self.boards[n].model;
        if model.task(task).is_some_and(|t| t.claim.holder == Some(Holder::Neighbour)) {
            let failure_limit = self.policy.failure_limit;
            return model.complete(
                task,
                Complete { own_run: None, told: true, failure_limit },
                now,
            );
        }
        model.claim(task, Holder::Neighbour, None, now).is_some()
    }

    fn person(&mut self, n: usize) -> bool {
        let (Some(task), Some(other)) = (self.some_task(n), self.some_task(n)) else {
            return false;
        };
        let now = self.now().unix;
        let failure_limit = self.policy.failure_limit;
        let verb = self.entropy.below(12);
        let id = self.boards[n].id;
        self.tell(Who::Board(id), || What::Note(format!("somebody does {verb} with {task}")));
        let count = self.boards[n].model.tasks().len();
        let model = &mut self.boards[n].model;
        match verb {
            0 => model.comment(task),
            1 => model.archive(task, now),
            2 => model.block(task, Block { own_run: None, told: true, kind: None }, now),
            3 | 4 => model.unblock(task, now),
            5 => model.reopen(task, Status::Ready, now),
            6 => model.reclaim(task, now),
            7 => model.link(other, task),
            8 => model.unlink(other, task),
            9 => model.complete(task, Complete { own_run: None, told: true, failure_limit }, now),
            10 if count > 2 => {
                self.boards[n].deleted = true;
                self.boards[n].model.delete(task)
            }
            _ if count < 24 => {
                let id = TaskId::new(&format!("b{n}p{count}")).unwrap_or(task);
                model.create(&NewTask::new(id, Lane::Worker(WorkerId(0))), now)
            }
            _ => false,
        }
    }
}
