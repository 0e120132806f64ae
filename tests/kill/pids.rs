//! Pids that go round: those of workers that have ended are soon those of strangers, which must never
//! get a signal that was meant for a worker.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::sys::utsname::uname;
use nix::unistd::Pid;

use crate::claims::Claim;
use crate::processes;
use crate::scene::Scene;
use crate::sizes;
use crate::support::gate::Gate;
use crate::support::process::children_of;
use crate::support::running::Running;
use crate::support::skip::skipped;
use crate::support::wait::wait_until;

/// How many pids there are, of which the kernel gives out the lowest 300 only once.
const PIDS: u32 = 400;

/// Since this kernel a pid namespace has a limit of its own. Before it, the host's would change.
const SINCE: (u32, u32) = (6, 14);

/// Writes down each signal that can be caught, until it is let pass.
const STRANGER: &str = r#"
for signal in HUP INT QUIT USR1 USR2 PIPE ALRM TERM CONT TSTP; do
    trap "echo $signal >> '$1/signals'" $signal
done
echo $$ >> "$1/strangers"
until read go < "$1/gate"; do :; done
"#;

/// A pid namespace with few pids, whose pid 1 reaps.
struct Namespace {
    init: Child,
    /// The pid of its pid 1 here.
    first: i32,
    directory: PathBuf,
}

impl Namespace {
    /// `None`, with a message, where that is not allowed.
    fn new(scene: &Scene) -> Option<Namespace> {
        let release = uname().unwrap().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map_while(|number| number.parse().ok());
        if (numbers.next(), numbers.next()) < (Some(SINCE.0), Some(SINCE.1)) {
            skipped(format!("this needs Linux {}.{}, not {release}", SINCE.0, SINCE.1));
            return None;
        }
        let directory = scene.bodies();
        fs::write(directory.join("stranger"), STRANGER).unwrap();
        let script = "echo $1 > /proc/sys/kernel/pid_max && touch \"$2/up\" && \
                      sleep 1000000 & sleep 1000000 & wait; wait";
        let mut init = Command::new("unshare")
            .args(["-p", "-f", "--mount-proc", "--kill-child", "sh", "-c", script, "sh"])
            .arg(PIDS.to_string())
            .arg(&directory)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        wait_until("the namespace", || {
            directory.join("up").exists() || init.try_wait().unwrap().is_some()
        });
        let first = children_of(i32::try_from(init.id()).unwrap()).first().copied();
        if first.is_none() {
            skipped("this needs a pid namespace with a limit of its own");
        }
        Some(Namespace { init, first: first?, directory })
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-p", "-m", "-t", &self.first.to_string()]);
        command
    }

    /// Starts a dispatcher in it.
    fn run(&self, scene: &Scene, args: &[&str]) -> Running {
        let real = scene.command(&[&["run"], args].concat());
        let mut command = self.enter();
        command.arg(real.get_program()).args(real.get_args()).env_clear();
        command.envs(real.get_envs().filter_map(|(name, value)| Some((name, value?))));
        scene.start(&mut command)
    }

    /// Starts strangers that have these pids there.
    fn strangers(&self, pids: &[i32]) {
        let script = "for pid in $2; do echo $((pid - 1)) > /proc/sys/kernel/ns_last_pid; \
                      setsid sh \"$1/stranger\" \"$1\" > /dev/null & done";
        let pids: Vec<String> = pids.iter().map(ToString::to_string).collect();
        let mut command = self.enter();
        command.args(["sh", "-c", script, "sh"]).arg(&self.directory).arg(pids.join(" "));
        assert!(command.stdin(Stdio::null()).status().unwrap().success());
    }

    /// What strangers wrote into a file, line by line.
    fn lines(&self, file: &str) -> Vec<String> {
        let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The strangers that live.
    fn living(&self) -> usize {
        let script = self.directory.join("stranger");
        processes::of(&script).len()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ended = self.init.kill();
        let _reaped = self.init.wait();
    }
}

/// Kills a dispatcher in its namespace.
fn kill_there(mut sexton: Running) {
    let inside = children_of(sexton.pid());
    assert_eq!(inside.len(), 1, "{}", sexton.log());
    kill(Pid::from_raw(inside[0]), Signal::SIGKILL).unwrap();
    assert_eq!(sexton.code(), -1);
}

/// Dispatchers are killed after each part of the workers. Then strangers take the pids of those whose end
/// was not recorded, before the next dispatcher looks for them.
#[test]
fn no_stranger_gets_a_signal_that_was_meant_for_a_worker_before_it() {
    let workers = sizes::workers();
    let kills = 4.max(workers / 250);
    let settings = "interval = \"1h\"\nmax_workers = 8\nmax_in_progress = 8";
    let scene = Scene::new(settings, "");
    let Some(namespace) = Namespace::new(&scene) else { return };
    let gate = Gate::new(namespace.directory.join("gate"));
    let log = namespace.directory.join("log");
    scene.add((0..workers).map(|n| {
        let lasts = if n % 10 == 0 { "sleep 0.2" } else { ":" };
        format!("echo $SEXTON_TASK_ID >> '{}'; {lasts}", log.display())
    }));
    let done = "SELECT count(*) FROM tasks WHERE status = 'done'";
    let mut placed = 0;
    for part in 1..=kills {
        let sexton = namespace.run(&scene, &[]);
        wait_until("its part to be done", || scene.count(done) >= part * workers / (kills + 1));
        kill_there(sexton);
        wait_until("its workers to end", || scene.workers().is_empty());
        let pids: Vec<i32> = Claim::all(&scene).iter().filter_map(|claim| claim.worker).collect();
        namespace.strangers(&pids);
        wait_until("the strangers", || namespace.living() == pids.len());
        wait_until("their traps", || namespace.lines("strangers").len() == placed + pids.len());
        let theirs = namespace.lines("strangers").split_off(placed);
        let wanted: Vec<String> = pids.iter().map(ToString::to_string).collect();
        assert!(wanted.iter().all(|pid| theirs.contains(pid)), "{theirs:?} for {wanted:?}");
        placed += pids.len();

        let sexton = namespace.run(&scene, &[]);
        let dead: Vec<i64> = Claim::all(&scene).iter().map(|claim| claim.run).collect();
        wait_until("what it found to be recorded", || {
            Claim::all(&scene).iter().all(|claim| !dead.contains(&claim.run))
        });
        kill_there(sexton);
        assert_eq!(namespace.lines("signals"), [""; 0]);
        assert_eq!(namespace.living(), pids.len());
        gate.let_pass(pids.len());
        wait_until("the strangers to go", || namespace.living() == 0);
    }
    assert!(placed > 0, "no pid was taken, so this shows nothing");
    let mut last = namespace.run(&scene, &["--until-idle"]);
    let mut before = 0;
    while before < workers {
        wait_until("one more task to be done", || scene.count(done) > before);
        before = scene.count(done);
    }
    assert_eq!(last.code(), 0, "{}", last.log());
    let mut began = namespace.lines("log");
    began.sort_unstable();
    began.dedup();
    assert_eq!((began.len() as u64, namespace.lines("log").len() as u64), (workers, workers));
    assert_eq!(scene.rows("SELECT count(*) FROM sexton_runs WHERE outcome = 'unknown'"), ["0"]);
}
