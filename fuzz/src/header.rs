//! Any bytes as the head of a board's file: the check agrees with SQLite about the same file.

use std::fs;
use std::path::{Path, PathBuf};

use arbitrary::{Result, Unstructured};
use rusqlite::{Connection, OpenFlags};
use sexton::machine::header::{self, Header, HeaderError};
use tempfile::TempDir;

/// A header as SQLite writes it, of a database in journal mode with one table.
const SOUND: [u8; header::LEN] = *b"SQLite format 3\0\
    \x10\0\x01\x01\0\x40\x20\x20\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0\0\
    \0\0\0\x01\0\0\0\x04\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0\0\
    \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
    \0\0\0\x01\0\x2e\x8d\x1d";

/// What makes a file sound for one and not for the other, on purpose.
struct Difference {
    /// Why it is right that the two differ.
    #[allow(dead_code, reason = "for readers of the list")]
    why: &'static str,
    /// Whether this is such a file.
    applies: fn(&Case, &std::result::Result<Header, HeaderError>) -> bool,
}

/// Every difference there is between `header::check` and SQLite. Whatever is not on this list is a
/// finding.
const KNOWN_DIFFERENCES: &[Difference] = &[
    Difference {
        why: "SQLite takes a file without a byte for a new database, and reads what a short file \
              lacks as zeroes. A board has been there before: what is missing was lost.",
        applies: |_, ours| matches!(ours, Err(HeaderError::Short { .. })),
    },
    Difference {
        why: "The same within the first page: SQLite rounds the size of the file up.",
        applies: |_, ours| matches!(ours, Err(HeaderError::Truncated { .. })),
    },
    Difference {
        why: "SQLite reads a database of a future write version, and will not write it; a \
              dispatcher has to. Version 0 it takes for 1, and never writes it.",
        applies: |_, ours| matches!(ours, Err(HeaderError::Version { .. })),
    },
    Difference {
        why: "SQLite looks at the low byte of the schema format only. Others are never set.",
        applies: |case, ours| {
            matches!(ours, Err(HeaderError::SchemaFormat { .. })) && case.bytes[47] <= 4
        },
    },
    Difference {
        why: "SQLite looks at the two low bits of the encoding only, and takes 0 for UTF-8 also in \
              a database that has tables. It writes 1 to 3.",
        applies: |_, ours| matches!(ours, Err(HeaderError::Encoding { .. })),
    },
    Difference {
        why: "The header counts more pages than the file has. That is damage, unless a log beside \
              it has the rest: after a crash in a checkpoint, page 1 may be ahead of the file. \
              Only SQLite can tell, and does: every opening asks it.",
        applies: |case, ours| {
            ours.is_ok_and(|sound| {
                let counted = u64::from(case.number(28)) * u64::from(sound.page_size);
                let counts = case.number(24) == case.number(92);
                counts && counted > case.size.next_multiple_of(u64::from(sound.page_size))
            })
        },
    },
];

/// Compares the two on what `data` stands for.
pub fn check(data: &[u8]) {
    // Any number of bytes, and any size of the file.
    let _sound_or_not = header::check(data, data.len() as u64);
    let _sound_or_not = header::check(data, u64::MAX);
    let Ok(case) = Case::any(&mut Unstructured::new(data)) else { return };
    let ours = header::check(&case.bytes, case.size);
    let sqlite = case.ask_sqlite();
    if ours.is_ok() != sqlite.is_ok() {
        let known = KNOWN_DIFFERENCES.iter().any(|known| (known.applies)(&case, &ours));
        assert!(known, "{case:?}: the check says {ours:?}, SQLite says {sqlite:?}");
    }
}

/// A database file, of which only the header varies.
#[derive(Debug)]
struct Case {
    bytes: [u8; header::LEN],
    size: u64,
}

impl Case {
    fn any(u: &mut Unstructured<'_>) -> Result<Case> {
        let (kind, size) = (u.int_in_range(0..=7)?, u.int_in_range(0..=15)?);
        let mut bytes = SOUND;
        if kind == 0 {
            u.fill_buffer(&mut bytes)?;
        } else {
            while !u.is_empty() {
                let at = usize::from(u.int_in_range(0..=99_u8)?);
                bytes[at] = u.arbitrary()?;
            }
        }
        let page = u64::from(page_size(&bytes));
        let size = match size {
            0..=7 => page,
            8 => 2 * page,
            9 => page / 2,
            10 => page - 1,
            11 => 511,
            12 => 512,
            13 => 100,
            14 => 1,
            _ => 0,
        };
        Ok(Case { bytes, size })
    }

    fn number(&self, at: usize) -> u32 {
        let bytes = self.bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        u32::from_be_bytes(bytes.unwrap_or_default())
    }

    /// Asks SQLite about a file with this header that is otherwise in order: its first page holds
    /// an empty schema, and fits the header.
    fn ask_sqlite(&self) -> std::result::Result<i64, rusqlite::Error> {
        let page = page_size(&self.bytes);
        let mut file = vec![0; page.max(8 * 1024) as usize];
        file[..header::LEN].copy_from_slice(&self.bytes);
        // An empty leaf of a table's tree; what it holds would begin at the end of the usable part.
        let end = u16::try_from(page - u32::from(self.bytes[20])).unwrap_or(0);
        file[header::LEN] = 0x0d;
        file[header::LEN + 5..header::LEN + 7].copy_from_slice(&end.to_be_bytes());
        file.resize(usize::try_from(self.size).expect("a small file"), 0);
        let (_directory, path) = place();
        fs::write(&path, file).expect("a file in memory");
        count(&path)
    }
}

/// The page size that SQLite begins with: the header's, if it can be one.
fn page_size(bytes: &[u8; header::LEN]) -> u32 {
    match u16::from_be_bytes([bytes[16], bytes[17]]) {
        1 => 65_536,
        size if size >= 512 && size.is_power_of_two() => u32::from(size),
        _ => 4_096,
    }
}

fn count(path: &Path) -> std::result::Result<i64, rusqlite::Error> {
    // Not for reading only: a file in WAL mode needs its log.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags)?;
    let mut statement = conn.prepare("SELECT count(*) FROM sqlite_schema")?;
    let mut rows = statement.query([])?;
    rows.next()?.map_or(Ok(-1), |row| row.get(0))
}

fn place() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
    let directory = directory.expect("a directory");
    let path = directory.path().join("kanban.db");
    (directory, path)
}
