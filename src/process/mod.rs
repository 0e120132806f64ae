//! The kernel: spawn, reap, signal, identity.
