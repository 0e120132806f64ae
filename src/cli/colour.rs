//! Whether output is coloured.

use std::io::IsTerminal;

/// Returns whether `stream` gets colours: it is a terminal that has them, and `NO_COLOR` is not set.
#[must_use]
pub fn wants_colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && !anstyle_query::no_color() && anstyle_query::term_supports_color()
}
