//! The claims of a board, and their owners.

use rusqlite::Connection;
use sexton::board::{signer, sql};
use sexton::machine::ids::SpawnId;

use crate::scene::Scene;

/// The claim of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub task: String,
    pub run: i64,
    pub lock: String,
    /// The pid of its worker, once that is in the board.
    pub worker: Option<i32>,
    /// The lock text of the dispatcher that adopted it.
    pub adopter: Option<String>,
}

impl Claim {
    /// Returns the claims of a board at this moment.
    pub fn all(scene: &Scene) -> Vec<Claim> {
        let conn = Connection::open(scene.db()).unwrap();
        let has = "SELECT 1 FROM sqlite_schema WHERE name = 'sexton_runs'";
        let adopter = match sql::one(&conn, has, [], |row| row.get::<_, i64>(0)).unwrap() {
            Some(_) => {
                "(SELECT owner FROM sexton_runs r WHERE r.run_id = current_run_id \
                 AND r.lock = claim_lock)"
            }
            None => "NULL",
        };
        let query = format!(
            "SELECT id, current_run_id, claim_lock, worker_pid, {adopter} FROM tasks \
             WHERE status = 'running' ORDER BY id"
        );
        let claims = sql::all(&conn, &query, [], |row| {
            Ok(Claim {
                task: row.get(0)?,
                run: row.get(1)?,
                lock: row.get(2)?,
                worker: row.get(3)?,
                adopter: row.get(4)?,
            })
        });
        claims.unwrap()
    }

    /// Returns the pid of the dispatcher that owns it now.
    pub fn owner(&self) -> i32 {
        signer(self.adopter.as_ref().unwrap_or(&self.lock)).unwrap().0.0
    }

    /// Returns the name of the records of the dispatcher that made it, and the attempt's number there.
    pub fn record(&self) -> (String, SpawnId) {
        let (pid, instance, attempt) = signer(&self.lock).unwrap();
        (sexton::evidence::search::record_name(pid, instance), attempt)
    }
}
