//! What tests of single commands look at: refusals and events.

use crate::support::sandbox::Sandbox;

impl Sandbox {
    /// A command that must fail with this code and one line on standard error.
    pub fn refused(&self, args: &[&str], code: i32) -> String {
        let done = self.run(args);
        assert_eq!(done.code, code, "{args:?}: {done:?}");
        assert_eq!(done.stdout, "", "{args:?}");
        assert_eq!(done.stderr.trim_end().lines().count(), 1, "{args:?}: {}", done.stderr);
        done.stderr
    }

    /// Kind, run and payload of a task's events; ids are replaced by names.
    pub fn events(&self, id: &str) -> Vec<String> {
        self.rows(&format!(
            "SELECT kind, run_id, payload FROM task_events WHERE task_id = '{id}' ORDER BY id"
        ))
    }
}
