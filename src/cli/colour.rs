//! Whether standard output is coloured.

use std::io::{self, IsTerminal};

/// Whether colours are wanted: on a terminal that has them, unless `NO_COLOR` is set.
#[must_use]
pub fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    io::stdout().is_terminal() && !is_set("NO_COLOR") && !is_dumb
}
