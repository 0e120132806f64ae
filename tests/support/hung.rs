//! A file system that hangs.
#![allow(clippy::unwrap_used, reason = "only tests use it")]

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::support::skip::skipped;

/// A file system that never answers, which only this thread and its children can see: no process
/// serves it. Waiting calls fail when this is dropped.
pub struct Hung {
    /// Closing it is what ends the file system.
    _device: File,
}

impl Hung {
    /// Mounts one over `directory`; returns `None`, with a message, where mounting is not allowed.
    pub fn over(directory: &Path) -> Option<Hung> {
        fs::create_dir_all(directory).unwrap();
        let none: Option<&Path> = None;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let mounted = unshare(CloneFlags::CLONE_NEWNS)
            .and_then(|()| mount(none, "/", none, private, none))
            .map_err(io::Error::from)
            .and_then(|()| File::options().read(true).write(true).open("/dev/fuse"))
            .and_then(|device| {
                let fd = device.as_raw_fd();
                let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
                mount(none, directory, Some("fuse"), MsFlags::empty(), Some(options.as_str()))?;
                Ok(Hung { _device: device })
            });
        mounted.inspect_err(|error| skipped(format!("this needs to mount with FUSE: {error}"))).ok()
    }
}
