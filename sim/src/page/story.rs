//! What becomes of each dispatcher, board and process, read from the records. The records do not
//! tell everything: where they are silent, this says so and does not guess.

use std::collections::BTreeMap;
use std::ops::Range;

use sexton::machine::verdict::ExitStatus;

use crate::fault::Fault;
use crate::kernel::Uid;
use crate::trace::{Record, What, Who};

/// What became of a process that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// Nothing: it is alive, or a zombie, when the run ends.
    Not,
    /// Its dispatcher reaped it.
    Reaped(usize),
    /// Its parent, or pid 1, took it as soon as it had ended.
    AtOnce,
    /// It was a zombie until its dispatcher died; pid 1 took it then.
    WithDispatcher(usize),
    /// The records do not say whose it was.
    Untold,
}

/// A process. All numbers are of records.
#[derive(Clone, Debug)]
pub struct Process {
    pub uid: Uid,
    pub pid: i32,
    pub task: String,
    /// Which dispatcher started it, or took it in.
    pub seat: Option<usize>,
    /// Which dispatcher must reap it.
    reaper: Option<usize>,
    /// It is in the group of a worker, and not itself one.
    pub member: bool,
    /// That worker, if there is only one that it can be.
    pub leader: Option<Uid>,
    pub started: usize,
    pub ended: Option<(usize, ExitStatus)>,
    pub gone: Gone,
    pub faults: Vec<(usize, Fault)>,
}

impl Process {
    /// The records between which nobody had reaped it, although it had ended.
    pub fn zombie(&self, end: usize) -> Option<Range<usize>> {
        let (from, _) = self.ended?;
        match self.gone {
            Gone::Not => Some(from..end),
            Gone::Reaped(to) | Gone::WithDispatcher(to) => Some(from..to),
            Gone::AtOnce | Gone::Untold => None,
        }
    }

    /// The last record that it was there.
    pub fn last(&self, end: usize) -> usize {
        let ended = self.ended.map_or(end, |(at, _)| at);
        self.zombie(end).map_or(ended, |zombie| zombie.end)
    }
}

/// What came of a request to a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, and wrote something.
    Wrote,
    /// It was answered, and wrote nothing.
    Looked,
    /// It failed, and wrote nothing.
    Failed,
    /// It failed, and may have written.
    Maybe,
    /// Nobody was there any more to be told.
    Lost,
    /// It was not answered before the run ended.
    Open,
}

/// A request to a board, from being sent to being answered.
#[derive(Clone, Debug)]
pub struct Asked {
    pub seat: usize,
    pub from: usize,
    pub to: usize,
    pub outcome: Outcome,
    writes: bool,
    seq: Option<u64>,
}

/// What is wrong with a board for a while.
#[derive(Clone, Debug)]
pub struct Trouble {
    pub name: &'static str,
    pub from: usize,
    pub to: usize,
    /// When it ended is not told: this is when it was first seen to have ended.
    pub seen: bool,
}

/// A board.
#[derive(Clone, Debug, Default)]
pub struct Board {
    pub asked: Vec<Asked>,
    pub troubles: Vec<Trouble>,
    /// Times in which a dispatcher leaves it alone, because it failed.
    pub aside: Vec<(usize, Range<usize>)>,
    /// Faults and what was noted.
    pub marks: Vec<usize>,
}

/// A dispatcher's place.
#[derive(Clone, Debug, Default)]
pub struct Seat {
    /// Its lives.
    pub lives: Vec<Range<usize>>,
    /// It is alive when the run ends.
    pub alive: bool,
    /// Everything about it.
    pub marks: Vec<usize>,
}

/// A start that was asked for and not yet seen.
struct Start {
    seat: usize,
    spawn: Option<u64>,
    task: String,
}

/// All of it.
#[derive(Default)]
pub struct Story {
    pub seats: BTreeMap<usize, Seat>,
    pub boards: BTreeMap<u32, Board>,
    pub processes: BTreeMap<Uid, Process>,
    pub calm: Option<usize>,
    pub broken: Option<usize>,
    /// Faults and notes of the world as a whole.
    pub world: Vec<usize>,
    starts: Vec<Start>,
    /// Which dispatcher was the last to do anything.
    acting: Option<usize>,
}

impl Story {
    /// Reads the records.
    pub fn of(records: &[Record]) -> Story {
        let mut story = Story::default();
        for (n, record) in records.iter().enumerate() {
            match record.who {
                Who::World => story.world(n, &record.what),
                Who::Dispatcher(seat) => story.dispatcher(n, seat, &record.what),
                Who::Board(board) => story.board(n, board.0, &record.what),
                Who::Process(uid) => story.process(n, uid, &record.what),
            }
        }
        story.close(records.len().saturating_sub(1));
        story
    }

