//! Which process a pid is. A number comes back after a while with another process behind it, so
//! nothing is decided by a pid alone.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{fmt, fs, str};

use nix::errno::Errno;
use nix::sys::signal::{kill, killpg};
use nix::unistd::{SysconfVar, sysconf};
use thiserror::Error;

use super::pidfd::{self, Stage};
use super::wait;
use crate::machine::ids::Pid;
use crate::machine::verdict::ExitStatus;

/// What is written in place of a fingerprint that could not be made out.
pub const UNVERIFIED: &str = "unverified";

/// The fields of `/proc/<pid>/stat` that are used here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Pid of the process.
    pub pid: Pid,
    /// The command's name: at most 15 bytes, of any value.
    pub name: Vec<u8>,
    /// The state's letter. `Z`: the main thread has ended.
    pub state: u8,
    /// Pid of the parent.
    pub parent: Pid,
    /// Number of the process group.
    pub group: Pid,
    /// Number of the session.
    pub session: Pid,
    /// Threads left, the main one included until the process is reaped.
    pub threads: u32,
    /// When it started, in clock ticks since boot.
    pub start: u64,
}

impl Stat {
    /// True if the process has ended. One whose main thread has ended while others run is shown as
    /// a zombie and is none.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

/// Why a process could not be looked at, or that there is none.
#[derive(Debug, Error)]
pub enum LookError {
    /// The process does not exist.
    #[error("there is no process {}", .0.0)]
    Gone(Pid),
    /// `/proc` does not say.
    #[error("cannot read {}: {source}; nothing is concluded about the process", path.display())]
    Unreadable {
        /// The file in `/proc`.
        path: PathBuf,
        /// Why it could not be read.
        source: io::Error,
    },
    /// The environment of a process cannot be read.
    #[error("process {} does not show its environment; nothing is concluded from that", .0.0)]
    Hidden(Pid),
    /// A file in `/proc` has an unknown form.
    #[error("cannot understand {}; nothing is concluded about the process", .0.display())]
    Garbled(PathBuf),
}

/// Looks at process `pid`.
///
/// # Errors
/// See [`LookError`].
pub fn stat(pid: Pid) -> Result<Stat, LookError> {
    let path = PathBuf::from(format!("/proc/{}/stat", pid.0));
    let bytes = read(&path).map_err(|source| match source.raw_os_error() {
        // ESRCH: it ended between open and read.
        Some(nix::libc::ENOENT | nix::libc::ESRCH) => LookError::Gone(pid),
        _ => LookError::Unreadable { path: path.clone(), source },
    })?;
    parse_stat(&bytes).ok_or(LookError::Garbled(path))
}

/// Returns how a zombie that is not our child ended, if the kernel shows that to us. Its parent may
/// never reap it.
#[must_use]
pub fn zombie_status(pid: Pid, pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    let is_zombie = || pidfd::stage(pidfd) == Ok(Stage::Zombie);
    if !is_zombie() {
        return None;
    }
    let raw = exit_code(pid)?;
    // The kernel shows 0 to processes without permission.
    let counts = raw != 0 || is_of_our_users(pid);
    // It is still not reaped, so the pid was its own all the time.
    (counts && is_zombie()).then(|| wait::from_raw(raw))
}

/// Returns the last field of the file, in the form that `wait4` uses.
fn exit_code(pid: Pid) -> Option<i32> {
    let bytes = read(Path::new(&format!("/proc/{}/stat", pid.0))).ok()?;
    let close = bytes.iter().rposition(|byte| *byte == b')')?;
    let rest = str::from_utf8(bytes.get(close + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(52 - 3)?.parse().ok()
}

/// Returns whether all uids and gids of a process are ours, or we are root.
fn is_of_our_users(pid: Pid) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{}/status", pid.0)) else { return false };
    let all = |name: &str, own: u32| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.is_some_and(|ids| ids.split_ascii_whitespace().all(|id| id.parse() == Ok(own)))
    };
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    user.is_root() || (all("Uid:", user.as_raw()) && all("Gid:", group.as_raw()))
}

/// Reads a whole file of `/proc`, whose size is unknown beforehand; a short one in a single call.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(1024);
    // Not `File`'s own, which asks for the size and then begins with very few bytes.
    fs::File::open(path)?.take(u64::MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The name may hold blanks, parentheses and line ends, so the fields are counted from the last `)`.
fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    let open = bytes.iter().position(|b| *b == b'(')?;
    let close = bytes.iter().rposition(|b| *b == b')')?;
    let pid = str::from_utf8(bytes.get(..open)?).ok()?.trim().parse().ok()?;
    let name = bytes.get(open + 1..close)?.to_vec();
    let rest = str::from_utf8(bytes.get(close + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The manual counts from 1, and the field after the name is its third.
    let field = |number: usize| fields.get(number - 3).copied();
    Some(Stat {
        pid: Pid(pid),
        name,
        state: *field(3)?.as_bytes().first()?,
        parent: Pid(field(4)?.parse().ok()?),
        group: Pid(field(5)?.parse().ok()?),
        session: Pid(field(6)?.parse().ok()?),
        threads: field(20)?.parse().ok()?,
        start: field(22)?.parse().ok()?,
    })
}

/// Returns the id of this boot, which the kernel chooses at random at each boot.
fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The scope in which pids and start times are unique: one boot of a kernel, and two of its
/// namespaces. Host names are not used, since two containers may have the same one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Domain {
    /// The id of the boot.
    pub boot_id: String,
    /// Inode of the pid namespace: pids of another namespace prove nothing here.
    pub pid_namespace: u64,
    /// Inode of the time namespace, which shifts start times; 0 before Linux 5.6.
    pub time_namespace: u64,
}

impl Domain {
    /// Returns the domain of this process.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn own() -> io::Result<Domain> {
        use std::os::unix::fs::MetadataExt;
        let inode = |path| fs::metadata(path).map(|meta| meta.ino());
        let time_namespace = match inode("/proc/self/ns/time") {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            inode => inode?,
        };
        let pid_namespace = inode("/proc/self/ns/pid")?;
        Ok(Domain { boot_id: boot_id()?, pid_namespace, time_namespace })
    }
}

/// Distinguishes a process from all others that ever had its pid, on any host. In claims it is written
/// as `<boot id>.<pid namespace>.<time namespace>.<start>`, with a `+` if the process holds a
/// lifeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The scope in which its pid is unique.
    pub domain: Domain,
    /// When it started, in clock ticks since boot.
    pub start: u64,
    /// Whether it holds a lifeline.
    pub lifeline: bool,
}

