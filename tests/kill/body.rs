//! Workers that write down what they did, to compare it with what the board says of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::dice::Dice;

/// Only one worker at a time can lock its task. How an attempt ends depends on how many came before
/// it.
const SCRIPT: &str = r#"
log="$1/$SEXTON_TASK_ID"; millis=$2; shift 2
exec 9>> "$log.lock"
flock -n 9 || echo "OVERLAP $SEXTON_RUN_ID" >> "$log"
before=$(grep -c ^began "$log" 2> /dev/null)
echo "began $SEXTON_RUN_ID $$" >> "$log"
while [ "${before:-0}" -gt 0 ] && [ $# -gt 1 ]; do shift; before=$((before - 1)); done
sleep "$((millis / 1000)).$(printf %03d $((millis % 1000)))" 9>&-
echo "ended $SEXTON_RUN_ID $1" >> "$log"
[ "$1" != 9 ] || kill -9 $$
exit "$1"
"#;

/// How the attempts of a task end, in order; the last one repeats. 9 stands for SIGKILL.
const ENDS: [&str; 10] = ["0", "0", "0", "0", "0", "1 0", "3 0", "75 0", "9 75 0", "1 9 3"];

/// Writes the script into a new directory, where its workers write too.
pub fn prepare(directory: &Path) {
    fs::create_dir(directory).unwrap();
    fs::write(directory.join("script"), SCRIPT).unwrap();
}

/// Returns the command of a worker that runs for this long.
pub fn command(directory: &Path, millis: u64, ends: &str) -> String {
    let directory = directory.display();
    format!("exec sh '{directory}/script' '{directory}' {millis} {ends}")
}

/// Returns the command of a worker that runs for 0.1 to 2 s, mostly for less than 1 s, and ends in any
/// way.
pub fn any(directory: &Path, dice: &mut Dice) -> String {
    let longest = dice.pick(&[400, 800, 1_900]);
    command(directory, 100 + dice.below(longest), dice.pick(&ENDS))
}

/// What the workers of a task wrote.
#[derive(Debug, Default)]
pub struct Log {
    /// The runs that began, with their workers' pids, in order.
    pub began: Vec<(i64, i32)>,
    /// How each run ended, for those that did.
    pub ended: BTreeMap<i64, i32>,
    /// A worker found another one of its task.
    pub overlaps: usize,
}

impl Log {
    pub fn of(directory: &Path, task: &str) -> Log {
        let text = fs::read_to_string(directory.join(task)).unwrap_or_default();
        let mut log = Log::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["began", run, pid] => {
                    log.began.push((run.parse().unwrap(), pid.parse().unwrap()));
                }
                ["ended", run, code] => {
                    let before = log.ended.insert(run.parse().unwrap(), code.parse().unwrap());
                    assert_eq!(before, None, "{task}: {text}");
                }
                ["OVERLAP", _] => log.overlaps += 1,
                _ => panic!("{task}: {text}"),
            }
        }
        log
    }
}
