//! A verdict in 16 bytes. A number that was once used never gets another meaning.

use crate::machine::verdict::{ExitStatus, Release, Verdict};

/// Returns the kind of verdict, and up to three numbers: the reverse of [`decode`].
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
        Verdict::Unknown => [14, 0, 0, 0],
    }
}

/// Returns the verdict; `None` if the bytes are not one.
pub(super) fn decode(numbers: [u32; 4]) -> Option<Verdict> {
    let verdict = match numbers {
        [1, 0, 0, 0] => Verdict::Completed,
        [2, code, 0, 0] => Verdict::Crashed(ExitStatus::Code(code.cast_signed())),
        [3, signal, 0, 0] => Verdict::Crashed(ExitStatus::Signal(signal.cast_signed())),
        [4, 0, 0, 0] => Verdict::Crashed(ExitStatus::Unknown),
        [5, 0, 0, 0] => Verdict::ProtocolViolation,
        [6, 0, 0, 0] => Verdict::RateLimited,
        [7, 0, 0, 0] => Verdict::CredentialsRefused,
        [8, elapsed_s, limit_s, killed @ (0 | 1)] => {
            Verdict::TimedOut { elapsed_s, limit_s, killed: killed == 1 }
        }
        [9, 0, 0, 0] => Verdict::SpawnFailed,
        [10, 0, 0, 0] => Verdict::Released(Release::Shutdown),
        [11, 0, 0, 0] => Verdict::Released(Release::HostRefused),
        [12, 0, 0, 0] => Verdict::Released(Release::NotStarted),
        [13, 0, 0, 0] => Verdict::Released(Release::Superseded),
        [14, 0, 0, 0] => Verdict::Unknown,
        _ => return None,
    };
    Some(verdict)
}
