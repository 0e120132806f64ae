//! Text on its way into the page.

use std::fmt;

use sexton::machine::verdict::ExitStatus;

/// A page in the making.
#[derive(Default)]
pub struct Html(String);

impl Html {
    /// Goes on with this: markup, in which all text was escaped.
    pub fn add(&mut self, markup: fmt::Arguments<'_>) {
        // Nothing that writes into memory fails.
        let _ = fmt::Write::write_fmt(&mut self.0, markup);
    }

    /// All of it.
    pub fn done(self) -> String {
        self.0
    }
}

/// Text that no browser takes for anything else.
pub struct Esc<T>(pub T);

impl<T: fmt::Display> fmt::Display for Esc<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Write::write_fmt(&mut Escaping(f), format_args!("{}", self.0))
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            '\n' | '\t' => fmt::Write::write_char(self.0, c),
            c if c.is_control() => self.0.write_str("\u{fffd}"),
            c => fmt::Write::write_char(self.0, c),
        })
    }
}

/// A moment, in seconds.
pub struct Clock(pub u64);

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1000, self.0 % 1000)
    }
}

/// How long something lasted, in the unit in which one thinks of it.
pub struct Lasting(pub u64);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms @ 0..1_000 => write!(f, "{ms} ms"),
            ms @ 1_000..120_000 => write!(f, "{}.{} s", ms / 1000, ms % 1000 / 100),
            ms @ 120_000..7_200_000 => write!(f, "{} min", ms / 60_000),
            ms => write!(f, "{}.{} h", ms / 3_600_000, ms % 3_600_000 / 360_000),
        }
    }
}

/// How a process ended, in words.
pub struct Ending(pub ExitStatus);

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ExitStatus::Code(code) => write!(f, "exit {code}"),
            ExitStatus::Signal(9) => f.write_str("killed (KILL)"),
            ExitStatus::Signal(11) => f.write_str("crashed (SEGV)"),
            ExitStatus::Signal(15) => f.write_str("ended by TERM"),
            ExitStatus::Signal(signal) => write!(f, "ended by signal {signal}"),
            ExitStatus::Unknown => f.write_str("ended, nobody knows how"),
        }
    }
}

/// Puts the parts, in this order, where a template has `<!--name-->`. What was put in is not looked
/// at again.
pub fn fill(template: &str, parts: &[(&str, &str)]) -> String {
    let mut page = String::new();
    let mut rest = template;
    for (name, part) in parts {
        if let Some((before, after)) = rest.split_once(&format!("<!--{name}-->")) {
            page.push_str(before);
            page.push_str(part);
            rest = after;
        }
    }
    page.push_str(rest);
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(
            Esc("<b a='\"'>&\u{1}").to_string(),
            "&lt;b a=&#39;&quot;&#39;&gt;&amp;\u{fffd}"
        );
    }

    #[test]
    fn what_was_filled_in_is_not_a_template() {
        let page = fill("a<!--x-->b<!--y-->c", &[("x", "<!--y-->"), ("y", "2")]);
        assert_eq!(page, "a<!--y-->b2c");
    }

    #[test]
    fn lengths_are_told_in_a_fitting_unit() {
        let told = [7, 1_250, 180_000, 9_000_000].map(|ms| Lasting(ms).to_string());
        assert_eq!(told, ["7 ms", "1.2 s", "3 min", "2.5 h"]);
    }
}
