//! Random steps. They are numbers that get their meaning from the processes that there are then.

use proptest::prelude::*;
use sexton::machine::event::Signal;

use super::{Pair, Step};

/// An operation that is applied to model and host.
#[derive(Clone, Debug)]
pub struct Op {
    kind: u8,
    who: u8,
    n: u8,
}

pub fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = (0..20_u8, any::<u8>(), any::<u8>()).prop_map(|(kind, who, n)| Op { kind, who, n });
    prop::collection::vec(op, 1..=20)
}

/// Applies all operations to both; fails with the operations that led to a difference.
pub fn walk(mut pair: Pair, ops: &[Op]) -> Step<()> {
    let mut trace = String::new();
    for op in ops {
        one(&mut pair, op, &mut trace).map_err(|error| format!("{trace}{error}"))?;
    }
    Ok(())
}

/// One of those, if there are any.
fn pick(among: &[u32], who: u8) -> Option<u32> {
    among.get(usize::from(who) % among.len().max(1)).copied()
}

fn one(pair: &mut Pair, op: &Op, trace: &mut String) -> Step<()> {
    let host = &pair.host;
    let (workers, members): (Vec<u32>, Vec<u32>) =
        host.numbers().into_iter().partition(|number| host.leader(*number) == *number);
    // What is stopped obeys no orders.
    let obeys = |number: &u32| host.is_alive(*number) && !host.is_stopped(*number);
    let at_work: Vec<u32> = workers.iter().copied().filter(obeys).collect();
    let alone: Vec<u32> = at_work
        .iter()
        .copied()
        .filter(|leader| !members.iter().any(|m| host.leader(*m) == *leader && host.is_alive(*m)))
        .collect();
    let members: Vec<u32> = members.into_iter().filter(obeys).collect();
    // A worker that was started last is the likeliest to have something going on.
    let recent = &workers[workers.len().saturating_sub(4)..];
    let obedient: Vec<u32> = at_work.iter().chain(&members).copied().collect();
    let code = i32::from(op.n % 3);
    // Some that leave no core.
    let signal = [9, 10, 13, 40][usize::from(op.n % 4)];
    let mut note = |what: &str, who: u32| *trace += &format!("{what} {who}\n");
    match op.kind {
        0..=3 => {
            note("spawn", workers.len() as u32);
            pair.spawn()?;
        }
        4..=6 => {
            if let Some(who) = pick(&at_work, op.who) {
                note("fork", who);
                pair.fork(who)?;
            }
        }
        7 | 8 => {
            if let Some(who) = pick(&at_work, op.who) {
                note("exit", who);
                pair.exit(who, code)?;
            }
        }
        9 => {
            if let Some(who) = pick(&at_work, op.who) {
                note(&format!("raise {signal}"), who);
                pair.raise(who, signal)?;
            }
        }
        10 | 11 => {
            if let Some(who) = pick(&members, op.who) {
                note("a member's exit", who);
                pair.exit(who, code)?;
            }
        }
        12 => {
            if let Some(who) = pick(&obedient, op.who) {
                note("deafen", who);
                pair.deafen(who)?;
            }
        }
        13 => {
            // Those that have started others would have to wait for them.
            if let Some(who) = pick(&alone, op.who) {
                note("stop", who);
                pair.stop(who)?;
            }
        }
        14 | 15 => {
            if let Some(who) = pick(recent, op.who) {
                note("TERM", who);
                pair.signal(who, Signal::Term)?;
            }
        }
        16 => {
            if let Some(who) = pick(recent, op.who) {
                note("KILL", who);
                pair.signal(who, Signal::Kill)?;
            }
        }
        _ => {
            note("reap", 0);
            pair.reap()?;
        }
    }
    Ok(())
}
