//! Any text as `sexton.toml`: refused in one line that names line and column, or taken, and then it
//! prints as a text that means the same.

use std::ffi::OsStr;
use std::path::Path;

use arbitrary::{Result, Unstructured};
use sexton::config::{Config, ConfigError, Facts};

/// Parses the text that `data` stands for.
pub fn check(data: &[u8]) {
    if let Some((b'#', _)) = data.split_first() {
        // As it stands. A comment is as good a beginning as any.
        if let Ok(text) = std::str::from_utf8(data) {
            judge(text);
        }
    } else if let Ok(text) = compose(&mut Unstructured::new(data)) {
        judge(&text);
    }
}

/// A text of mostly sensible pieces.
fn compose(u: &mut Unstructured<'_>) -> Result<String> {
    let mut text = String::new();
    while !u.is_empty() {
        match u.int_in_range(0..=7)? {
            0 => text.push_str("[dispatch]\n"),
            1 => {
                let name = any_string(u)?;
                text.push_str(&format!("[worker.{name}]\n"));
                if !u.ratio(1, 8)? {
                    text.push_str(&format!("command = {}\n", any_list(u)?));
                }
            }
            2..=4 => {
                let keys = [
                    "interval",
                    "max_workers",
                    "max_in_progress",
                    "failure_limit",
                    "default_assignee",
                    "claim_ttl",
                    "cooldown",
                    "log_rotate_bytes",
                    "log_backups",
                ];
                text.push_str(&format!("{} = {}\n", u.choose(&keys)?, any_value(u)?));
            }
            5 | 6 => {
                let keys = ["completion", "max_runtime", "kill_after", "leftovers", "env"];
                text.push_str(&format!("{} = {}\n", u.choose(&keys)?, any_value(u)?));
            }
            _ => {
                let piece = ["\n", "# é\n", "\r\n", "[", "]", "=", "\"", "\t", "\u{feff}", "'''"];
                text.push_str(u.choose(&piece)?);
            }
        }
    }
    Ok(text)
}

fn any_value(u: &mut Unstructured<'_>) -> Result<String> {
    let durations = [
        "60s",
        "0s",
        "1ms",
        "1m30s",
        "500ms",
        "1500ms",
        "1h",
        "90",
        "-5s",
        "1us",
        "1.5s",
        "PT5S",
        "5 minutes",
        "4294967295s",
        "4294967296s",
        "9223372036854775807ms",
        "9223372036854775s 999ms",
        "9223372036854776s 1ms",
        "18446744073709551s 615ms",
        "18446744073709551615ms",
        "9223372036854775807s",
        "1d",
        "136y",
        " 7s ",
        "7s,",
        "7S",
        "exit-status",
        "board",
        "end",
        "keep",
    ];
    Ok(match u.int_in_range(0..=7)? {
        0 | 1 => {
            let numbers = [0, 1, -1, 8, 4_294_967_295, 4_294_967_296, i64::MAX, i64::MIN];
            u.choose(&numbers)?.to_string()
        }
        2..=4 => format!("\"{}\"", u.choose(&durations)?),
        5 => format!("{{ {} = {} }}", any_string(u)?, any_string(u)?),
        6 => any_list(u)?,
        _ => any_string(u)?,
    })
}

fn any_list(u: &mut Unstructured<'_>) -> Result<String> {
    let count = u.int_in_range(0..=3)?;
    let items = (0..count).map(|_| any_string(u)).collect::<Result<Vec<_>>>()?;
    Ok(format!("[{}]", items.join(", ")))
}

/// A TOML string, bare at times.
fn any_string(u: &mut Unstructured<'_>) -> Result<String> {
    let pieces = [
        "shell",
        "a",
        "sh",
        "-c",
        "{body}",
        "{title}",
        "{{",
        "}}",
        "{",
        "}",
        "{bodyy}",
        "\\n",
        "\\r",
        "\\u0000",
        "\\u001b[31m",
        "\\u0085",
        "\\u2028",
        "\\u202E",
        "\\\"",
        "\\\\",
        "é",
        "=",
        " ",
        "A",
        "_",
        "-",
        "",
        "z9",
    ];
    let bare = u.ratio(1, 3)?;
    let count = u.int_in_range(0..=3)?;
    let text = (0..count).map(|_| u.choose(&pieces).copied()).collect::<Result<String>>()?;
    Ok(if bare { text } else { format!("\"{text}\"") })
}

fn judge(text: &str) {
    match Config::parse(text, Path::new("sexton.toml")) {
        Ok(config) => prints_the_same(text, &config),
        Err(error) => is_clear(text, &error),
    }
}

fn prints_the_same(text: &str, config: &Config) {
    let printed = config.to_toml();
    let again = Config::parse(&printed, Path::new("sexton.toml"));
    let again = again.unwrap_or_else(|error| panic!("{text}\nprints as\n{printed}\n{error}"));
    assert_eq!(&again, config, "{text}\nprints as\n{printed}");
    assert_eq!(again.to_toml(), printed);
    let facts = Facts {
        task_id: "t_1",
        title: "{body}",
        body: "}{",
        workspace: OsStr::new("/tmp"),
        board: "default",
        run_id: i64::MIN,
    };
    for command in &config.commands {
        assert_eq!(command.argv(&facts).len(), command.source().len());
    }
    assert!(config.policy.max_workers > 0 && config.policy.interval_ms > 0);
    assert_eq!(config.policy.workers.len(), config.commands.len());
}

fn is_clear(text: &str, error: &ConfigError) {
    let ConfigError::Invalid { line, column, problem, .. } = error else {
        panic!("nothing was read: {error}");
    };
    let lines: Vec<&str> = text.split('\n').collect();
    let there = line.checked_sub(1).and_then(|line| lines.get(line));
    let there = there.unwrap_or_else(|| panic!("there is no line {line}: {error}"));
    let columns = there.chars().count() + 1;
    assert!((1..=columns).contains(column), "there is no column {column} in {there:?}: {error}");
    assert!(!problem.trim().is_empty(), "{error}");
    let message = error.to_string();
    assert!(message.starts_with(&format!("sexton.toml:{line}:{column}: ")), "{message}");
    assert!(!message.contains(char::is_control), "not one line, or not plain: {message:?}");
}