    fn world(&mut self, n: usize, what: &What) {
        match what {
            What::Calm => {
                self.calm = Some(n);
                for board in self.boards.values_mut() {
                    board.heal(n, &["busy", "disk full", "read-only"], true);
                }
            }
            What::Broken { .. } => self.broken = Some(n),
            What::Event(_)
            | What::Effect(_)
            | What::Started { .. }
            | What::Ended(_)
            | What::Reaped
            | What::Note(_)
            | What::Fault(_) => self.world.push(n),
        }
    }

    fn dispatcher(&mut self, n: usize, seat: usize, what: &What) {
        self.acting = Some(seat);
        let place = self.seats.entry(seat).or_default();
        place.marks.push(n);
        match what {
            What::Note(text) if text.starts_with("begins") => {
                place.lives.push(n..n);
                place.alive = true;
            }
            What::Note(text) if text.starts_with("dies") => self.dies(n, seat),
            What::Event(text) => self.told(n, seat, text),
            What::Effect(text) => self.asks(n, seat, text),
            What::Started { .. }
            | What::Ended(_)
            | What::Reaped
            | What::Note(_)
            | What::Fault(_)
            | What::Calm
            | What::Broken { .. } => {}
        }
    }

    fn dies(&mut self, n: usize, seat: usize) {
        let place = self.seats.entry(seat).or_default();
        place.alive = false;
        if let Some(life) = place.lives.last_mut() {
            life.end = n;
        }
        self.starts.retain(|start| start.seat != seat);
        for board in self.boards.values_mut() {
            board.answered(n, seat, None, Outcome::Lost);
            board.back(n, seat);
        }
        for process in self.processes.values_mut().filter(|p| p.reaper == Some(seat)) {
            process.reaper = None;
            if process.ended.is_some() && process.gone == Gone::Not {
                process.gone = Gone::WithDispatcher(n);
            }
        }
    }

    fn told(&mut self, n: usize, seat: usize, text: &str) {
        let spawn = number(text, "SpawnId(");
        match name(text) {
            "Exchanged" | "Connected" => {
                let Some(board) = self.board_of(text) else { return };
                let wrote = text
                    .split_once("taken: [")
                    .and_then(|(_, rest)| rest.split(']').next())
                    .is_some_and(|taken| taken.contains("Yes") || taken.contains("Claimed"));
                let outcome = if wrote { Outcome::Wrote } else { Outcome::Looked };
                let writes = board.answered(n, seat, number(text, "seq: "), outcome);
                board.heal(
                    n,
                    if writes { &["busy", "disk full", "read-only"] } else { &["busy"] },
                    true,
                );
            }
            "ExchangeFailed" | "ConnectFailed" => {
                let maybe = text.contains("commit: Maybe");
                let outcome = if maybe { Outcome::Maybe } else { Outcome::Failed };
                if let Some(board) = self.board_of(text) {
                    board.answered(n, seat, number(text, "seq: "), outcome);
                }
            }
            "SpawnCancelled" | "SpawnFailed" => {
                self.starts.retain(|start| start.seat != seat || start.spawn != spawn);
            }
            _ => {}
        }
    }

    fn asks(&mut self, n: usize, seat: usize, text: &str) {
        match name(text) {
            "Exchange" | "Connect" => {
                let asked = Asked {
                    seat,
                    from: n,
                    to: n,
                    outcome: Outcome::Open,
                    writes: text.contains("changes: [") && !text.contains("changes: []"),
                    seq: number(text, "seq: "),
                };
                if let Some(board) = self.board_of(text) {
                    board.asked.push(asked);
                }
            }
            "Spawn" => {
                let task = text.split_once("task: ").and_then(|(_, rest)| rest.split(',').next());
                self.starts.push(Start {
                    seat,
                    spawn: number(text, "SpawnId("),
                    task: task.unwrap_or_default().to_owned(),
                });
            }
            "Report" if text.starts_with("Report(BoardSick") => {
                if let Some(board) = self.board_of(text) {
                    board.back(n, seat);
                    board.aside.push((seat, n..usize::MAX));
                }
            }
            "Report" if text.starts_with("Report(BoardWell") => {
                if let Some(board) = self.board_of(text) {
                    board.back(n, seat);
                }
            }
            _ => {}
        }
    }

    fn board_of(&mut self, text: &str) -> Option<&mut Board> {
        let board = u32::try_from(number(text, "BoardId(")?).ok()?;
        Some(self.boards.entry(board).or_default())
    }

