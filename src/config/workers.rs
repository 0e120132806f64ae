//! What a worker may be called.

/// Whether an assignee can have this name.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 64
        && name.starts_with(fits)
        && name.chars().all(|c| fits(c) || c == '_' || c == '-')
}
