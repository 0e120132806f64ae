//! A verdict in 16 bytes. A number that has been in use is never given another meaning.

use crate::machine::verdict::{ExitStatus, Release, Verdict};

/// What kind of verdict, and up to three numbers.
pub(super) fn encode(verdict: Verdict) -> [u32; 4] {
    match verdict {
        Verdict::Completed => [1, 0, 0, 0],
        Verdict::Crashed(ExitStatus::Code(code)) => [2, code.cast_unsigned(), 0, 0],
        Verdict::Crashed(ExitStatus::Signal(signal)) => [3, signal.cast_unsigned(), 0, 0],
        Verdict::Crashed(ExitStatus::Unknown) => [4, 0, 0, 0],
        Verdict::ProtocolViolation => [5, 0, 0, 0],
        Verdict::RateLimited => [6, 0, 0, 0],
        Verdict::CredentialsRefused => [7, 0, 0, 0],
        Verdict::TimedOut { elapsed_s, limit_s, killed } => [8, elapsed_s, limit_s, killed.into()],
        Verdict::SpawnFailed => [9, 0, 0, 0],
        Verdict::Released(Release::Shutdown) => [10, 0, 0, 0],
        Verdict::Released(Release::HostRefused) => [11, 0, 0, 0],
        Verdict::Released(Release::NotStarted) => [12, 0, 0, 0],
        Verdict::Released(Release::Superseded) => [13, 0, 0, 0],
    }
}
