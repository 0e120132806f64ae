//! A worker that follows orders: this test program itself, started again with two variables.
//!
//! It takes over before `main`, so that it is one thread and, in a host with few pids, takes one.
//! Orders come by a FIFO that is named after its number, answers go to its log. It ends when its
//! FIFO has no writer left, so that a failing test leaves no worker behind.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::unistd::{ForkResult, fork};

/// The variables: where the FIFOs are, and which one is its own.
pub const DIRECTORY: &str = "SEXTON_TEST_OBEYS_IN";
pub const NUMBER: &str = "SEXTON_TEST_OBEYS_AS";

/// The orders. All but the first two are answered.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Exit with a code.
    Exit(i32),
    /// Send itself a signal.
    Raise(i32),
    /// Ignore TERM; its children will, too.
    Deafen,
    /// Start a process in its group, with this number. Answered with a pid, or an error below zero.
    Fork(u32),
    /// Wait for this child.
    Bury(i32),
    /// Say that it lives.
    Ping,
}

impl Order {
    fn pair(self) -> [i32; 2] {
        match self {
            Order::Exit(code) => [0, code],
            Order::Raise(signal) => [1, signal],
            Order::Deafen => [2, 0],
            Order::Fork(number) => [3, number.cast_signed()],
            Order::Bury(pid) => [4, pid],
            Order::Ping => [5, 0],
        }
    }

    fn from_pair([verb, n]: [i32; 2]) -> Order {
        match verb {
            0 => Order::Exit(n),
            1 => Order::Raise(n),
            2 => Order::Deafen,
            3 => Order::Fork(n.cast_unsigned()),
            4 => Order::Bury(n),
            _ => Order::Ping,
        }
    }

    pub fn send(self, mut to: &File) -> io::Result<()> {
        to.write_all(&bytes(self.pair()))
    }
}

/// Reads an answer: whose it is, and what.
pub fn answer(from: &mut impl Read) -> io::Result<[i32; 2]> {
    let mut bytes = [0; 8];
    from.read_exact(&mut bytes)?;
    let [a, b, c, d, e, f, g, h] = bytes;
    Ok([i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h])])
}

fn bytes([first, second]: [i32; 2]) -> [u8; 8] {
    let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
    [a, b, c, d, e, f, g, h]
}

#[used]
// SAFETY: the loader calls what is listed there, with arguments that this one does not look at.
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = before_main;

extern "C" fn before_main() {
    let variable = |name| std::env::var_os(name);
    if let (Some(directory), Some(number)) = (variable(DIRECTORY), variable(NUMBER)) {
        let number = number.to_str().and_then(|number| number.parse().ok());
        obey(Path::new(&directory), number.unwrap_or(0));
    }
}

fn obey(directory: &Path, number: u32) -> ! {
    let mut number = number;
    let mut orders = File::open(directory.join(number.to_string())).ok();
    loop {
        let Some(Ok(order)) = orders.as_mut().map(answer) else { end(98) };
        let said = match Order::from_pair(order) {
            Order::Exit(code) => end(code),
            Order::Raise(signal) => {
                // SAFETY: takes integers only.
                unsafe { libc::kill(libc::getpid(), signal) };
                continue;
            }
            Order::Deafen => {
                // SAFETY: ignoring a signal runs no code of ours.
                unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
                0
            }
            // SAFETY: this is the only thread, so that the copy may do all that it may.
            Order::Fork(its) => match unsafe { fork() } {
                Ok(ForkResult::Child) => {
                    number = its;
                    orders = File::open(directory.join(number.to_string())).ok();
                    continue;
                }
                Ok(ForkResult::Parent { child }) => child.as_raw(),
                Err(errno) => -(errno as i32),
            },
            Order::Bury(pid) => {
                let mut status = 0;
                // SAFETY: `status` outlives the call.
                let buried = unsafe { libc::waitpid(pid, &raw mut status, 0) };
                if buried < 0 { -(Errno::last_raw()) } else { buried }
            }
            Order::Ping => 0,
        };
        if nix::unistd::write(io::stdout(), &bytes([number.cast_signed(), said])).is_err() {
            end(97);
        }
    }
}

fn end(code: i32) -> ! {
    // SAFETY: ends the process, which has nothing to tidy up.
    unsafe { libc::_exit(code) }
}