impl Instance {
    /// Returns the instance of this process, without a lifeline.
    ///
    /// # Errors
    /// If `/proc` cannot be read.
    pub fn own() -> io::Result<Instance> {
        let pid = Pid(std::process::id().cast_signed());
        let start = stat(pid).map_err(io::Error::other)?.start;
        Ok(Instance { domain: Domain::own()?, start, lifeline: false })
    }

    /// Reads the text; `None` if it has another form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Instance> {
        let bare = text.strip_suffix('+');
        let mut parts = bare.unwrap_or(text).split('.');
        let boot_id = parts.next().filter(|id| !id.is_empty())?.to_owned();
        let mut number = || parts.next()?.parse().ok();
        let (pid_namespace, time_namespace, start) = (number()?, number()?, number()?);
        let domain = Domain { boot_id, pid_namespace, time_namespace };
        let instance = Instance { domain, start, lifeline: bare.is_some() };
        parts.next().is_none().then_some(instance)
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Domain { boot_id, pid_namespace, time_namespace } = &self.domain;
        let lifeline = if self.lifeline { "+" } else { "" };
        write!(f, "{boot_id}.{pid_namespace}.{time_namespace}.{}{lifeline}", self.start)
    }
}

/// Returns the time since boot in clock ticks, as in start times; `None` if it cannot be read.
#[must_use]
pub fn ticks_now() -> Option<u64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, hundredths) = uptime.split_ascii_whitespace().next()?.split_once('.')?;
    let hundredths = seconds.parse::<u64>().ok()? * 100 + hundredths.parse::<u64>().ok()?;
    Some(hundredths * ticks_per_second()? / 100)
}

