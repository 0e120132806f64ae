//! Text from a board, made harmless for a terminal.

/// A text for one line of a terminal: what could move its cursor or ring its bell is replaced.
#[must_use]
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// A text of several lines, made harmless in the same way.
#[must_use]
pub fn plain_lines(text: &str) -> String {
    let harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    text.chars().map(|c| if harmless(c) { c } else { '\u{fffd}' }).collect()
}
