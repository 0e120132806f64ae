//! Options that every command has.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::root::Slug;

/// Options that every command has.
#[derive(Clone, Debug, Args)]
pub struct Globals {
    /// The directory that holds the boards.
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub root: Option<PathBuf>,
    /// Which board; else HERMES_KANBAN_BOARD, else the one chosen by `boards create --switch`, else
    /// `default`.
    #[arg(long, global = true, value_name = "NAME")]
    pub board: Option<Slug>,
    /// The configuration, instead of sexton.toml in the root or in the XDG config directory.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON instead of text.
    #[arg(long, global = true)]
    pub json: bool,
    /// How log lines look; default: human.
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Human,
    /// One JSON object a line.
    Json,
}
