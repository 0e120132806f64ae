//! The progress of a long command, on a terminal.

use std::env;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar in this style, on standard error if that is a terminal and NO_COLOR is not set.
pub fn bar(length: Option<u64>, template: &str) -> ProgressBar {
    let plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(length, target);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
