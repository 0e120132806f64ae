//! `sexton boards`: which boards there are, and new ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use crate::board::card;
use crate::cli::describe::{board_full, board_holds_json};
use crate::cli::failure::Failure;
use crate::cli::globals::Globals;
use crate::cli::out::Out;
use crate::cli::place::{Place, is_about};
use crate::cli::plain::plain;
use crate::cli::read_boards;
use crate::cli::table::table;
use crate::root::{self, BoardPaths, DEFAULT_BOARD, Metadata, Slug, board_exists, possible_boards};
use crate::runtime::clock;

/// List the boards, or create one.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  sexton boards list
  sexton boards create night-shift --description 'what runs at night'")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the boards with how many tasks are in which status.
    #[command(alias = "ls", after_help = "Example:\n  sexton boards list --json")]
    List,
    Create(Create),
}

/// Create a board.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  sexton boards create night-shift --name 'Night shift' --switch"
)]
struct Create {
    /// Its name: up to 64 of a-z, 0-9, `_` and `-`.
    slug: Slug,
    /// How people call it.
    #[arg(long)]
    name: Option<String>,
    /// What it is for.
    #[arg(long)]
    description: Option<String>,
    /// An emoji, shown by the Hermes client.
    #[arg(long)]
    icon: Option<String>,
    /// A colour, shown by the Hermes client.
    #[arg(long)]
    color: Option<String>,
    /// The repository in which its worktrees are made.
    #[arg(long, value_name = "PATH")]
    default_workdir: Option<String>,
    /// Make it the board that commands mean when none is named.
    #[arg(long)]
    switch: bool,
}

/// Runs the subcommand.
pub fn run(args: &Args, globals: &Globals) -> Result<(), Failure> {
    let place = Place::existing(globals)?;
    match &args.action {
        Action::List => print_list(&place, globals),
        Action::Create(args) => create(&place, args, globals),
    }
}

fn print_list(place: &Place<'_>, globals: &Globals) -> Result<(), Failure> {
    let boards = look_at_all(place)?;
    // What was just looked at, within a bound, is not looked at again.
    let current = place.current(|slug| boards.iter().any(|(board, _)| board.slug == *slug));
    let holds = place.holds();
    let mut out = Out::new();
    if globals.json {
        let each = boards.iter().map(|(board, seen)| {
            let own: Vec<_> = holds.iter().filter(|told| is_about(told, board)).cloned().collect();
            let mut json = as_json(board, seen, current.as_ref());
            json["board_holds"] = board_holds_json(&own);
            json
        });
        out.json(&Value::Array(each.collect()))?;
        return out.flush();
    }
    let mut rows = table(&["BOARD", "NAME", "TASKS", "DATABASE"]);
    for (board, seen) in &boards {
        let mark = if current.as_ref() == Some(&board.slug) { " *" } else { "" };
        rows.add_row([
            format!("{}{mark}", board.slug),
            plain(&seen.metadata.name),
            in_words(&seen.counts),
            board.db.display().to_string(),
        ]);
    }
    out.line(rows.trim_fmt())?;
    let now = clock::unix();
    for told in &holds {
        let board = told.board.as_deref().unwrap_or("all boards");
        out.line(format_args!("{} held: {}", plain(board), board_full(told, now)))?;
    }
    out.flush()
}

/// What is shown of a board.
struct Seen {
    metadata: Metadata,
    counts: Counts,
}

/// How many tasks are in which status; or why that is not known.
type Counts = Result<BTreeMap<String, i64>, String>;

fn look(board: &BoardPaths) -> Seen {
    Seen { metadata: Metadata::read(board), counts: counts(board) }
}

/// Returns the boards of the root. A directory that hangs is listed too, although it may not be a
/// board.
fn look_at_all(place: &Place<'_>) -> Result<Vec<(BoardPaths, Seen)>, Failure> {
    let boards = possible_boards(&place.root.path, &place.env)?;
    let seen = read_boards::each(boards.clone(), read_boards::LIMIT_MS, |board| {
        root::is_dispatched(board).then(|| look(board))
    });
    let listed = boards.into_iter().zip(seen).filter_map(|(board, seen)| {
        let unknown = |why| Some(Seen { metadata: Metadata::none(&board.slug), counts: Err(why) });
        let seen = seen.unwrap_or_else(unknown)?;
        Some((board, seen))
    });
    Ok(listed.collect())
}

fn counts(board: &BoardPaths) -> Counts {
    let opened = card::open_for_reading(&board.db).map_err(|error| error.to_string())?;
    card::count_by_status(&opened.conn).map_err(|error| error.to_string())
}

fn in_words(counts: &Counts) -> String {
    match counts {
        Ok(counts) if counts.is_empty() => "none".to_owned(),
        Ok(counts) => {
            let each = counts.iter().map(|(status, count)| format!("{count} {}", plain(status)));
            each.collect::<Vec<_>>().join(", ")
        }
        Err(error) => format!("cannot be read: {error}"),
    }
}

fn as_json(board: &BoardPaths, seen: &Seen, current: Option<&Slug>) -> Value {
    let metadata = &seen.metadata;
    let (counts, error) = (seen.counts.as_ref().ok(), seen.counts.as_ref().err());
    json!({
        "slug": board.slug.as_str(), "name": metadata.name, "description": metadata.description,
        "icon": metadata.icon, "color": metadata.color,
        "default_workdir": metadata.default_workdir, "created_at": metadata.created_at,
        "archived": metadata.archived, "db_path": board.db.to_string_lossy(),
        "is_current": current == Some(&board.slug), "counts": counts, "error": error,
    })
}

fn create(place: &Place<'_>, args: &Create, globals: &Globals) -> Result<(), Failure> {
    let root = &place.root.path;
    let board = BoardPaths::new(root, args.slug.clone(), &place.env);
    let is_default = args.slug.as_str() == DEFAULT_BOARD;
    if board.db.exists() || (!is_default && board_exists(root, &args.slug)) {
        let problem = format!("there is a board `{}` already; choose another name", args.slug);
        return Err(Failure::Refused(problem));
    }
    for file in [&board.db, &board.metadata] {
        if let Some(directory) = file.parent() {
            fs::create_dir_all(directory).map_err(|error| cannot_write(directory, &error))?;
        }
    }
    crate::board::create(&board.db)?;
    write_whole(&board.metadata, &format!("{:#}\n", metadata(args)))?;
    if args.switch {
        write_whole(&root.join("kanban/current"), &format!("{}\n", args.slug))?;
    }
    let mut out = Out::new();
    if globals.json {
        let current = place.board().ok().map(|board| board.slug);
        out.json(&as_json(&board, &look(&board), current.as_ref()))?;
    } else {
        out.line(format_args!("made the board `{}` at {}", args.slug, board.db.display()))?;
    }
    out.flush()
}

fn metadata(args: &Create) -> Value {
    let name = args.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    json!({
        "slug": args.slug.as_str(),
        "name": name.map_or_else(|| args.slug.title(), str::to_owned),
        "description": args.description.as_deref().unwrap_or(""),
        "icon": args.icon.as_deref().unwrap_or(""),
        "color": args.color.as_deref().unwrap_or(""),
        "default_workdir": args.default_workdir,
        "created_at": clock::unix(),
        "archived": false,
    })
}

/// Writes a small file so that others see all of it or none.
fn write_whole(path: &Path, text: &str) -> Result<(), Failure> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(directory).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)
    });
    written.map(|_| ()).map_err(|error| cannot_write(path, &error))
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Refused(format!("cannot write {}: {error}", path.display()))
}
