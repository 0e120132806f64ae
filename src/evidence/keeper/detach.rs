//! Detaches the keeper from the process that started it.

use std::fs::File;
use std::io::{self, Write};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// Written to standard output when the keeper can be reached.
pub const READY: u8 = b'\n';

/// Leaves the session, terminal and directory of the parent, and sets signal handling anew. Standard
/// input, output and error stay open until [`say_ready`].
pub fn leave_parent() -> Result<(), Errno> {
    // Fails if a shell started it as a group leader. Then the steps below are enough.
    let _session = setsid();
    for kind in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT] {
        // SAFETY: no handler of ours was installed, and none is.
        unsafe { signal(kind, SigHandler::SigIgn) }?;
    }
    // SAFETY: as above. Both may have been inherited as ignored.
    unsafe { signal(Signal::SIGTERM, SigHandler::SigDfl) }?;
    SigSet::empty().thread_set_mask()?;
    chdir("/")?;
    // The socket is for this user alone.
    umask(Mode::from_bits_truncate(0o177));
    prctl::set_name(c"sexton-keeper")
}

/// Raises the limit of descriptors to its maximum, and returns it.
pub fn raise_limit() -> Result<u64, Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Tells the starter that the keeper can be reached, and closes standard input, output and error.
pub fn say_ready() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stderr(&null)?;
    // The keeper goes on even if its starter has ended meanwhile.
    let mut output = io::stdout();
    let _told = output.write_all(&[READY]).and_then(|()| output.flush());
    // Last, so that the end of the output shows that all of them are closed.
    dup2_stdout(&null)?;
    Ok(())
}
