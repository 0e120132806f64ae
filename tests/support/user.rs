//! Another user of the host.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::Uid;

use crate::support::sandbox::Sandbox;
use crate::support::skip::skipped;

/// Returns an otherwise unused uid, so that limits and permissions apply; `None`, with a message,
/// unless this process may change its uid.
pub fn spare_uid(s: &Sandbox) -> Option<u32> {
    if !Uid::effective().is_root() {
        skipped("this needs root, to become a user of its own");
        return None;
    }
    // Distinct for each process; each test that calls this has its own sandbox and needs no more
    // than that no other process counts against it.
    let ino = s.path("").metadata().unwrap().ino();
    let uid = 1_000_000 + u32::try_from(ino % 1_000_000_000).unwrap();
    let chown =
        Command::new("chown").arg("-R").arg(format!("{uid}:{uid}")).arg(s.path("")).status();
    assert!(chown.unwrap().success());
    let tried = s.command(&["--version"]).uid(uid).gid(uid).output();
    if !tried.as_ref().is_ok_and(|output| output.status.success()) {
        skipped(format!("the program is where no other user reaches it: {tried:?}"));
        return None;
    }
    Some(uid)
}
