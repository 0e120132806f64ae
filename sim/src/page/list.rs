//! The records as text, one row each.

use crate::page::kind;
use crate::page::lane;
use crate::page::text::{Clock, Esc, Html};
use crate::trace::Record;

/// A row's text is cut after so many characters; the page would be all observations otherwise.
const LONGEST: usize = 900;

/// All rows from `first` on.
pub fn rows(out: &mut Html, records: &[Record], first: usize) {
    for (n, record) in records.iter().enumerate().skip(first) {
        let (class, lane) = (kind::class(record), lane::id(record.who));
        out.add(format_args!(
            "<div class=\"r {class}\" id=\"r{n}\" data-w=\"{lane}\"><i>{n}</i><time>{}</time><b>{}</b>\
             <span>{}</span><code>{}</code></div>\n",
            Clock(record.at),
            Esc(record.who),
            Esc(kind::words(record)),
            Esc(cut(&kind::raw(record))),
        ));
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}\u{2026}", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_long_text_is_cut_between_two_characters() {
        let long = "\u{e9}".repeat(super::LONGEST + 1);
        assert_eq!(super::cut(&long).chars().count(), super::LONGEST + 1);
        assert_eq!(super::cut("short"), "short");
    }
}
