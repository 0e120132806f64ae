//! Tables with aligned columns, for people.

use std::io;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::colour::wants_colour;

/// A table that fits the terminal but never cuts or wraps its first column, which holds names that
/// people copy.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if !wants_colour(&io::stdout()) {
        table.force_no_tty();
    }
    table.set_header(header.iter().copied());
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    table
}
