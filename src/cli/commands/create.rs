//! `sexton create`: a new task.

use std::path::{Path, absolute};

use clap::ValueEnum;

use crate::board::card::{self, Created, NewTask, Workspace};
use crate::cli::describe::task_json;
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::out::Out;
use crate::cli::place::Place;
use crate::cli::plain::plain;
use crate::cli::times;

/// Add a task to a board.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton create 'say hello' --body 'echo hello'
  sexton create 'ship it' --parent t_0123abcd --assignee shell --max-runtime 30m
  sexton create 'nightly' --idempotency-key nightly-2026-11-24 --json")]
pub struct Args {
    /// What it is called.
    title: String,
    /// The work to do; the `shell` worker runs it as a script.
    #[arg(long)]
    body: Option<String>,
    /// Who does the work: the name of a configured worker, or a lane of another dispatcher.
    #[arg(long, value_name = "NAME")]
    assignee: Option<String>,
    /// A task that must be done first; may be repeated.
    #[arg(long, value_name = "TASK")]
    parent: Vec<String>,
    /// Priority: larger runs first.
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    priority: i64,
    /// Where it is done: scratch, worktree, worktree:PATH or dir:PATH.
    #[arg(long, default_value = "scratch", value_name = "WHERE", value_parser = workspace)]
    workspace: Workspace,
    /// The branch of a worktree.
    #[arg(long)]
    branch: Option<String>,
    /// A project of the Hermes client.
    #[arg(long)]
    project: Option<String>,
    /// How long an attempt may take: 90s, 30m, 2h, 1d.
    #[arg(long, value_name = "DURATION", value_parser = times::seconds)]
    max_runtime: Option<i64>,
    /// Consecutive failures after which it is blocked.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i64).range(1..))]
    max_retries: Option<i64>,
    /// A label to filter by.
    #[arg(long)]
    tenant: Option<String>,
    /// `blocked` makes it wait until a person unblocks it.
    #[arg(long, value_name = "STATUS", default_value = "running")]
    initial_status: InitialStatus,
    /// Let a person triage it before it may run.
    #[arg(long)]
    triage: bool,
    /// If a task with this key is there, print that one instead.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Who asks for it.
    #[arg(long, value_name = "NAME")]
    created_by: Option<String>,
    /// A skill for the client's workers; may be repeated.
    #[arg(long, value_name = "NAME")]
    skill: Vec<String>,
    /// Let the client's workers go on until a judge calls it done.
    #[arg(long)]
    goal: bool,
    /// At most this many turns of that.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i64).range(1..))]
    goal_max_turns: Option<i64>,
}

/// The client's words: `running` means that nothing special is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum InitialStatus {
    /// Run when its parents are done.
    Running,
    /// Wait until a person unblocks it.
    Blocked,
}

/// Creates the task.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::existing(globals)?;
    let new = new_task(args, &place)?;
    let (task, is_new, now) = place.write(|conn, columns, now| {
        let (id, is_new) = match card::create(conn, columns, now, &new)? {
            Created::New(id) => (id, true),
            Created::Existing(id) => (id, false),
        };
        Ok((card::find(conn, columns, &id)?, is_new, now))
    })?;
    let mut out = Out::new();
    if globals.json {
        out.json(&task_json(&task, None, now))?;
    } else {
        let verb = if is_new { "Created" } else { "Found" };
        let assignee = plain(task.assignee.as_deref().unwrap_or("-"));
        out.line(format_args!("{verb} {}  ({}, assignee={assignee})", task.id, task.status))?;
    }
    out.flush()
}

fn new_task(args: &Args, place: &Place<'_>) -> Result<NewTask, Failure> {
    let worktree = matches!(args.workspace, Workspace::Worktree(_));
    if args.branch.is_some() && !worktree {
        let problem = "--branch needs --workspace worktree; add that, or leave the branch out";
        return Err(Failure::Usage(problem.to_owned()));
    }
    Ok(NewTask {
        title: args.title.clone(),
        body: args.body.clone(),
        assignee: args.assignee.clone(),
        parents: args.parent.clone(),
        priority: args.priority,
        tenant: args.tenant.clone(),
        workspace: located(&args.workspace, place)?,
        branch_name: args.branch.clone(),
        project_id: args.project.clone(),
        triage: args.triage,
        blocked: args.initial_status == InitialStatus::Blocked,
        idempotency_key: args.idempotency_key.clone(),
        max_runtime_seconds: args.max_runtime,
        max_retries: args.max_retries,
        created_by: args.created_by.clone().unwrap_or_else(|| place.author()),
        skills: args.skill.clone(),
        goal_mode: args.goal,
        goal_max_turns: args.goal_max_turns,
    })
}

fn workspace(text: &str) -> Result<Workspace, String> {
    let path = |path: &str| Some(path.trim().to_owned()).filter(|path| !path.is_empty());
    match text.trim().split_once(':') {
        None if text.trim() == "scratch" => Some(Workspace::Scratch),
        None if text.trim() == "worktree" => Some(Workspace::Worktree(None)),
        Some(("dir", rest)) => path(rest).map(Workspace::Dir),
        Some(("worktree", rest)) => path(rest).map(|path| Workspace::Worktree(Some(path))),
        _ => None,
    }
    .ok_or_else(|| "write scratch, worktree, worktree:PATH or dir:PATH".to_owned())
}

/// Paths are resolved here: the dispatcher starts in another directory.
fn located(workspace: &Workspace, place: &Place<'_>) -> Result<Workspace, Failure> {
    let resolve = |path: &str| {
        let path = absolute(place.env.expand(Path::new(path)));
        path.ok().and_then(|path| path.into_os_string().into_string().ok()).ok_or_else(|| {
            Failure::Usage("the path of the workspace cannot be resolved; give a full one".into())
        })
    };
    Ok(match workspace {
        Workspace::Scratch => Workspace::Scratch,
        Workspace::Worktree(None) => Workspace::Worktree(None),
        Workspace::Worktree(Some(path)) => Workspace::Worktree(Some(resolve(path)?)),
        Workspace::Dir(path) => Workspace::Dir(resolve(path)?),
    })
}
