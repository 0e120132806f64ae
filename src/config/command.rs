//! A worker's command line, with places for what is known of the task.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

/// What a command line is filled with.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Id of the task, from `tasks.id`.
    pub task_id: &'a str,
    /// Title of the task, from `tasks.title`.
    pub title: &'a str,
    /// The task's body; empty if it has none.
    pub body: &'a str,
    /// The directory in which the worker starts.
    pub workspace: &'a OsStr,
    /// Name of the board, as in `--board`.
    pub board: &'a str,
    /// Id of the run, from `task_runs.id`.
    pub run_id: i64,
}

/// A command line and the variables that go with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerCommand {
    /// True if the task's body is used somewhere.
    pub needs_body: bool,
    /// Set for the worker, on top of what every worker gets.
    pub env: BTreeMap<String, String>,
    /// The elements as configured.
    source: Vec<String>,
    elements: Vec<Vec<Part>>,
}

/// A piece of one element.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Fact(Fact),
}

/// What can be filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    TaskId,
    Title,
    Body,
    Workspace,
    Board,
    RunId,
}

const FACTS: [(&str, Fact); 6] = [
    ("task_id", Fact::TaskId),
    ("title", Fact::Title),
    ("body", Fact::Body),
    ("workspace", Fact::Workspace),
    ("board", Fact::Board),
    ("run_id", Fact::RunId),
];

impl WorkerCommand {
    /// Makes a command of elements that passed [`WorkerCommand::check`].
    pub(super) fn new(elements: &[&str], env: BTreeMap<String, String>) -> WorkerCommand {
        let source = elements.iter().map(|&element| element.to_owned()).collect();
        let elements: Vec<_> =
            elements.iter().map(|element| parse(element).unwrap_or_default()).collect();
        let needs_body = elements.iter().flatten().any(|part| *part == Part::Fact(Fact::Body));
        WorkerCommand { needs_body, env, source, elements }
    }

    /// What is wrong with one element, if anything is.
    pub(super) fn check(element: &str) -> Result<(), String> {
        parse(element).map(|_| ())
    }

    /// The elements as configured.
    #[must_use]
    pub fn source(&self) -> &[String] {
        &self.source
    }

    /// The command line for one run. Each fact stays within its element, and what was filled in is
    /// not looked at again.
    #[must_use]
    pub fn argv(&self, facts: &Facts<'_>) -> Vec<OsString> {
        self.elements.iter().map(|parts| fill(parts, facts)).collect()
    }
}

fn fill(parts: &[Part], facts: &Facts<'_>) -> OsString {
    let mut filled = OsString::new();
    for part in parts {
        match part {
            Part::Text(text) => filled.push(text),
            Part::Fact(Fact::TaskId) => filled.push(facts.task_id),
            Part::Fact(Fact::Title) => filled.push(facts.title),
            Part::Fact(Fact::Body) => filled.push(facts.body),
            Part::Fact(Fact::Workspace) => filled.push(facts.workspace),
            Part::Fact(Fact::Board) => filled.push(facts.board),
            Part::Fact(Fact::RunId) => filled.push(facts.run_id.to_string()),
        }
    }
    filled
}

/// Splits an element at its placeholders. `{{` and `}}` stand for single braces.
fn parse(element: &str) -> Result<Vec<Part>, String> {
    if element.contains('\0') {
        return Err("a command line cannot hold a zero byte; remove it".to_owned());
    }
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = element;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, tail) = rest.split_at(at);
        text.push_str(before);
        if let Some(after) = tail.strip_prefix("{{") {
            text.push('{');
            rest = after;
        } else if let Some(after) = tail.strip_prefix("}}") {
            text.push('}');
            rest = after;
        } else if let Some(after) = tail.strip_prefix('{') {
            let (name, after) = after.split_once('}').ok_or_else(unclosed)?;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Fact(fact(name)?));
            rest = after;
        } else {
            return Err("`}` closes nothing; write `}}` for a brace".to_owned());
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    Ok(parts)
}

fn unclosed() -> String {
    "`{` is not closed; write `{{` for a brace".to_owned()
}

fn fact(name: &str) -> Result<Fact, String> {
    FACTS.iter().find(|(known, _)| *known == name).map(|(_, fact)| *fact).ok_or_else(|| {
        format!(
            "`{{{name}}}` is not a placeholder; use {{task_id}}, {{title}}, {{body}}, \
             {{workspace}}, {{board}} or {{run_id}}, and `{{{{` and `}}}}` for braces"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(elements: &[&str]) -> Vec<String> {
        let facts = Facts {
            task_id: "t_1",
            title: "{body}",
            body: "echo \"$HOME\" {title}; exit 1",
            workspace: OsStr::new("/w s"),
            board: "default",
            run_id: 7,
        };
        let argv = WorkerCommand::new(elements, BTreeMap::new()).argv(&facts);
        argv.into_iter().map(|element| element.into_string().unwrap()).collect()
    }

    #[test]
    fn facts_are_filled_in_within_their_element_and_only_once() {
        assert_eq!(
            argv(&["sh", "-c", "{body}", "--{title}={workspace}"]),
            ["sh", "-c", "echo \"$HOME\" {title}; exit 1", "--{body}=/w s"]
        );
        assert_eq!(argv(&["{task_id}{run_id}@{board}"]), ["t_17@default"]);
    }

    #[test]
    fn doubled_braces_are_braces() {
        assert_eq!(
            argv(&["${{HOME}}", "{{body}}", "{{{board}}}"]),
            ["${HOME}", "{body}", "{default}"]
        );
    }

    #[test]
    fn only_a_command_with_a_body_needs_one() {
        assert!(WorkerCommand::new(&["x", "-b={body}"], BTreeMap::new()).needs_body);
        assert!(!WorkerCommand::new(&["x", "{{body}}", "{title}"], BTreeMap::new()).needs_body);
    }

    #[test]
    fn mistakes_are_named() {
        for (element, says) in [
            ("{bodyy}", "`{bodyy}` is not a placeholder"),
            ("${HOME}", "`{HOME}` is not a placeholder"),
            ("{}", "`{}` is not a placeholder"),
            ("a { b", "`{` is not closed"),
            ("a } b", "`}` closes nothing"),
            ("a\0b", "zero byte"),
        ] {
            let problem = WorkerCommand::check(element).unwrap_err();
            assert!(problem.contains(says), "{element}: {problem}");
        }
    }
}
