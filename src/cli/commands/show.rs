//! `sexton show`: everything about one task.

use serde_json::{Value, json};

use crate::board::card::{self, Card, Comment, Run, Wait};
use crate::board::{Dispatcher, Liveness, signer};
use crate::cli::describe::{board_full, board_holds_json, event_json, event_line, full, task_json};
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::out::Out;
use crate::cli::place::Place;
use crate::cli::plain::{plain, plain_lines};
use crate::cli::times::moment;
use crate::runtime::clock;
use crate::runtime::host::Host;
use crate::runtime::status::Told;

/// Show a task with what holds it, its attempts, comments and events.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton show t_0123abcd
  sexton show t_0123abcd --json")]
pub struct Args {
    /// Id of the task.
    #[arg(value_name = "TASK")]
    id: String,
}

/// Prints the task.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::existing(globals)?;
    let config = place.config()?;
    let now = clock::unix();
    let judge = config.judge(now);
    let (card, wait, owner) = place.read(|conn, columns| {
        let card = card::show(conn, columns, &args.id)?;
        let wait = card::wait(conn, judge, &card.task)?;
        let owner = card::owner(conn, columns, &card.task)?;
        Ok((card, wait, owner))
    })?;
    let claim = owner.and_then(|owner| claim_hold(&place, &owner));
    let holds = place.board_holds()?;
    let mut out = Out::new();
    if globals.json {
        let mut json = as_json(&card, wait.as_ref(), now);
        json["claim_hold"] = claim.into();
        json["board_holds"] = board_holds_json(&holds);
        out.json(&json)?;
    } else {
        print(&mut out, &card, wait.as_ref(), claim, &holds, now)?;
    }
    out.flush()
}