/// Returns the number of ticks per second; `None` if the system does not tell.
#[must_use]
pub fn ticks_per_second() -> Option<u64> {
    let ticks = sysconf(SysconfVar::CLK_TCK).ok()??;
    u64::try_from(ticks).ok().filter(|ticks| *ticks > 0)
}

/// The process's identity in the form that boards hold: `<boot id>:<start of pid 1>|<start of pid>`.
///
/// [`UNVERIFIED`] if any part cannot be read, and if a command's name holds a blank: other tools
/// split the file at blanks and would read another number from it.
#[must_use]
pub fn fingerprint(pid: Pid) -> String {
    let whole = || {
        let process = stat(pid).ok().filter(|process| !has_blank(&process.name))?;
        Some(format!("{}|{}", host_epoch()?, process.start))
    };
    whole().unwrap_or_else(|| UNVERIFIED.to_owned())
}

/// Returns the fingerprint of a process of this boot and pid namespace with this start time.
#[must_use]
pub fn fingerprint_of_start(start: u64) -> Option<String> {
    Some(format!("{}|{start}", host_epoch()?))
}

/// Returns the start time in a fingerprint, in ticks since boot. A fingerprint in an older row has
/// nothing else.
#[must_use]
pub fn start_of_fingerprint(fingerprint: &str) -> Option<u64> {
    let (_, start) = fingerprint.trim().rsplit_once('|').unwrap_or(("", fingerprint.trim()));
    start.parse().ok()
}

/// True if a fingerprint belongs to this boot and to another pid namespace.
#[must_use]
pub fn is_of_another_namespace(fingerprint: &str) -> bool {
    let epoch = fingerprint.split_once('|').map(|(epoch, _)| epoch);
    let boot = |epoch: &str| epoch.split_once(':').map(|(boot, _)| boot.to_owned());
    match (epoch, host_epoch()) {
        (Some(there), Some(here)) => there != here && boot(there) == boot(here),
        (_, _) => false,
    }
}

/// What is the same for all processes of this boot: read once.
fn host_epoch() -> Option<&'static str> {
    static EPOCH: OnceLock<String> = OnceLock::new();
    if EPOCH.get().is_none() {
        let first = stat(Pid(1)).ok().filter(|first| !has_blank(&first.name))?;
        let boot = boot_id().ok().filter(|id| !id.is_empty())?;
        return Some(EPOCH.get_or_init(|| format!("{boot}:{}", first.start)));
    }
    EPOCH.get().map(String::as_str)
}

fn has_blank(name: &[u8]) -> bool {
    name.iter().any(u8::is_ascii_whitespace)
}

/// Whether a process is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Alive {
    /// It is alive.
    Yes,
    /// It has ended, or its pid now means another process.
    No,
    /// `/proc` does not say. Never to be taken for `No`.
    CannotTell,
}

