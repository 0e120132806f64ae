//! What stands in the rows of a board, and the SQL that depends on its columns.
//!
//! Nothing here begins a transaction, changes the state of a task, or knows what the machine asks for.

pub(crate) mod claim_lock;
pub(crate) mod columns;
pub(crate) mod event;
pub(crate) mod history;
pub(crate) mod inherited;
pub(crate) mod own_runs;
mod ready_list;
pub(crate) mod required;
pub(crate) mod schema;
pub(crate) mod scratch;
pub(crate) mod spawn_facts;
pub(crate) mod statements;
pub(crate) mod task;
pub(crate) mod value;
pub(crate) mod workers;
