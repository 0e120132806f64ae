//! Times and durations as people write and read them.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A moment in local time; today's without the date.
#[must_use]
pub fn moment(unix: i64, now: i64) -> String {
    let local =
        |unix| Timestamp::from_second(unix).map(|time| time.to_zoned_datetime(TimeZone::system()));
    match (local(unix), local(now)) {
        (Ok(time), Ok(today)) if time.date() == today.date() => {
            time.strftime("%H:%M:%S").to_string()
        }
        (Ok(time), _) => time.strftime("%Y-%m-%d %H:%M").to_string(),
        (Err(_), _) => format!("second {unix}"),
    }
}

/// Whole seconds from `90s`, `30m`, `2h`, `1d`, `1h30m` or a bare number, at least one.
pub fn seconds(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let seconds = match (text.parse::<i64>(), text.strip_suffix('d').map(str::parse::<i64>)) {
        (Ok(seconds), _) => Some(seconds),
        (Err(_), Some(Ok(days))) => days.checked_mul(86_400),
        _ => duration(text).ok().map(|duration| duration.as_secs()),
    };
    seconds
        .filter(|seconds| *seconds >= 1)
        .ok_or_else(|| "write for example 90s, 30m, 2h or 1d; at least one second".to_owned())
}

/// Milliseconds from `10s`, `500ms`, `1m30s`; zero is allowed.
pub fn millis(text: &str) -> Result<u64, String> {
    duration(text)
        .ok()
        .and_then(|duration| u64::try_from(duration.as_millis()).ok())
        .ok_or_else(|| "write for example 10s, 500ms or 1m30s".to_owned())
}

fn duration(text: &str) -> Result<SignedDuration, jiff::Error> {
    text.trim().parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_in_the_usual_forms() {
        for (text, expected) in
            [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for text in ["", "0", "-5", "0s", "soon", "1x", "99999999999999999d"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(millis("500ms"), Ok(500));
        assert!(millis("-1s").is_err());
    }
}