/// Whether the process that once had `pid` and `expected` for its fingerprint is alive.
///
/// `expected` is what a board holds: `None` and [`UNVERIFIED`] leave only the pid to go by, digits
/// alone are a start time, as older rows have it.
#[must_use]
pub fn alive(pid: Pid, expected: Option<&str>) -> Alive {
    if pid.0 <= 0 {
        return Alive::No;
    }
    let stat = match stat(pid) {
        Ok(stat) if stat.is_dead() => return Alive::No,
        Ok(stat) => stat,
        // `/proc` can hide the processes of others as if they were not there.
        Err(LookError::Gone(_)) if is_free(pid) => return Alive::No,
        Err(LookError::Gone(_)) => return Alive::CannotTell,
        Err(LookError::Unreadable { .. } | LookError::Hidden(_) | LookError::Garbled(_)) => {
            return Alive::CannotTell;
        }
    };
    let same = |same: bool| if same { Alive::Yes } else { Alive::No };
    match expected.map(str::trim) {
        None | Some("" | UNVERIFIED) => Alive::Yes,
        Some(text) => match text.parse::<u64>() {
            Ok(start) => same(start == stat.start),
            Err(_) => match fingerprint(pid).as_str() {
                UNVERIFIED => Alive::CannotTell,
                found => same(found == text),
            },
        },
    }
}

/// True if no process has this pid.
fn is_free(pid: Pid) -> bool {
    kill(nix::unistd::Pid::from_raw(pid.0), None) == Err(Errno::ESRCH)
}

/// True if group `group` has no members, not even zombies. One call, which also answers where
/// `/proc` hides the processes of others.
#[must_use]
pub fn is_empty_group(group: Pid) -> bool {
    probe(group) == Some(Errno::ESRCH)
}

/// Returns the errno of signal 0 to a group, which is not delivered to any process. To kill(2), the
/// numbers 0 and 1 mean other groups.
fn probe(group: Pid) -> Option<Errno> {
    if group.0 <= 1 {
        return None;
    }
    killpg(nix::unistd::Pid::from_raw(group.0), None).err()
}

/// Whether any process of group `group` is alive.
#[must_use]
pub fn group_alive(group: Pid) -> Alive {
    let probed = probe(group);
    // Usually the group is empty, and then no search is needed.
    if probed == Some(Errno::ESRCH) {
        return Alive::No;
    }
    match living_groups() {
        None => Alive::CannotTell,
        Some(groups) if groups.contains(&group) => Alive::Yes,
        Some(_) if probed == Some(Errno::EPERM) => Alive::CannotTell,
        Some(_) => Alive::No,
    }
}

/// The groups that have at least one living process; `None` if `/proc` cannot be read in full.
#[must_use]
pub fn living_groups() -> Option<BTreeSet<Pid>> {
    let mut groups = BTreeSet::new();
    // A search is not a snapshot: a process can be born behind it while its parent ends before it.
    // So a group is missing only if two searches miss it.
    for _ in 0..2 {
        each_process(|stat| {
            if !stat.is_dead() {
                groups.insert(stat.group);
            }
        })
        .ok()?;
    }
    Some(groups)
}

