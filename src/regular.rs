//! Small files that people and other programs write: only regular ones are read. A pipe without a
//! writer would block its reader forever, and a device may never end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

/// Most bytes that are read of a file that is taken in as a whole: 4 MiB.
const LARGEST: u64 = 4 << 20;

/// Opens a regular file for reading. Fails for any other kind of file, and never blocks on it.
pub fn open(path: &Path) -> io::Result<File> {
    // Looked at first: merely opening a device can do things.
    accept(path.metadata()?.is_file())?;
    // It may be something else by now.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    accept(file.metadata()?.is_file())?;
    Ok(file)
}

/// Reads a regular file that is not too large to be a setting.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match u64::try_from(bytes.len()) {
        Ok(..=LARGEST) => Ok(bytes),
        Ok(_) | Err(_) => Err(io::Error::other("it has more than 4 MiB")),
    }
}

/// As [`read`], for text.
pub fn read_to_string(path: &Path) -> io::Result<String> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    String::from_utf8(read(path)?).map_err(invalid)
}

fn accept(is_file: bool) -> io::Result<()> {
    if is_file { Ok(()) } else { Err(irregular()) }
}

/// Returns the error for anything but a regular file.
pub fn irregular() -> io::Error {
    io::Error::other("it is not a regular file")
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    #[test]
    fn a_file_that_is_not_regular_is_refused_without_blocking() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let socket = directory.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [&pipe, &socket, directory.path(), Path::new("/dev/zero")] {
            let error = read(path).unwrap_err();
            assert!(
                error.to_string().contains("not a regular file"),
                "{}: {error}",
                path.display()
            );
        }
    }

    #[test]
    fn a_file_is_read_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "text").unwrap();
        assert_eq!(read_to_string(&path).unwrap(), "text");
        File::options().write(true).open(&path).unwrap().set_len(LARGEST).unwrap();
        assert_eq!(read(&path).unwrap().len(), 4 << 20);
        File::options().write(true).open(&path).unwrap().set_len(LARGEST + 1).unwrap();
        assert!(read(&path).is_err());
        std::fs::write(&path, b"\xff").unwrap();
        assert!(read_to_string(&path).is_err());
    }
}
