use std::fs;

use super::*;
use crate::machine::hold::Lane;
use crate::machine::ids::WorkerId;
use crate::machine::policy::Completion;

fn parse(text: &str) -> Config {
    Config::parse(text, Path::new("sexton.toml")).unwrap()
}

fn refused(text: &str) -> String {
    Config::parse(text, Path::new("sexton.toml")).unwrap_err().to_string()
}

const FULL: &str = r#"
[dispatch]
interval = "1500ms"
max_workers = 3
max_in_progress = 2
failure_limit = 5
default_assignee = "zed"
claim_ttl = "1m30s"
cooldown = "0s"
log_rotate_bytes = 4096
log_backups = 0

[worker.zed]
command = ["sh", "-c", "echo '{title}' ${{HOME}}\n{body}"]
completion = "board"
max_runtime = "2h"
kill_after = "250ms"
leftovers = "keep"
env = { A = "1", B = "two \"words\"" }

[worker.abc]
command = ["/bin/true"]
"#;

#[test]
fn every_key_is_read() {
    let config = parse(FULL);
    let policy = &config.policy;
    assert_eq!((policy.interval_ms, policy.claim_ttl_s, policy.cooldown_s), (1_500, 90, 0));
    assert_eq!((policy.max_workers, policy.max_in_progress, policy.failure_limit), (3, 2, 5));
    assert_eq!(config.logs, Rotation { rotate_bytes: 4096, backups: 0 });
    let zed = config.workers.id("zed").unwrap();
    assert_eq!(policy.default_worker, Some(zed));
    assert_eq!(
        policy.worker(zed),
        WorkerPolicy {
            enabled: true,
            completion: Completion::Board,
            needs_body: true,
            max_runtime_s: Some(7_200),
            kill_after_ms: 250,
            keep_leftovers: true,
        }
    );
    let abc = config.workers.id("abc").unwrap();
    assert_eq!(policy.worker(abc), WorkerPolicy::default());
}

#[test]
fn an_empty_file_means_the_defaults() {
    assert_eq!(parse(""), Config::default());
}

#[test]
fn what_init_writes_is_the_default_with_one_worker() {
    let config = parse(DEFAULT_TEXT);
    let mut expected = Policy::default();
    expected.workers.push(WorkerPolicy { needs_body: true, ..WorkerPolicy::default() });
    expected.default_worker = Some(WorkerId(0));
    assert_eq!(config.policy, expected);
    assert_eq!(config.logs, Rotation::default());
    let shown: String = DEFAULT_TEXT.replace("\n# ", "\n").lines().map(uncommented).collect();
    assert_eq!(parse(&shown).policy.worker(WorkerId(0)).max_runtime_s, Some(3_600));
}

/// Keeps the settings of the commented file and drops its prose.
fn uncommented(line: &str) -> String {
    let setting =
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(k, _)| !k.contains(' '));
    if setting { format!("{line}\n") } else { String::new() }
}

#[test]
fn a_printed_configuration_parses_to_the_same() {
    for text in ["", FULL, DEFAULT_TEXT] {
        let config = parse(text);
        assert_eq!(parse(&config.to_toml()), config, "{}", config.to_toml());
    }
}

