//! Durations as they stand in the file: `"60s"`, `"1m30s"`, `"500ms"`.

use std::fmt;

use jiff::SignedDuration;
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// What to write when a duration is refused.
const FORM: &str = "a duration such as \"60s\", \"1m30s\" or \"500ms\"";

/// Whole milliseconds, never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Millis(pub u64);

impl Millis {
    /// As whole seconds, if they are whole and fit.
    pub(super) fn seconds(self) -> Option<u32> {
        self.0.is_multiple_of(1000).then(|| u32::try_from(self.0 / 1000).ok()).flatten()
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        if millis == 0 {
            write!(f, "{seconds}s")
        } else if i64::try_from(self.0).is_ok() {
            write!(f, "{}ms", self.0)
        } else {
            // Too many for one number, as far as the parser is concerned.
            write!(f, "{seconds}s {millis}ms")
        }
    }
}

impl<'de> Deserialize<'de> for Millis {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Millis, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Millis;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(FORM)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Millis, E> {
                parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

fn parse(text: &str) -> Result<Millis, String> {
    let duration: SignedDuration =
        text.trim().parse().map_err(|_| format!("`{text}` is not a duration; write {FORM}"))?;
    if duration.is_negative() {
        return Err(format!("`{text}` is negative; write {FORM}"));
    }
    if duration.subsec_nanos() % 1_000_000 != 0 {
        return Err(format!("`{text}` is finer than a millisecond; write {FORM}"));
    }
    u64::try_from(duration.as_millis())
        .map(Millis)
        .map_err(|_| format!("`{text}` is too long; write {FORM}"))
}