/// What will happen to the claim of a dispatcher that is not known to be alive.
fn claim_hold(place: &Place<'_>, owner: &str) -> Option<&'static str> {
    let (pid, instance, _) = signer(owner)?;
    match Host::observer(&place.root.path, None).ok()?.dispatcher(pid, instance) {
        Dispatcher::Lives => None,
        Dispatcher::Dead { .. } => Some(
            "its dispatcher is dead; the next one (`sexton run`) adopts it and finds its worker",
        ),
        Dispatcher::CannotTell => Some(
            "its dispatcher is of another pid namespace or host, so no pid counts: it is held until \
             its lease ends, which that dispatcher renews while it lives",
        ),
    }
}

fn as_json(card: &Card, wait: Option<&Wait>, now: i64) -> Value {
    json!({
        "task": task_json(&card.task, wait, now),
        "latest_summary": card.latest_summary(),
        "parents": card.parents,
        "children": card.children,
        "comments": card.comments.iter().map(comment_json).collect::<Vec<_>>(),
        "events": card.events.iter().map(event_json).collect::<Vec<_>>(),
        "runs": card.runs.iter().map(run_json).collect::<Vec<_>>(),
    })
}

fn comment_json(comment: &Comment) -> Value {
    json!({"author": comment.author, "body": comment.body, "created_at": comment.created_at})
}

fn run_json(run: &Run) -> Value {
    json!({
        "id": run.id, "profile": run.profile, "step_key": run.step_key, "status": run.status,
        "outcome": run.outcome, "summary": run.summary, "error": run.error,
        "metadata": run.metadata, "worker_pid": run.worker_pid, "started_at": run.started_at,
        "ended_at": run.ended_at,
    })
}

fn print(
    out: &mut Out,
    card: &Card,
    wait: Option<&Wait>,
    claim: Option<&str>,
    holds: &[Told],
    now: i64,
) -> Result<(), Failure> {
    print_head(out, card, wait, claim, holds, now)?;
    let task = &card.task;
    section(out, "Body", task.body.as_deref())?;
    section(out, "Result", task.result.as_deref())?;
    if task.result.is_none() {
        section(out, "Latest summary", card.latest_summary())?;
    }
    list(out, "Comments", &card.comments, |comment| {
        let at = moment(comment.created_at, now);
        format!("[{at}] {}: {}", plain(&comment.author), plain_lines(&comment.body))
    })?;
    list(out, "Events", &card.events, |event| event_line(event, now))?;
    list(out, "Runs", &card.runs, |run| run_line(run, now))
}

fn print_head(
    out: &mut Out,
    card: &Card,
    wait: Option<&Wait>,
    hold: Option<&str>,
    holds: &[Told],
    now: i64,
) -> Result<(), Failure> {
    let task = &card.task;
    out.line(format_args!("Task {}: {}", plain(&task.id), plain(&task.title)))?;
    let text = |text: &Option<String>| text.as_deref().map(plain);
    let time = |unix: Option<i64>| unix.map(|unix| moment(unix, now));
    let by = text(&task.created_by).unwrap_or_else(|| "-".into());
    let path = text(&task.workspace_path).map_or_else(String::new, |path| format!(" at {path}"));
    let lease = time(task.claim_expires).unwrap_or_else(|| "never".into());
    let claim = text(&task.claim_lock).map(|lock| format!("{lock}, until {lease}"));
    // What is over is held by nothing.
    let is_over = matches!(task.status.as_str(), "done" | "archived");
    let holds: Vec<String> = holds.iter().map(|told| board_full(told, now)).collect();
    let held = (!is_over && !holds.is_empty()).then(|| holds.join("; "));
    let failed = task.consecutive_failures > 0;
    for (label, value) in [
        ("status", Some(plain(&task.status))),
        ("held by", wait.map(|wait| full(wait, task, now))),
        ("held", held),
        ("assignee", Some(text(&task.assignee).unwrap_or_else(|| "-".into()))),
        ("priority", (task.priority != 0).then(|| task.priority.to_string())),
        ("tenant", text(&task.tenant)),
        ("workspace", Some(format!("{}{path}", plain(&task.workspace_kind)))),
        ("branch", text(&task.branch_name)),
        ("limit", task.max_runtime_seconds.map(|seconds| format!("{seconds} s an attempt"))),
        ("retries", task.max_retries.map(|count| format!("blocked after {count} failures"))),
        ("failures", failed.then(|| task.consecutive_failures.to_string())),
        ("last error", text(&task.last_failure_error)),
        ("claimed by", claim),
        ("claim", hold.map(str::to_owned)),
        ("created", Some(format!("{} by {by}", moment(task.created_at, now)))),
        ("started", time(task.started_at)),
        ("completed", time(task.completed_at)),
        ("parents", joined(&card.parents)),
        ("children", joined(&card.children)),
    ] {
        if let Some(value) = value {
            out.line(format_args!("  {:<12}{value}", format!("{label}:")))?;
        }
    }
    Ok(())
}

fn joined(ids: &[String]) -> Option<String> {
    let ids: Vec<_> = ids.iter().map(|id| plain(id)).collect();
    (!ids.is_empty()).then(|| ids.join(", "))
}

fn section(out: &mut Out, title: &str, text: Option<&str>) -> Result<(), Failure> {
    match text {
        Some(text) if !text.is_empty() => {
            out.line(format_args!("\n{title}:\n{}", plain_lines(text.trim_end())))
        }
        _ => Ok(()),
    }
}

fn list<T>(
    out: &mut Out,
    title: &str,
    items: &[T],
    line: impl Fn(&T) -> String,
) -> Result<(), Failure> {
    if !items.is_empty() {
        out.line(format_args!("\n{title} ({}):", items.len()))?;
    }
    items.iter().try_for_each(|item| out.line(format_args!("  {}", line(item))))
}

fn run_line(run: &Run, now: i64) -> String {
    let outcome = plain(run.outcome.as_deref().unwrap_or(&run.status));
    let profile = plain(run.profile.as_deref().unwrap_or("-"));
    let started = run.started_at.map_or_else(|| "?".to_owned(), |unix| moment(unix, now));
    let took = match (run.started_at, run.ended_at) {
        (Some(start), Some(end)) => format!("{} s", end.saturating_sub(start).max(0)),
        _ => "not over".to_owned(),
    };
    let first_line = |text: &str| plain(text.trim().lines().next().unwrap_or(""));
    let mut line = format!("#{} {outcome} by {profile}, {started}, {took}", run.id);
    for (mark, text) in [("→", &run.summary), ("!", &run.error)] {
        if let Some(text) = text {
            line.push_str(&format!("\n      {mark} {}", first_line(text)));
        }
    }
    line
}
