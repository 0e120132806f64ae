//! Names of boards, which are also names of directories.

use std::fmt;
use std::str::FromStr;

use super::RootError;

/// The name of a board: `[a-z0-9][a-z0-9_-]{0,63}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slug(String);

impl Slug {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A title made of the name: `night-shift` becomes `Night Shift`.
    #[must_use]
    pub fn title(&self) -> String {
        let words = self.0.split(['-', '_']).map(|word| {
            let (first, rest) = word.split_at(word.len().min(1));
            first.to_ascii_uppercase() + rest
        });
        words.collect::<Vec<_>>().join(" ").trim().to_owned()
    }
}

impl FromStr for Slug {
    type Err = RootError;

    /// Trims and lower-cases, as the client does.
    fn from_str(text: &str) -> Result<Slug, RootError> {
        let slug = text.trim().to_ascii_lowercase();
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let valid = slug.len() <= 64
            && slug.starts_with(fits)
            && slug.chars().all(|c| fits(c) || c == '_' || c == '-');
        if valid { Ok(Slug(slug)) } else { Err(RootError::BadSlug(text.to_owned())) }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_lower_cased() {
        assert_eq!(" Night-Shift_2 ".parse::<Slug>().unwrap().as_str(), "night-shift_2");
    }

    #[test]
    fn an_invalid_name_is_refused() {
        let long = "x".repeat(65);
        for text in ["", "  ", "-a", "_archived", "a b", "a/b", "..", "ä", long.as_str()] {
            assert!(text.parse::<Slug>().is_err(), "{text}");
        }
        assert!("x".repeat(64).parse::<Slug>().is_ok());
    }

    #[test]
    fn a_title_is_made_of_the_name() {
        assert_eq!("night-shift_two".parse::<Slug>().unwrap().title(), "Night Shift Two");
    }
}