/// Looks at every process there is. Those that end meanwhile are left out.
///
/// # Errors
/// If `/proc`, or any process in it, cannot be read: then nothing can be said about the rest.
pub fn each_process(mut look: impl FnMut(Stat)) -> Result<(), LookError> {
    let unreadable = |source| LookError::Unreadable { path: Path::new("/proc").to_owned(), source };
    for entry in fs::read_dir("/proc").map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        match stat(Pid(pid)) {
            Ok(stat) => look(stat),
            Err(LookError::Gone(_)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    fn me() -> Pid {
        Pid(std::process::id().cast_signed())
    }

    /// A child that waits for the end of its input.
    fn cat() -> (std::process::Child, Pid) {
        let child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let pid = Pid(child.id().cast_signed());
        (child, pid)
    }

    fn line(name: &str, state: char, threads: u32) -> String {
        format!(
            "77 ({name}) {state} 1 70 60 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 {threads} 0 1234567 8\n"
        )
    }

    #[test]
    fn fields_are_counted_from_the_last_parenthesis() {
        for name in ["sh", "a b", "x) Z 9 9 (y", ") S 1 1", "a\nb", ""] {
            let stat = parse_stat(line(name, 'S', 1).as_bytes()).unwrap();
            assert_eq!((stat.pid, stat.state, stat.start), (Pid(77), b'S', 1_234_567), "{name:?}");
            assert_eq!((stat.group, stat.session), (Pid(70), Pid(60)));
            assert_eq!(stat.name, name.as_bytes());
        }
    }

    #[test]
    fn rubbish_is_not_a_stat() {
        let good = line("sh", 'S', 1);
        for end in 0..good.find(" 1234567").unwrap() {
            assert_eq!(parse_stat(&good.as_bytes()[..end]), None, "{end} bytes");
        }
    }

    #[test]
    fn a_zombie_is_dead_unless_other_threads_run_on() {
        assert!(parse_stat(line("sh", 'Z', 1).as_bytes()).unwrap().is_dead());
        assert!(!parse_stat(line("sh", 'Z', 3).as_bytes()).unwrap().is_dead());
        assert!(!parse_stat(line("sh", 'D', 1).as_bytes()).unwrap().is_dead());
    }

    #[test]
    fn a_fingerprint_has_the_form_that_boards_hold() {
        let text = fingerprint(me());
        let (boot, starts) = text.split_once(':').unwrap();
        let (first, own) = starts.split_once('|').unwrap();
        assert_eq!(boot, boot_id().unwrap());
        assert_eq!(first.parse::<u64>().unwrap(), stat(Pid(1)).unwrap().start);
        assert_eq!(own.parse::<u64>().unwrap(), stat(me()).unwrap().start);
    }

    #[test]
    fn only_the_same_process_is_alive() {
        let (mut child, pid) = cat();
        let print = fingerprint(pid);
        assert_eq!(alive(pid, Some(&print)), Alive::Yes);
        assert_eq!(alive(pid, None), Alive::Yes);
        assert_eq!(alive(pid, Some(UNVERIFIED)), Alive::Yes);
        assert_eq!(alive(pid, Some(&stat(pid).unwrap().start.to_string())), Alive::Yes);
        assert_eq!(alive(pid, Some("1")), Alive::No, "another start");
        assert_eq!(alive(pid, Some(&format!("{print}0"))), Alive::No, "a reused pid");
        assert_eq!(alive(pid, Some(&format!("x{print}"))), Alive::No, "another boot");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(alive(pid, Some(&print)), Alive::No);
        assert_eq!(fingerprint(pid), UNVERIFIED);
    }

    #[test]
    fn a_zombie_is_not_alive_although_its_pid_is_taken() {
        let (mut child, pid) = cat();
        let print = fingerprint(pid);
        drop(child.stdin.take());
        let peek = nix::libc::WNOWAIT;
        super::super::wait::wait(super::super::wait::Which::Pid(pid), peek).unwrap();
        assert_eq!(stat(pid).unwrap().state, b'Z');
        assert_eq!(alive(pid, Some(&print)), Alive::No);
        assert_eq!(alive(pid, Some(UNVERIFIED)), Alive::No);
        child.wait().unwrap();
    }

    #[test]
    fn no_process_has_a_pid_below_one() {
        assert_eq!(alive(Pid(0), None), Alive::No);
        assert_eq!(alive(Pid(-1), None), Alive::No);
    }

    #[test]
    fn our_own_group_is_alive_and_an_unused_one_is_not() {
        assert_eq!(group_alive(stat(me()).unwrap().group), Alive::Yes);
        assert_eq!(group_alive(Pid(i32::MAX)), Alive::No);
    }

    #[test]
    fn an_instance_is_read_from_its_own_text_only() {
        let own = Instance::own().unwrap();
        assert_eq!(own.domain.boot_id.len(), 36);
        assert!(own.domain.pid_namespace > 0);
        let text = own.to_string();
        assert_eq!(Instance::parse(&text), Some(own.clone()));
        let held = Instance { lifeline: true, ..own };
        assert_eq!(Instance::parse(&format!("{text}+")), Some(held));
        for other in ["", "b.1.2", "b.1.2.x", ".1.2.3", &format!("{text}.4")] {
            assert_eq!(Instance::parse(other), None, "{other}");
        }
    }
}
