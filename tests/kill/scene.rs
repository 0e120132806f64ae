//! A root with its own state directory, dispatchers that are started and killed there, and the end of
//! all processes that they left.

use std::cell::RefCell;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::Signal;
use rusqlite::{Connection, params};
use sexton::board::sql;
use sexton::root::{Environment, state_directory};

use crate::body;
use crate::processes;
use crate::support::running::Running;
use crate::support::sandbox::Sandbox;
use crate::support::wait::wait_until;

pub struct Scene {
    pub sandbox: Sandbox,
    /// The pid of each dispatcher, in order.
    dispatchers: RefCell<Vec<i32>>,
}

impl Scene {
    /// Creates a root with these settings in `[dispatch]` and `[worker.shell]`.
    pub fn new(dispatch: &str, worker: &str) -> Scene {
        let scene = Scene { sandbox: Sandbox::new(), dispatchers: RefCell::default() };
        scene.configure(dispatch, worker);
        body::prepare(&scene.bodies());
        scene
    }

    pub fn configure(&self, dispatch: &str, worker: &str) {
        self.configure_shell(Path::new("sh"), dispatch, worker);
    }

    /// Configures the root with another shell.
    pub fn configure_shell(&self, shell: &Path, dispatch: &str, worker: &str) {
        let shell = shell.display();
        let text = format!(
            "[dispatch]\n{dispatch}\n\
             [worker.shell]\ncommand = [\"{shell}\", \"-c\", \"{{body}}\"]\n{worker}\n"
        );
        fs::write(self.sandbox.root().join("sexton.toml"), text).unwrap();
    }

    /// Returns the directory of the bodies and of what they write.
    pub fn bodies(&self) -> PathBuf {
        self.sandbox.path("bodies")
    }

    pub fn db(&self) -> PathBuf {
        self.sandbox.db()
    }

    /// Returns the state directory of the root.
    pub fn state(&self) -> PathBuf {
        let home = self.sandbox.path("state");
        let env = Environment::of(&[("XDG_STATE_HOME", home.to_str().unwrap())]);
        state_directory(&self.sandbox.root(), &env).unwrap()
    }

    /// Adds ready tasks, named by their numbers.
    pub fn add(&self, bodies: impl IntoIterator<Item = String>) {
        let conn = Connection::open(self.db()).unwrap();
        let insert = "INSERT INTO tasks (id, title, body, assignee, status, created_at) \
                      VALUES (?1, 'a task', ?2, 'shell', 'ready', 1)";
        sql::run(&conn, "BEGIN IMMEDIATE").unwrap();
        for (number, body) in bodies.into_iter().enumerate() {
            conn.execute(insert, params![format!("t_{}", number + 1), body]).unwrap();
        }
        sql::run(&conn, "COMMIT").unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.sandbox.command(args);
        command.env("XDG_STATE_HOME", self.sandbox.path("state")).process_group(0);
        command
    }

    /// Starts a dispatcher.
    pub fn run(&self, args: &[&str]) -> Running {
        self.start(&mut self.command(&[&["run"], args].concat()))
    }

    /// Starts a dispatcher with this command.
    pub fn start(&self, command: &mut Command) -> Running {
        let mut dispatchers = self.dispatchers.borrow_mut();
        let name = format!("run{}", dispatchers.len());
        let sexton = Running::start(command, &self.sandbox.path(""), &name);
        dispatchers.push(sexton.pid());
        sexton
    }

    pub fn rows(&self, query: &str) -> Vec<String> {
        self.sandbox.rows(query)
    }

    /// Returns the number that a query counts.
    pub fn count(&self, query: &str) -> u64 {
        self.rows(query)[0].parse().unwrap()
    }

    pub fn kill_keepers(&self) {
        wait_until("no keeper", || {
            let keepers = processes::keepers(&self.state());
            keepers.iter().for_each(|pid| processes::end(*pid));
            keepers.is_empty()
        });
    }

    /// Ends workers, and the processes that they started.
    pub fn workers(&self) -> Vec<i32> {
        let keepers = processes::keepers(&self.state());
        let all = processes::of(&self.sandbox.root());
        all.into_iter().filter(|pid| !keepers.contains(pid)).collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let place = self.sandbox.path("");
        for _ in 0..100 {
            let left = processes::of(Path::new(place.as_os_str()));
            if left.is_empty() {
                return;
            }
            left.into_iter().for_each(processes::end);
        }
    }
}

/// Kills a dispatcher, and returns when it has ended.
pub fn kill(sexton: &mut Running) {
    sexton.signal(Signal::SIGKILL);
    assert_eq!(sexton.code(), -1, "it had ended before: {}", sexton.log());
}