    fn board(&mut self, n: usize, board: u32, what: &What) {
        let board = self.boards.entry(board).or_default();
        board.marks.push(n);
        let trouble = match what {
            What::Note(text) if text == "its header is overwritten" => "corrupt",
            What::Note(text) if text == "its file is removed" => "removed",
            What::Note(text) if text == "another file takes its place" => {
                return board.heal(n, &["corrupt", "removed"], false);
            }
            What::Fault(Fault::BusyShort | Fault::BusyLong | Fault::BusyForEver) => "busy",
            What::Fault(Fault::DiskFull) => "disk full",
            What::Fault(Fault::ReadOnly) => "read-only",
            What::Event(_)
            | What::Effect(_)
            | What::Started { .. }
            | What::Ended(_)
            | What::Reaped
            | What::Note(_)
            | What::Fault(_)
            | What::Calm
            | What::Broken { .. } => return,
        };
        board.heal(n, &[trouble], true);
        board.troubles.push(Trouble { name: trouble, from: n, to: usize::MAX, seen: false });
    }

    fn process(&mut self, n: usize, uid: Uid, what: &What) {
        if let What::Started { pid, task } = what {
            return self.starts(n, uid, pid.0, task);
        }
        let acting = self.acting;
        let leader = self.processes.get(&uid).and_then(|p| p.leader);
        let leader = leader.and_then(|leader| self.processes.get(&leader)).cloned();
        let Some(process) = self.processes.get_mut(&uid) else { return };
        match what {
            What::Fault(fault) => process.faults.push((n, *fault)),
            What::Reaped => {
                process.gone = Gone::Reaped(n);
                process.seat = acting.or(process.seat);
            }
            What::Ended(status) => {
                process.ended = Some((n, *status));
                if process.member {
                    // Its parent is the worker, and once that has ended, whoever had to reap that.
                    let ended = leader.as_ref().filter(|leader| leader.ended.is_some());
                    process.reaper = ended.and_then(|leader| leader.reaper);
                }
                process.gone = match (process.reaper, process.member, leader) {
                    (Some(_), _, _) => Gone::Not,
                    (None, true, None) => Gone::Untold,
                    (None, ..) => Gone::AtOnce,
                };
            }
            What::Event(_)
            | What::Effect(_)
            | What::Started { .. }
            | What::Note(_)
            | What::Calm
            | What::Broken { .. } => {}
        }
    }

    fn starts(&mut self, n: usize, uid: Uid, pid: i32, task: &str) {
        let start = self.starts.iter().position(|start| start.task == task);
        let start = start.map(|at| self.starts.remove(at));
        let member = start.is_none();
        let leader = if member { self.only_leader() } else { None };
        let leads = leader.and_then(|leader| self.processes.get(&leader));
        let seat = start.map(|start| start.seat);
        let process = Process {
            uid,
            pid,
            task: task.to_owned(),
            seat: seat.or(leads.and_then(|leader| leader.seat)),
            reaper: seat,
            member,
            leader,
            started: n,
            ended: None,
            gone: Gone::Not,
            faults: Vec::new(),
        };
        self.processes.insert(uid, process);
    }

    /// The one worker that is to start another process and has not done so, if it is one.
    fn only_leader(&self) -> Option<Uid> {
        let has_member = |uid: Uid| self.processes.values().any(|p| p.leader == Some(uid));
        let mut could = self.processes.values().filter(|process| {
            process.ended.is_none()
                && process.faults.iter().any(|(_, fault)| *fault == Fault::Leftovers)
                && !has_member(process.uid)
        });
        could.next().filter(|_| could.next().is_none()).map(|process| process.uid)
    }

    /// Whatever is open lasts until the end.
    fn close(&mut self, end: usize) {
        for seat in self.seats.values_mut().filter(|seat| seat.alive) {
            if let Some(life) = seat.lives.last_mut() {
                life.end = end;
            }
        }
        for board in self.boards.values_mut() {
            for asked in board.asked.iter_mut().filter(|asked| asked.outcome == Outcome::Open) {
                asked.to = end;
            }
            board.troubles.iter_mut().for_each(|trouble| trouble.to = trouble.to.min(end));
            board.aside.iter_mut().for_each(|(_, aside)| aside.end = aside.end.min(end));
        }
    }
}

impl Board {
    /// A request is over. Says whether it was to write anything.
    fn answered(&mut self, n: usize, seat: usize, seq: Option<u64>, outcome: Outcome) -> bool {
        let open = |asked: &&mut Asked| {
            asked.outcome == Outcome::Open
                && asked.seat == seat
                && (seq.is_none() || asked.seq == seq)
        };
        let Some(asked) = self.asked.iter_mut().rev().find(open) else { return false };
        (asked.to, asked.outcome) = (n, outcome);
        asked.writes
    }