#[test]
fn each_mistake_is_refused_where_it_stands() {
    for (text, says) in [
        (
            "[dispatch]\nmax_workers = -1",
            "sexton.toml:2:15: max_workers is -1, but must be at least 1",
        ),
        ("[dispatch]\nmax_in_progress = 0", "2:19: max_in_progress is 0, but must be"),
        (
            "[dispatch]\nfailure_limit = 99999999999",
            "2:17: failure_limit is 99999999999, which is too large",
        ),
        ("[dispatch]\ninterval = \"0s\"", "2:12: interval must be at least \"1ms\""),
        (
            "[dispatch]\ninterval = 60",
            "2:12: invalid type: integer `60`, expected a duration such as",
        ),
        ("[dispatch]\ninterval = \"soon\"", "2:12: `soon` is not a duration; write"),
        ("[dispatch]\ninterval = \"-5s\"", "2:12: `-5s` is negative"),
        ("[dispatch]\ninterval = \"1us\"", "2:12: `1us` is finer than a millisecond"),
        (
            "[dispatch]\nclaim_ttl = \"1500ms\"",
            "2:13: claim_ttl is 1500ms, but is kept in whole seconds",
        ),
        ("[dispatch]\nclaim_ttl = \"0s\"", "2:13: claim_ttl must be at least \"1s\""),
        ("[dispatch]\nlog_backups = -3", "2:15: log_backups is -3"),
        ("[dispatch]\nmax_worker = 3", "2:1: unknown field `max_worker`, expected"),
        ("[despatch]\n", "1:2: unknown field `despatch`, expected"),
        (
            "[dispatch]\ndefault_assignee = \"x\"",
            "2:20: default_assignee is `x`, but no such worker",
        ),
        ("[worker.x]\n", "1:1: missing field `command`"),
        ("[worker.x]\ncommand = []", "2:11: command names no program"),
        ("[worker.x]\ncommand = [\"\"]", "2:11: command names no program"),
        ("[worker.x]\ncommand = [\"sh\", \"{what}\"]", "2:18: `{what}` is not a placeholder"),
        ("[worker.x]\ncommand = \"sh\"", "2:11: invalid type: string"),
        ("[worker.x]\ncommand = [\"sh\"]\ncompletion = \"maybe\"", "3:14: unknown variant `maybe`"),
        (
            "[worker.x]\ncommand = [\"sh\"]\nenv = { \"a=b\" = \"\" }",
            "3:9: this cannot be the name",
        ),
        ("[worker.Shell]\ncommand = [\"sh\"]", "1:9: `Shell` cannot be an assignee"),
        ("[worker.\"a b\"]\ncommand = [\"sh\"]", "1:9: `a b` cannot be an assignee"),
        ("[dispatch]\n\"ü\" = 1\nmax_workers = \n", "3:"),
        ("[dispatch\n", "1:10: "),
    ] {
        let message = refused(text);
        assert!(message.contains(says), "{text}\n-> {message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn a_reload_keeps_the_numbers_of_the_names() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("sexton.toml");
    let write = |text: &str| fs::write(&path, text).unwrap();
    write("[worker.b]\ncommand = [\"b\"]\n[worker.c]\ncommand = [\"c\"]\n");
    let old = Config::load(None, dir.path(), &Environment::default()).unwrap();
    assert_eq!(old.path.as_ref(), Some(&path));

    write(
        "[dispatch]\ndefault_assignee = \"c\"\nmax_workers = 2\n\
         [worker.a]\ncommand = [\"a\", \"{body}\"]\n[worker.c]\ncommand = [\"c2\"]\n",
    );
    let new = old.reload().unwrap();
    assert_eq!(new.workers.names().collect::<Vec<_>>(), ["b", "c", "a"]);
    let enabled: Vec<bool> = new.policy.workers.iter().map(|worker| worker.enabled).collect();
    assert_eq!(enabled, [false, true, true]);
    assert_eq!(new.policy.default_worker, Some(WorkerId(1)));
    assert_eq!(new.policy.max_workers, 2);
    let programs: Vec<&str> = new.commands.iter().map(|c| c.source()[0].as_str()).collect();
    assert_eq!(programs, ["b", "c2", "a"]);
    assert!(new.policy.workers[2].needs_body);

    write("[worker.b]\ncommand = [\"b3\"]\n");
    let back = new.reload().unwrap();
    let enabled: Vec<bool> = back.policy.workers.iter().map(|worker| worker.enabled).collect();
    assert_eq!(enabled, [true, false, false]);
    assert_eq!(back.policy.default_worker, None);

    write("[worker.b]\ncommand = []\n");
    assert!(back.reload().is_err());
    fs::remove_file(&path).unwrap();
    let none = back.reload().unwrap();
    assert_eq!(none.path, None);
    assert!(none.policy.workers.iter().all(|worker| !worker.enabled));
}

#[test]
fn the_file_is_looked_for_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let user = dir.path().join("config/sexton");
    fs::create_dir_all(&root).unwrap();
    fs::create_dir_all(&user).unwrap();
    let config_home = dir.path().join("config");
    let env = Environment::of(&[("XDG_CONFIG_HOME", config_home.to_str().unwrap())]);
    let workers = |flag: Option<&Path>| Config::load(flag, &root, &env).unwrap().policy.max_workers;
    assert_eq!(workers(None), 8);
    fs::write(user.join("sexton.toml"), "[dispatch]\nmax_workers = 1").unwrap();
    assert_eq!(workers(None), 1);
    fs::write(root.join("sexton.toml"), "[dispatch]\nmax_workers = 2").unwrap();
    assert_eq!(workers(None), 2);
    let own = dir.path().join("own.toml");
    fs::write(&own, "[dispatch]\nmax_workers = 3").unwrap();
    assert_eq!(workers(Some(&own)), 3);
    let missing = Config::load(Some(&dir.path().join("no.toml")), &root, &env).unwrap_err();
    assert!(missing.to_string().contains("no.toml: cannot be read"), "{missing}");
}

#[test]
fn an_assignee_is_a_worker_empty_or_foreign() {
    let workers = parse(DEFAULT_TEXT).workers;
    assert_eq!(workers.lane(Some(" Shell ")), Lane::Worker(WorkerId(0)));
    assert_eq!(workers.lane(Some("orion")), Lane::Foreign);
    for blank in [None, Some(""), Some("  ")] {
        assert_eq!(workers.lane(blank), Lane::Unassigned);
    }
}
