//! How the keeper leaves the process that started it.

use std::fs::File;
use std::io::{self, Write};

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{chdir, dup2_stderr, dup2_stdin, dup2_stdout, setsid};

/// What is written to standard output when the keeper can be reached.
pub const READY: u8 = b'\n';

/// Leaves session, terminal, directory and signals of the parent. Standard input, output and errors
/// stay until [`say_ready`].
pub fn leave_parent() -> Result<(), Errno> {
    // Fails where a shell started it as the leader of a group. Then what follows must do.
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

/// Raises the limit of descriptors as far as it goes, and returns it.
pub fn raise_limit() -> Result<u64, Errno> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}

/// Tells the starter that the keeper can be reached, and lets go of input, output and errors.
pub fn say_ready() -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    dup2_stdin(&null)?;
    dup2_stderr(&null)?;
    // A starter that has ended meanwhile is no reason to end.
    let mut output = io::stdout();
    let _told = output.write_all(&[READY]).and_then(|()| output.flush());
    // Last, so that the end of the output says that everything was let go of.
    dup2_stdout(&null)?;
    Ok(())
}
