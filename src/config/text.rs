//! The file that `sexton init` writes.

/// A configuration with one worker, and every setting with its default.
pub const DEFAULT_TEXT: &str = r#"# How sexton runs the tasks of the boards in this directory.
# A running `sexton run` reads this file again on SIGHUP.

[dispatch]
interval = "60s"            # the backstop; exits and board changes wake it sooner
max_workers = 8             # live workers, all boards together
max_in_progress = 8         # running tasks of each board
failure_limit = 2           # consecutive failures after which a task is blocked
default_assignee = "shell"  # who takes tasks that have no assignee
# claim_ttl = "15m"         # a claim ends after this unless renewed
# cooldown = "300s"         # rest after a worker reported a rate limit (exit 75)
# log_rotate_bytes = 2097152
# log_backups = 1

# A worker is named by the assignee of the tasks that it runs. In its command these are replaced,
# each within its own element, never through a shell of sexton's:
#   {task_id} {title} {body} {workspace} {board} {run_id}      `{{` and `}}` are braces
#
# The one below runs the body of a task as a shell script: whoever can write to the boards of this
# directory can run commands as you. Take it out if that is not what you want.
[worker.shell]
command = ["sh", "-c", "{body}"]
completion = "exit-status"  # exit 0 completes the task; "board": the worker itself must do so
# max_runtime = "1h"        # for tasks that set no limit of their own
# kill_after = "5s"         # between TERM and KILL
# leftovers = "end"         # processes left behind by a worker; "keep": may live on after `done`
# env = { LANG = "C.UTF-8" }
"#;