    fn heal(&mut self, n: usize, names: &[&str], seen: bool) {
        for trouble in &mut self.troubles {
            if trouble.to == usize::MAX && names.contains(&trouble.name) {
                (trouble.to, trouble.seen) = (n, seen);
            }
        }
    }

    fn back(&mut self, n: usize, seat: usize) {
        for (of, aside) in &mut self.aside {
            if *of == seat && aside.end == usize::MAX {
                aside.end = n;
            }
        }
    }
}

/// The name with which a text begins.
fn name(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default()
}

/// The number behind a mark.
fn number(text: &str, mark: &str) -> Option<u64> {
    let (_, rest) = text.split_once(mark)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sexton::machine::ids::{BoardId, Pid};

    const US: Who = Who::Dispatcher(0);
    const WORKER: Who = Who::Process(Uid(0));
    const MEMBER: Who = Who::Process(Uid(1));

    fn story(told: Vec<(Who, What)>) -> Story {
        let record = |(n, (who, what))| Record { at: n, who, what };
        Story::of(&(0..).zip(told).map(record).collect::<Vec<_>>())
    }

    fn note(text: &str) -> What {
        What::Note(text.to_owned())
    }

    fn asks(text: &str) -> What {
        What::Effect(text.to_owned())
    }

    fn begun() -> Vec<(Who, What)> {
        vec![
            (US, note("begins as 0")),
            (US, asks("Spawn { spawn: SpawnId(1), board: BoardId(0), task: b0t0, run: RunId(1) }")),
            (WORKER, What::Started { pid: Pid(2), task: "b0t0".to_owned() }),
        ]
    }

    #[test]
    fn a_worker_that_nobody_reaps_is_a_zombie_to_the_end() {
        let mut told = begun();
        told.push((WORKER, What::Ended(ExitStatus::Code(1))));
        told.push((Who::World, What::Calm));
        let story = story(told);
        let worker = &story.processes[&Uid(0)];
        assert_eq!((worker.seat, worker.gone), (Some(0), Gone::Not));
        assert_eq!(worker.zombie(4), Some(3..4));
    }

    #[test]
    fn pid_1_takes_what_a_dead_dispatcher_leaves() {
        let mut told = begun();
        told.extend([(WORKER, What::Ended(ExitStatus::Code(1))), (US, note("dies"))]);
        assert_eq!(story(told).processes[&Uid(0)].gone, Gone::WithDispatcher(4));
        let mut told = begun();
        told.extend([(US, note("dies")), (WORKER, What::Ended(ExitStatus::Code(1)))]);
        assert_eq!(story(told).processes[&Uid(0)].gone, Gone::AtOnce);
    }

    #[test]
    fn a_member_of_a_group_is_its_leaders_until_that_ends() {
        let group = What::Started { pid: Pid(3), task: "a group".to_owned() };
        let ended = || What::Ended(ExitStatus::Code(0));
        let mut told = begun();
        told.extend([(WORKER, What::Fault(Fault::Leftovers)), (MEMBER, group)]);
        let mut first = told.clone();
        first.extend([(MEMBER, ended()), (WORKER, ended())]);
        let first = story(first);
        assert_eq!(first.processes[&Uid(1)].leader, Some(Uid(0)));
        assert_eq!(first.processes[&Uid(1)].gone, Gone::AtOnce);
        told.extend([(WORKER, ended()), (MEMBER, ended())]);
        assert_eq!(story(told).processes[&Uid(1)].gone, Gone::Not);
    }

    #[test]
    fn an_exchange_lasts_from_its_request_to_its_answer() {
        let ask = "Exchange { board: BoardId(0), seq: 2, request: Request { changes: [Claim] } }";
        let answer = "Exchanged { board: BoardId(0), seq: 2, answer: Answer { taken: [Yes], ..";
        let told = vec![
            (US, note("begins as 0")),
            (US, asks(ask)),
            (Who::Board(BoardId(0)), What::Fault(Fault::DiskFull)),
            (US, What::Event(answer.to_owned())),
        ];
        let story = story(told);
        let board = &story.boards[&0];
        assert_eq!((board.asked[0].from, board.asked[0].to), (1, 3));
        assert_eq!(board.asked[0].outcome, Outcome::Wrote);
        assert_eq!((board.troubles[0].to, board.troubles[0].seen), (3, true));
    }
}
