//! Reads the configuration again, on a thread of its own, because its disk may hang.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::post::{Message, Post};
use super::threads::Threads;
use crate::config::{Config, ConfigError};

/// The loop's handle of the reload thread.
#[derive(Debug)]
pub struct Reloader {
    threads: Threads<(), ()>,
}

impl Reloader {
    /// Starts the thread; `config` is the configuration in force.
    pub fn start(config: Arc<Config>, post: Post) -> io::Result<Reloader> {
        Reloader::start_with(config, post, Config::reload)
    }

    fn start_with(
        config: Arc<Config>,
        post: Post,
        reload: impl Fn(&Config) -> Result<Config, ConfigError> + Send + Sync + 'static,
    ) -> io::Result<Reloader> {
        let config = Mutex::new(config);
        let read = move |()| {
            let mut config = config.lock().unwrap_or_else(PoisonError::into_inner);
            let read = reload(&config).map(Arc::new);
            if let Ok(new) = &read {
                *config = Arc::clone(new);
            }
            read
        };
        let threads = Threads::new("config".to_owned(), 1, read, move |read| {
            post.send(Message::Configured(read));
        });
        threads.start()?;
        Ok(Reloader { threads })
    }

    /// Asks for the file to be read; what is in it comes by post.
    pub fn ask(&self) {
        // One read serves all that asked before it.
        let _there_is_a_thread = self.threads.ask_only((), ());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;
    use std::path::Path;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::super::post::{Inbox, post};
    use super::*;

    const PATIENCE_MS: u64 = 45_000;

    fn interval_ms(inbox: &Inbox) -> Option<u64> {
        let Message::Configured(read) = inbox.next_within(PATIENCE_MS)? else {
            panic!("another message");
        };
        Some(read.unwrap().policy.interval_ms)
    }

    /// Returns when the thread reads it.
    fn opened(fifo: &Path) -> File {
        File::options().write(true).open(fifo).unwrap()
    }

    fn write(mut file: File, seconds: u32) {
        write!(file, "[dispatch]\ninterval = \"{seconds}s\"\n").unwrap();
    }

    #[test]
    fn requests_during_a_read_are_served_by_one_more_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sexton.toml");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let (post, inbox) = post().unwrap();
        // As from a disk that hangs: a configuration is never read from a pipe.
        let file = path.clone();
        let reload = move |_: &Config| Config::parse(&fs::read_to_string(&file).unwrap(), &file);
        let reloader = Reloader::start_with(Arc::default(), post, reload).unwrap();

        reloader.ask();
        let first = opened(&path);
        (0..3).for_each(|_| reloader.ask());
        write(first, 1);
        assert_eq!(interval_ms(&inbox), Some(1_000));

        let second = opened(&path);
        // A third one would find this.
        let plain = dir.path().join("plain");
        write(File::create(&plain).unwrap(), 3);
        fs::rename(&plain, &path).unwrap();
        write(second, 2);
        assert_eq!(interval_ms(&inbox), Some(2_000));

        drop(reloader);
        assert_eq!(interval_ms(&inbox), None, "the thread has ended without a third read");
    }
}
